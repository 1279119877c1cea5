#include "executor/own_operators.hpp"

#include "executor/convolution_operators.hpp"
#include "executor/fused_operators.hpp"
#include "executor/narrow_convolution_operators.hpp"
#include "executor/precision_operators.hpp"

namespace shoal::executor {

void register_own_operators() {
  register_fused_operators();
  register_convolution_operators();
  register_precision_operators();
  register_narrow_convolution_operators();
}

}  // namespace shoal::executor
