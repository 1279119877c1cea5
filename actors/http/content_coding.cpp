#include "http/content_coding.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

namespace shoal::http {

namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string lower(std::string_view text) {
  std::string all(text);
  std::transform(all.begin(), all.end(), all.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return all;
}

/// The part of `list` before the next `separator`, taken off it.
std::string_view take(std::string_view& list, char separator) {
  const auto end = std::min(list.find(separator), list.size());
  const auto part = trimmed(list.substr(0, end));
  list.remove_prefix(std::min(end + 1, list.size()));
  return part;
}

/// The values of all fields of that name, as if they were one (RFC 9110, 5.3).
std::string all_of(const request& asked, std::string_view name) {
  std::string all;
  for (const auto& [key, value] : asked.fields)
    if (lower(key) == name) all += (all.empty() ? "" : ",") + value;
  return all;
}

/// "gzip;q=0.5": the weight, from 0 to 1; what cannot be read weighs nothing.
double weight_of(std::string_view parameters) {
  if (parameters.empty()) return 1;
  const auto text = lower(parameters);
  if (!text.starts_with("q=") || text.size() > 7) return 0;
  char* end = nullptr;
  const auto weight = std::strtod(text.c_str() + 2, &end);
  return *end == '\0' && weight >= 0 && weight <= 1 ? weight : 0;
}

std::optional<coding> named(std::string_view name) {
  if (name == "gzip" || name == "x-gzip") return coding::gzip;
  if (name == "deflate") return coding::deflate;
  return std::nullopt;
}

}  // namespace

expected<std::optional<coding>> content_coding(const request& asked) {
  const auto name = lower(trimmed(all_of(asked, "content-encoding")));
  if (name.empty() || name == "identity") return std::nullopt;
  const auto format = named(name);
  if (!format)
    return fail(errc::unsupported, "Content-Encoding: '" + name.substr(0, 40) +
                                       "' is not taken; send the body as gzip, as deflate, or as it is");
  return format;
}

std::optional<coding> wanted_coding(const request& asked) {
  constexpr double unsaid = -1;
  std::array<double, 2> weights{unsaid, unsaid};
  double others = 0, identity = unsaid;
  const auto accepted = all_of(asked, "accept-encoding");
  std::string_view list = accepted;
  while (!list.empty()) {
    auto each = take(list, ',');
    const auto name = lower(take(each, ';'));
    const auto weight = weight_of(each);
    if (const auto format = named(name))
      weights[static_cast<std::size_t>(*format)] = weight;
    else if (name == "*")
      others = weight;
    else if (name == "identity")
      identity = weight;
  }
  std::optional<coding> best;
  double most = std::max(0.0, identity);
  for (const auto format : {coding::gzip, coding::deflate}) {
    const auto said = weights[static_cast<std::size_t>(format)];
    const auto weight = said == unsaid ? others : said;
    // As good as identity is good enough: who names a coding without a weight wants it.
    if (weight > 0 && (best ? weight > most : weight >= most)) {
      best = format;
      most = weight;
    }
  }
  return best;
}

response compress(response answer, coding format) {
  try {
    auto packed = deflate_if_it_pays(format, answer.body);
    if (!packed) return answer;
    answer.body = {std::move(*packed)};
  } catch (const std::bad_alloc&) {
    return answer;
  }
  answer.fields.emplace_back("Content-Encoding", name_of(format));
  return answer;
}

}  // namespace shoal::http
