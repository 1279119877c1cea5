// What a client sends to .../infer, as the mesh understands it. Every malformed request has an error of its own that
// names the field ("inputs[0].shape: ..."). Whether the model takes such inputs is checked behind the door, in one
// place for all doors (gateway/admission.hpp).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gateway/admission.hpp"
#include "gateway/open_inference.hpp"
#include "http/message.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway::http_door {

/// How the client wants its answer.
struct answer_format {
  std::string id;  ///< to be sent back as it came; empty: none was given
  bool binary_by_default = false;
  std::vector<std::pair<std::string, bool>> binary;  ///< per output asked for: name, as binary data

  [[nodiscard]] bool is_binary(std::string_view output) const;
};

struct infer_call {
  protocol::infer request;
  answer_format format;
};

/// Errors: invalid_argument; too_large (more JSON than `most_json_bytes`); for a body without JSON, as find_model.
expected<infer_call> read_infer(const http::request& asked, const model_reference& model, const model_list& models,
                                std::size_t most_json_bytes);

}  // namespace shoal::gateway::http_door
