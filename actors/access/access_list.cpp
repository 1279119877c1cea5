#include "access/access_list.hpp"

#include <algorithm>
#include <sstream>

#include <toml++/toml.h>

#include "core/name.hpp"

namespace shoal::access {

namespace {

std::string place(const std::string& file, const toml::node& node) {
  return file + ":" + std::to_string(node.source().begin.line) + ": ";
}

std::optional<sha256_digest> from_hex(std::string_view text) {
  sha256_digest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  const auto value = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = value(text[2 * i]), low = value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

/// One table of the file, read key by key; what was not read in the end is an error.
class table_reader {
 public:
  table_reader(const toml::table& table, const std::string& file) : table_(table), file_(file) {}

  expected<std::string> text(const char* key) {
    seen_.push_back(key);
    const auto* found = table_.get(key);
    if (found == nullptr) return fail(errc::invalid_argument, place(file_, table_) + "'" + key + "' is missing");
    if (!found->is_string()) return fail(errc::invalid_argument, place(file_, *found) + "'" + key + "' is no text");
    return found->ref<std::string>();
  }

  expected<double> limit(const char* key) {
    seen_.push_back(key);
    const auto* found = table_.get(key);
    if (found == nullptr) return 0.0;
    const auto number = found->value<double>();
    if (!number || !(*number >= 0 && *number <= 1e9))
      return fail(errc::invalid_argument, place(file_, *found) + "'" + key + "' is no number from 0 to 1e9");
    return *number;
  }

  expected<void> end() const {
    for (const auto& [key, value] : table_)
      if (std::find(seen_.begin(), seen_.end(), key.str()) == seen_.end())
        return fail(errc::invalid_argument,
                    place(file_, value) + "nothing is known of '" + std::string(key.str()) + "'");
    return {};
  }

  [[nodiscard]] tl::unexpected<error> wrong(const std::string& why) const {
    return fail(errc::invalid_argument, place(file_, table_) + why);
  }

 private:
  const toml::table& table_;
  const std::string& file_;
  std::vector<std::string_view> seen_;
};

expected<std::pair<std::string, role>> read_name_and_role(table_reader& from) {
  auto name = from.text("name");
  if (!name) return tl::unexpected(name.error());
  if (const auto good = check_name("a", *name); !good) return from.wrong(good.error().message);
  const auto role = from.text("role");
  if (!role) return tl::unexpected(role.error());
  const auto known = role_of(*role);
  if (!known)
    return from.wrong("there is no role '" + *role +
                      "': client, observer, admin, gateway, scheduler, worker, cache or precision");
  return std::pair(std::move(*name), *known);
}

expected<key_entry> read_key(const toml::table& table, const std::string& file) {
  table_reader from(table, file);
  auto who = read_name_and_role(from);
  if (!who) return tl::unexpected(who.error());
  auto key = from.text("public");
  if (!key) return tl::unexpected(key.error());
  if (!is_curve_key(*key))
    return from.wrong("'public' is not the 40 characters of a key: make it with `shoal keys new`");
  if (who->second == role::observer) return from.wrong("observers have tokens, not keys");
  if (auto whole = from.end(); !whole) return tl::unexpected(whole.error());
  return key_entry{std::move(who->first), who->second, std::move(*key)};
}

expected<token_entry> read_token(const toml::table& table, const std::string& file) {
  table_reader from(table, file);
  auto who = read_name_and_role(from);
  if (!who) return tl::unexpected(who.error());
  if (!is_callers(who->second)) return from.wrong("services have keys, not tokens");
  const auto digest = from.text("sha256");
  if (!digest) return tl::unexpected(digest.error());
  const auto bytes = from_hex(*digest);
  if (!bytes) return from.wrong("'sha256' is not 64 of 0-9 a-f: make it with `shoal keys new NAME --token`");
  const auto rate = from.limit("requests_per_second");
  if (!rate) return tl::unexpected(rate.error());
  const auto in_flight = from.limit("in_flight");
  if (!in_flight) return tl::unexpected(in_flight.error());
  if (auto whole = from.end(); !whole) return tl::unexpected(whole.error());
  return token_entry{std::move(who->first), who->second, *bytes, *rate, static_cast<std::size_t>(*in_flight)};
}

}  // namespace

bool is_curve_key(std::string_view text) noexcept {
  constexpr std::string_view z85 =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  return text.size() == 40 && text.find_first_not_of(z85) == std::string_view::npos;
}

std::string to_hex(const sha256_digest& digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const auto each : digest) {
    text += digits[static_cast<unsigned>(each) >> 4];
    text += digits[static_cast<unsigned>(each) & 15];
  }
  return text;
}

expected<access_list> access_list::parse(std::string_view text, const std::string& file) {
  access_list all;
  try {
    const auto document = toml::parse(text, file);
    for (const auto& [key, value] : document) {
      const auto* list = value.as_array();
      if ((key.str() != "key" && key.str() != "token") || list == nullptr)
        return fail(errc::invalid_argument, place(file, value) + "only tables [[key]] and [[token]] belong here");
      for (const auto& each : *list) {
        const auto* table = each.as_table();
        if (table == nullptr) return fail(errc::invalid_argument, place(file, each) + "this is no table");
        const auto twice = [&](const std::string& what) {
          return fail(errc::invalid_argument, place(file, each) + what + " is there twice");
        };
        if (key.str() == "key") {
          auto entry = read_key(*table, file);
          if (!entry) return tl::unexpected(entry.error());
          if (all.has_name(entry->name)) return twice("the name '" + entry->name + "'");
          if (all.find(entry->public_key) != nullptr) return twice("this key");
          all.keys.push_back(std::move(*entry));
        } else {
          auto entry = read_token(*table, file);
          if (!entry) return tl::unexpected(entry.error());
          if (all.has_name(entry->name)) return twice("the name '" + entry->name + "'");
          all.tokens.push_back(std::move(*entry));
        }
      }
    }
  } catch (const toml::parse_error& wrong) {
    return fail(errc::invalid_argument,
                file + ":" + std::to_string(wrong.source().begin.line) + ": " + std::string(wrong.description()));
  }
  return all;
}

std::string access_list::to_toml() const {
  std::ostringstream text;
  text << "# Who may do what in this mesh. Written by `shoal keys`; there is no secret in it.\n";
  for (const auto& each : keys)
    text << "\n[[key]]\nname = \"" << each.name << "\"\nrole = \"" << name_of(each.role) << "\"\npublic = '"
         << each.public_key << "'\n";
  for (const auto& each : tokens) {
    text << "\n[[token]]\nname = \"" << each.name << "\"\nrole = \"" << name_of(each.role) << "\"\nsha256 = \""
         << to_hex(each.digest) << "\"\n";
    if (each.requests_per_second > 0) text << "requests_per_second = " << each.requests_per_second << "\n";
    if (each.in_flight > 0) text << "in_flight = " << each.in_flight << "\n";
  }
  return std::move(text).str();
}

const key_entry* access_list::find(std::string_view public_key) const noexcept {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const auto& k) { return k.public_key == public_key; });
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::string> access_list::public_keys_of(access::role wanted) const {
  std::vector<std::string> found;
  for (const auto& each : keys)
    if (each.role == wanted) found.push_back(each.public_key);
  return found;
}

bool access_list::has_name(std::string_view name) const noexcept {
  const auto is_it = [&](const auto& entry) { return entry.name == name; };
  return std::any_of(keys.begin(), keys.end(), is_it) || std::any_of(tokens.begin(), tokens.end(), is_it);
}

}  // namespace shoal::access
