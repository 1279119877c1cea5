// What `shoal bench` sends: requests read from a file of JSON lines, or ones of a given length.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::services::bench {

/// Every line an object: the model's inputs by name, as nested arrays. Errors: not_found, invalid_argument (which line
/// and why).
expected<std::vector<protocol::infer>> read_requests(const std::string& path, const protocol::model_spec& spec);

/// One request of ones: one row, and `length` along every other free dimension.
protocol::infer request_of_ones(const protocol::model_spec& spec, std::int64_t length);

}  // namespace shoal::services::bench
