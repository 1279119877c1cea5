#include "text/json_parts.hpp"

#include <array>
#include <limits>
#include <optional>

namespace shoal::text {

namespace {

constexpr int deepest = 64;
/// Beside the vocabulary and the merges; each takes up to 100 bytes of memory.
constexpr std::size_t most_values = 2'000'000;
constexpr std::size_t most_tokens = 4'000'000;
constexpr std::size_t most_merges = 4'000'000;

using event = json::parse_event_t;

/// Takes out the vocabulary and the merges while the parser reads, so that no document is made of them.
class sorter {
 public:
  sorter(json_parts& into, const std::string& where) : into_(into), where_(where) {}

  /// Whether the document keeps what was seen.
  bool see(int depth, event what, json& seen) {
    if (depth >= deepest) refuse_damaged(where_ + ": the JSON is nested too deeply");
    if (what == event::key && depth <= 2) {
      keys_[static_cast<std::size_t>(depth) - 1] = seen.get<std::string>();
      if (depth == 1) keys_[1].clear();
    }
    if (depth > 2 && keys_[0] == "model") {
      if (keys_[1] == "vocab") return see_token(depth, what, seen);
      if (keys_[1] == "merges") return see_merge(depth, what, seen);
    }
    if (depth == 2 && what == event::array_start && keys_[0] == "model" && keys_[1] == "merges")
      into_.has_merges = true;
    if (++values_ > most_values)
      refuse(errc::too_large, where_ + ": there are more than " + std::to_string(most_values) +
                                  " values beside the vocabulary and the merges");
    return true;
  }

 private:
  bool see_token(int depth, event what, json& seen) {
    if (depth == 3 && what == event::key) {
      token_ = seen.get<std::string>();
    } else if (depth == 3 && what == event::value) {
      if (!token_) return note("the vocabulary is not an object of tokens and ids");
      if (!seen.is_number_unsigned() || seen.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max())
        return note("the token \"" + *token_ + "\" has an id that is not a whole number from 0 to 2147483647");
      if (token_->find('\0') != std::string::npos) return note("a token of the vocabulary holds a NUL character");
      if (into_.vocabulary.size() == most_tokens)
        refuse(errc::too_large, where_ + ": the vocabulary has more than " + std::to_string(most_tokens) + " tokens");
      into_.vocabulary.emplace_back(*std::move(token_), seen.get<std::int32_t>());
      token_.reset();
    } else {
      return note("the vocabulary is not an object of tokens and ids");
    }
    return false;
  }

  /// "a b", or ["a", "b"]: the pair is kept until it is whole.
  bool see_merge(int depth, event what, json& seen) {
    constexpr auto wrong = "a merge is neither a string nor a pair of strings";
    if (depth == 3 && what == event::array_start) {
      parts_ = 0;
      return true;
    }
    if (depth == 4 && what == event::value && seen.is_string() && ++parts_ <= 2) return true;
    if (depth == 3 && what == event::array_end) {
      if (seen.size() != 2 || parts_ != 2) return note(wrong);
      return add_merge(seen[0].get<std::string>(), seen[1].get<std::string>());
    }
    const auto* text = depth == 3 && what == event::value ? seen.get_ptr<const std::string*>() : nullptr;
    if (text == nullptr) return note(wrong);
    if (text->starts_with("#version")) return false;
    const auto space = text->find(' ');
    if (space == std::string::npos || text->find(' ', space + 1) != std::string::npos)
      return note("the merge \"" + *text + "\" is not two tokens with a space between");
    return add_merge(text->substr(0, space), text->substr(space + 1));
  }

  bool add_merge(std::string left, std::string right) {
    if (into_.merges.size() == most_merges)
      refuse(errc::too_large, where_ + ": there are more than " + std::to_string(most_merges) + " merges");
    into_.merges.emplace_back(std::move(left), std::move(right));
    return false;
  }

  bool note(const std::string& damage) {
    if (into_.damage.empty()) into_.damage = damage;
    return false;
  }

  json_parts& into_;
  const std::string& where_;
  std::array<std::string, 2> keys_;
  std::optional<std::string> token_;
  int parts_ = 0;
  std::size_t values_ = 0;
};

}  // namespace

void refuse(errc code, std::string message) { throw refusal{{code, std::move(message)}}; }

void refuse_damaged(const std::string& message) {
  refuse(errc::corrupt, message + ": save it again with the tokenizers library");
}

json_parts parse_parts(std::string_view text, const std::string& where) {
  json_parts parts;
  sorter sorting(parts, where);
  try {
    parts.document = json::parse(text.begin(), text.end(),
                                 [&](int depth, event what, json& seen) { return sorting.see(depth, what, seen); });
  } catch (const json::parse_error& wrong) {
    refuse_damaged(where + " is not JSON, at byte " + std::to_string(wrong.byte));
  } catch (const json::exception& wrong) {
    refuse_damaged(where + " is not JSON that can be read: " + wrong.what());
  }
  if (!parts.document.is_object()) refuse_damaged(where + " is not a JSON object");
  return parts;
}

const json& at(const json& object, const char* key, const std::string& where) {
  if (!object.is_object()) refuse_damaged(where + " is not an object");
  const auto found = object.find(key);
  if (found == object.end()) refuse_damaged(where + " lacks the key " + key);
  return *found;
}

const std::string& as_string(const json& value, const std::string& where) {
  if (!value.is_string()) refuse_damaged(where + " is not a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) refuse_damaged(where + " holds a NUL character");
  return text;
}

const std::string& string_at(const json& object, const char* key, const std::string& where) {
  return as_string(at(object, key, where), where + "." + key);
}

bool boolean_at(const json& object, const char* key, const std::string& where) {
  const auto& value = at(object, key, where);
  if (!value.is_boolean()) refuse_damaged(where + "." + key + " is neither true nor false");
  return value.get<bool>();
}

std::int32_t as_id(const json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max())
    refuse_damaged(where + " is not a whole number from 0 to 2147483647");
  return value.get<std::int32_t>();
}

const json* find(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace shoal::text
