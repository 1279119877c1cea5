#include "http/message.hpp"

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

namespace shoal::http {

namespace {

bool equal_in_any_case(std::string_view left, std::string_view right) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

unsigned status_of(errc code) {
  switch (code) {
    case errc::invalid_argument: return 400;
    case errc::unauthenticated: return 401;
    case errc::permission_denied: return 403;
    case errc::not_found: return 404;
    case errc::too_large: return 413;
    case errc::cancelled: return 499;
    case errc::internal:
    case errc::poisoned:
    case errc::incompatible:
    case errc::corrupt: return 500;
    case errc::unsupported: return 501;
    case errc::overloaded:
    case errc::unavailable: return 503;
    case errc::deadline_exceeded: return 504;
  }
  return 500;
}

}  // namespace

std::string_view request::field(std::string_view name) const noexcept {
  for (const auto& [key, value] : fields)
    if (equal_in_any_case(key, name)) return value;
  return {};
}

bool request::has_field(std::string_view name) const noexcept {
  return std::any_of(fields.begin(), fields.end(), [&](const auto& f) { return equal_in_any_case(f.first, name); });
}

std::size_t response::body_size() const noexcept {
  std::size_t size = 0;
  for (const auto& part : body) size += part.size();
  return size;
}

buffer to_buffer(std::string text) {
  auto owner = std::make_shared<const std::string>(std::move(text));
  auto bytes = std::as_bytes(std::span(*owner));
  return {std::move(owner), bytes};
}

response json_response(std::string document) {
  response answer;
  answer.content_type = "application/json";
  answer.body.push_back(to_buffer(std::move(document)));
  return answer;
}

response error_response(unsigned status, std::string_view message) {
  // A message may quote what a stranger sent: bytes that are not UTF-8 are replaced, or the document would be invalid.
  auto answer =
      json_response(nlohmann::json{{"error", message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  answer.status = status;
  return answer;
}

response error_response(const error& failure) {
  auto answer = error_response(status_of(failure.code), failure.message);
  if (answer.status == 401) answer.fields.emplace_back("WWW-Authenticate", "Bearer");  // RFC 9110, 11.6.1
  if (answer.status == 503) {
    // The field counts whole seconds (RFC 9110, 10.2.3).
    auto seconds = std::chrono::ceil<std::chrono::seconds>(failure.retry_after).count();
    answer.fields.emplace_back("Retry-After", std::to_string(std::max<std::int64_t>(1, seconds)));
  }
  return answer;
}

bool goes_as(std::string_view asked, std::string_view allowed) noexcept {
  return asked == allowed || (asked == "HEAD" && allowed == "GET");
}

response method_not_allowed(std::string_view method, std::string_view allowed) {
  auto answer =
      error_response(405, "the method " + std::string(method) + " is not allowed here: use " + std::string(allowed));
  answer.fields.emplace_back("Allow", allowed == "GET" ? "GET, HEAD" : allowed);
  return answer;
}

}  // namespace shoal::http
