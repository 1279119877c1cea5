// Operators of our own, in the dispatcher's namespace `shoal`, that passes put in the place of several of ATen's:
//
//   shoal::pack_linear(Tensor weight) -> Tensor
//       weight fp32 [out, in]. Its packed form (kernels/packed_linear.hpp), one dimension. Folded when a model is
//       loaded.
//   shoal::packed_linear(Tensor x, Tensor packed, Tensor? bias, int out_features, str activation, Tensor? residual)
//       x fp32 [..., in], bias [out], residual [..., out]: activation(linear(x)) + residual.
//   shoal::add_layer_norm(Tensor x, Tensor? residual, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)
//       layer_norm(x + residual).
//   shoal::attention(Tensor q, Tensor k, Tensor v, Tensor? mask, bool is_causal, float? scale, str numbers) -> Tensor
//       scaled_dot_product_attention without dropout. The result lies as [batch, tokens, heads, depth]. numbers: of its
//       products, fp32 or bf16; all tensors are fp32.
//
// On CPUs only. What a kernel does not take (another type or layout, a broadcast, a long sequence) goes to ATen's
// operators, so a pass need not know every shape. They throw as ATen's do. Archives cannot call them (operators.hpp).
#pragma once

namespace shoal::executor {

/// Makes the operators known to the dispatcher; any call after the first does nothing. Called when a program is built
/// (own_operators.hpp), rather than by a static object, which a linker would drop from a static library.
void register_fused_operators();

}  // namespace shoal::executor
