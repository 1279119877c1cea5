// What the mesh found out, as the client asked to have it.
#pragma once

#include "gateway/http_door/infer_request.hpp"

namespace shoal::gateway::http_door {

/// Outputs that are binary data are handed on without a copy. An output that was asked for as JSON and cannot be (FP16)
/// makes the whole answer an error that says so.
http::response to_response(const protocol::outcome& outcome, const answer_format& format);

}  // namespace shoal::gateway::http_door
