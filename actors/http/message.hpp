// A request and its answer as the doors and the metrics address see them: no sockets, no parser, no library's types.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/buffer.hpp"
#include "core/error.hpp"

namespace shoal::http {

struct request {
  std::string method;                                       ///< as sent: "GET"
  std::string path;                                         ///< percent-decoded, without the query; begins with '/'
  std::vector<std::pair<std::string, std::string>> fields;  ///< in the order sent
  buffer body;  ///< one run of bytes, 64-byte aligned; slices of it keep it alive

  /// The value of the first field of that name (in any case), or an empty view.
  [[nodiscard]] std::string_view field(std::string_view name) const noexcept;
  [[nodiscard]] bool has_field(std::string_view name) const noexcept;
};

/// What goes back. The server adds Content-Length and Connection.
struct response {
  unsigned status = 200;
  std::string content_type;  ///< empty: no such field
  std::vector<std::pair<std::string, std::string>> fields;
  std::vector<buffer> body;  ///< written one after the other, without a copy

  [[nodiscard]] std::size_t body_size() const noexcept;
};

/// Text as bytes that an answer can carry.
buffer to_buffer(std::string text);

/// 200 with a JSON document.
response json_response(std::string document);

/// `{"error": message}`, as Open Inference Protocol v2 asks, for whoever is answered and by every part of the server.
response error_response(unsigned status, std::string_view message);

/// The status that tells a client what `failure` is, with Retry-After where waiting helps.
response error_response(const error& failure);

/// Whether a request with the method `asked` may have what is there for `allowed`: HEAD goes wherever GET does, and the
/// server leaves the body out (RFC 9110, 9.3.2).
bool goes_as(std::string_view asked, std::string_view allowed) noexcept;

/// 405, naming what the path does take ("GET" stands for HEAD as well).
response method_not_allowed(std::string_view method, std::string_view allowed);

}  // namespace shoal::http
