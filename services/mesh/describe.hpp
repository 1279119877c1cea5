// Models as `shoal` shows them.
#pragma once

#include <string>
#include <string_view>

#include "protocol/model.hpp"

namespace shoal::services {

/// "x FP32[batch, 4]".
std::string text_of(const protocol::tensor_spec& spec);
/// "ready".
std::string_view text_of(protocol::model_state state);

}  // namespace shoal::services
