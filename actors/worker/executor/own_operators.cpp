#include "worker/executor/own_operators.hpp"

#include "worker/executor/convolution_operators.hpp"
#include "worker/executor/fused_operators.hpp"
#include "worker/executor/narrow_convolution_operators.hpp"
#include "worker/executor/precision_operators.hpp"

namespace shoal::worker::executor {

void register_own_operators() {
  register_fused_operators();
  register_convolution_operators();
  register_precision_operators();
  register_narrow_convolution_operators();
}

}  // namespace shoal::worker::executor
