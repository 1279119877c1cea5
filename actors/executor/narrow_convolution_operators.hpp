// Operators of our own for convolutions of narrow numbers, in the dispatcher's namespace `shoal`, that a precision plan
// puts in the place of fused convolutions (passes_convolution_precision.hpp):
//
//   shoal::pack_convolution_int8(Tensor weight, bool clip), pack_convolution_bf16(Tensor weight) -> Tensor
//       weight fp32 [out, in, height, width]; its packed form (kernels/narrow_convolution.hpp). Folded.
//   shoal::quantise_images(Tensor x, float[] range) -> Tensor
//       x fp32 [n, c, h, w]; bytes [n, h + extra_rows, w, pixel_bytes(c)] (kernels/quantised_images.hpp), with the
//       scale of that range, or if it is empty, each image with its own.
//   shoal::convolution_int8(Tensor input, Tensor packed, Tensor? bias, Tensor? other, int[4] sizes, int[2] stride,
//                           int[2] padding, int[2] dilation, str activation, float[] limits) -> Tensor
//       activation(convolution + other) of quantised images, as fp32 in channels last; `sizes`: of the weight.
//   shoal::convolution_int8_images(..., float[] range) -> Tensor, convolution_int8_both(..., float[] range) -> (Tensor,
//   Tensor)
//       the same as quantised images; as both. Activations none, relu and hardtanh alone.
//   shoal::convolution_bf16(<as convolution_int8>) -> Tensor
//       of fp32 images.
//
// On CPUs only. They throw as ATen's do. Archives cannot call them (operators.hpp).
#pragma once

namespace shoal::executor {

/// Makes the operators known to the dispatcher; any call after the first does nothing.
void register_narrow_convolution_operators();

}  // namespace shoal::executor
