// All operators of our own (namespace `shoal` of the dispatcher), wherever they are written.
#pragma once

namespace shoal::executor {

/// Makes them known to the dispatcher; any call after the first does nothing. Whoever resolves a graph's nodes calls
/// it.
void register_own_operators();

}  // namespace shoal::executor
