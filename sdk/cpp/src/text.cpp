#include "shoal/text.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <deque>

#include "shoal/client.hpp"

namespace shoal::client {

namespace {

constexpr std::chrono::milliseconds embed_deadline{60'000};
/// A request ends with the text that reaches it.
constexpr std::size_t most_part_bytes = std::size_t{8} << 20;

/// A part's error as one of the whole list: "text 3: ..." of the part from 100 on is text 103's.
error about(std::size_t first, std::size_t count, error reason) {
  constexpr std::string_view begin = "text ";
  std::size_t place = 0;
  const auto* end = reason.message.data() + reason.message.size();
  if (reason.message.starts_with(begin))
    if (const auto [next, wrong] = std::from_chars(reason.message.data() + begin.size(), end, place);
        wrong == std::errc{} && next != end && *next == ':') {
      reason.message = "text " + std::to_string(first + place) + std::string(next, end);
      return reason;
    }
  reason.message =
      "texts " + std::to_string(first) + " to " + std::to_string(first + count - 1) + ": " + reason.message;
  return reason;
}

error invalid(std::string message) { return {errc::invalid_argument, std::move(message), false, {}, 0}; }

}  // namespace

const tensor* embeddings_of(const result& given, std::size_t texts) {
  for (const auto& output : given.outputs)
    if (output.type() == dtype::fp32 && output.dims().size() == 2 &&
        output.dims()[0] == static_cast<std::int64_t>(texts))
      return &output;
  return nullptr;
}

request text_request(std::string model, std::span<const std::string_view> texts, bool truncate) {
  // Each text after its length, as BYTES are made (gateway/text/text_request.hpp).
  std::size_t size = 0;
  for (const auto each : texts) size += sizeof(std::uint32_t) + each.size();
  std::vector<std::uint8_t> bytes(size);
  auto* to = bytes.data();
  for (const auto each : texts) {
    const auto length = static_cast<std::uint32_t>(each.size());
    std::memcpy(to, &length, sizeof length);
    to += sizeof length;
    to = std::copy(each.begin(), each.end(), to);
  }
  request made;
  made.model = std::move(model);
  made.inputs.emplace_back("text", shape{static_cast<std::int64_t>(size)}, std::move(bytes));
  if (truncate) made.inputs.emplace_back("truncate", shape{1}, std::vector<bool>{true});
  return made;
}

expected<embeddings> mesh::embed(const std::string& model, std::span<const std::string> texts,
                                 const embed_options& how) {
  if (how.batch < 1 || how.batch > most_texts)
    return tl::unexpected(invalid("embed_options::batch must be from 1 to " + std::to_string(most_texts)));
  if (texts.empty()) return tl::unexpected(invalid("there is no text to embed"));
  std::size_t drawn = 0;
  std::deque<std::size_t> sizes;  // of the requests without a result
  const auto draw = [&]() -> std::optional<request> {
    if (drawn == texts.size()) return std::nullopt;
    std::size_t count = 0;
    for (std::size_t bytes = 0; drawn + count < texts.size() && count < how.batch && bytes < most_part_bytes; ++count)
      bytes += texts[drawn + count].size();
    const auto part = texts.subspan(drawn, count);
    drawn += count;
    sizes.push_back(count);
    const std::vector<std::string_view> views(part.begin(), part.end());
    auto made = text_request(model, views, how.truncate);
    made.version = how.version;
    return made;
  };
  call each;
  each.deadline = how.deadline.count() > 0 ? how.deadline : embed_deadline;
  each.priority = how.priority;
  embeddings all;
  all.token_counts.reserve(texts.size());
  auto results = map(draw, each, how.window);
  for (std::size_t done = 0; auto next = results.next();) {
    const auto count = sizes.front();
    sizes.pop_front();
    if (!*next) return tl::unexpected(about(done, count, std::move(next->error())));
    const auto& given = **next;
    const auto* vectors = embeddings_of(given, count);
    const auto counts = given.view<std::int64_t>("token_counts");
    if (vectors == nullptr || !counts || counts->size() != count)
      return tl::unexpected(invalid("model '" + model +
                                    "' gives no embeddings: none of its outputs is a vector of "
                                    "floats for each text"));
    const auto width = static_cast<std::size_t>(vectors->dims()[1]);
    if (all.values.empty()) {
      all.width = width;
      all.values.resize(texts.size() * width);
    } else if (width != all.width || given.version != all.version) {
      return tl::unexpected(invalid("another version of model '" + model + "' took over meanwhile: embed again"));
    }
    std::memcpy(all.values.data() + done * width, vectors->bytes().data(), vectors->bytes().size());
    all.token_counts.insert(all.token_counts.end(), counts->begin(), counts->end());
    all.model = given.model;
    all.version = given.version;
    all.plan = given.plan;
    done += count;
    all.rows = done;
    if (how.progress) how.progress(done, texts.size());
  }
  return all;
}

}  // namespace shoal::client
