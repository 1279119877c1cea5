// Open Inference Protocol v2 over HTTP, the client's side: requests as bytes, answers as outcomes. No I/O.
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, and Triton's binary tensor
// extension.
#pragma once

#include <string>
#include <string_view>

#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

/// Where requests go: "127.0.0.1:8000", or with a path before /v2, "127.0.0.1:8000/prefix".
struct http_address {
  std::string host;  ///< without brackets
  std::string port;
  std::string prefix;  ///< empty, or "/prefix"
  [[nodiscard]] std::string authority() const;
  std::string token = {};  ///< sent as a bearer token; empty: none
};
/// Errors: invalid_argument.
expected<http_address> read_address(const std::string& text);

/// A whole request, head and body. Errors: unsupported (a type that cannot be JSON).
expected<std::string> infer_request(const http_address& to, const call& request, bool json_tensors);
std::string metadata_request(const http_address& to, const std::string& model, std::uint64_t version);

/// The body of an answer to metadata_request. Tensors of a type we do not know are left out. Errors: corrupt.
expected<model_interface> read_metadata(std::string_view body);

/// What a status that is not 200 means: 429 and 503 overloaded, 408 and 504 deadline_exceeded, 499 cancelled, 413
/// too_large, 404 not_found, 401 unauthenticated, 403 permission_denied, 501 unsupported, other 4xx invalid_argument,
/// else internal.
errc code_of_status(unsigned status) noexcept;
/// "status 400: the value of `error` in the body, or its beginning".
std::string reason_of(unsigned status, std::string_view body);

/// Why a body is not the answer of a model with `specs` as outputs; `json_length`: Inference-Header-Content-Length, or
/// npos: all of it is JSON. Empty: it is.
std::string why_wrong_body(std::string_view body, std::size_t json_length,
                           const std::vector<protocol::tensor_spec>& specs);

}  // namespace shoal::services::bench
