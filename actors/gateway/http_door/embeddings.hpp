// OpenAI's embeddings and models endpoints (https://platform.openai.com/docs/api-reference/embeddings), so that its
// clients work unmodified: /v1/embeddings takes a string, a list of strings, token ids or a list of those, and answers
// with floats or base64 (little-endian fp32) and with the tokens used. Beyond OpenAI's: `"truncate": true` has texts
// that are too long cut. Errors have OpenAI's shape.
#pragma once

#include <chrono>
#include <string>

#include "gateway/admission.hpp"
#include "http/message.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway::http_door {

struct embeddings_call {
  protocol::infer request;  ///< text (gateway/text/text_request.hpp); asks for the embedding and the counts
  std::string model;        ///< as the client named it
  bool as_base64 = false;
};

/// Errors: invalid_argument, too_large, those of find_model; unsupported (a model without embeddings).
expected<embeddings_call> read_embeddings(const http::request& asked, const model_list& models,
                                          std::size_t most_json_bytes);

http::response to_embeddings(const protocol::outcome& outcome, const std::string& model, bool as_base64);

/// {"error": {"message", "type", "param", "code"}}.
http::response openai_error(const error& reason);

/// `created` is when this door opened: models have no such date here.
std::string list_models(const protocol::catalogue& models, std::chrono::system_clock::time_point created);
expected<std::string> describe_for_openai(const model_list& models, std::string_view name,
                                          std::chrono::system_clock::time_point created);

}  // namespace shoal::gateway::http_door
