// Operators of our own for narrow numbers, in the dispatcher's namespace `shoal`, that a precision plan puts in the
// place of packed linears (passes_precision.hpp):
//
//   shoal::pack_linear_int8(Tensor weight, int[] smoothing, bool clip) -> Tensor
//       weight fp32 [out, in]; its packed form as bytes (kernels/int8_linear.hpp). Folded when a model is loaded.
//   shoal::pack_linear_bf16(Tensor weight) -> Tensor
//       its packed form in bf16 (kernels/bf16_linear.hpp). Folded.
//   shoal::pack_linear_fp16(Tensor weight) -> Tensor
//       the weight in fp16, as it lies. Folded.
//   shoal::smoothing_factors(int[] steps) -> Tensor
//       2^(-step / 4) in fp32, one for each channel. Folded.
//   shoal::quantise_rows(Tensor x, Tensor? factors) -> Tensor
//       x fp32 [..., width]; bytes [..., quantised_row_bytes(width)] (kernels/quantised_rows.hpp) of x * factors.
//   shoal::linear_int8(Tensor rows, Tensor packed, int in_features, Tensor? bias, int out_features, str activation,
//                      Tensor? residual) -> Tensor
//       activation(linear) + residual of quantised rows, as fp32.
//   shoal::linear_int8_rows(..., Tensor? factors) -> Tensor
//       the same, times factors, quantised again.
//   shoal::linear_int8_weight, linear_bf16, linear_fp16(Tensor x, Tensor packed, Tensor? bias, int out_features,
//                                                       str activation, Tensor? residual) -> Tensor
//       of fp32 rows, as fp32; fp16 by ATen.
//   shoal::add_layer_norm_rows(<those of add_layer_norm>, Tensor? factors) -> (Tensor, Tensor)
//       layer_norm(x + residual), and the same times factors as quantised rows.
//
// On CPUs only. They throw as ATen's do. Archives cannot call them (operators.hpp).
#pragma once

namespace shoal::executor {

/// Makes the operators known to the dispatcher; any call after the first does nothing.
void register_precision_operators();

}  // namespace shoal::executor
