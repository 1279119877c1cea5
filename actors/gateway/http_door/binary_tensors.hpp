// The binary tensor data extension of Open Inference Protocol v2
// (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md):
//
//   body = JSON of Inference-Header-Content-Length bytes, then the raw tensors in the order the JSON lists them
//
// Without the field the body is all JSON; with the value 0 it is all one tensor, the model's only input.
// Tensors are slices of the body that was received, at whatever alignment they have there.
#pragma once

#include <string_view>

#include "core/tensor.hpp"
#include "http/message.hpp"
#include "protocol/model.hpp"

namespace shoal::gateway::http_door {

inline constexpr std::string_view json_length_field = "Inference-Header-Content-Length";

struct body_parts {
  std::string_view json;  ///< within the request's body
  buffer binary;          ///< what follows it
  bool raw = false;       ///< no JSON at all: `binary` is the only input
};

/// Errors: invalid_argument (not a number, or more than the body has).
expected<body_parts> split_body(const http::request& asked);

/// Hands out the raw tensors, one after the other.
class binary_inputs {
 public:
  explicit binary_inputs(buffer bytes) : bytes_(std::move(bytes)) {}

  /// The next `claimed` bytes, which must be the size of a tensor of that type and shape.
  /// `where` names the claim in errors. Errors: invalid_argument.
  expected<buffer> next(std::int64_t claimed, dtype type, const shape& dims, std::string_view where);

  /// Errors: invalid_argument if bytes are left that no input claims.
  [[nodiscard]] expected<void> end() const;

 private:
  buffer bytes_;
  std::size_t at_ = 0;
};

/// The whole body as the only input of `spec`: a free dimension gets the size that fits, the batch (if another is free
/// as well) size 1. Errors: invalid_argument.
expected<tensor> raw_input(const protocol::model_spec& spec, const buffer& bytes);

}  // namespace shoal::gateway::http_door
