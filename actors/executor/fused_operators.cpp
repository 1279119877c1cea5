#include "executor/fused_operators.hpp"

#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/library.h>

#include "executor/compute_team.hpp"
#include "executor/kernels/attention.hpp"
#include "executor/kernels/packed_linear.hpp"
#include "executor/linear_arguments.hpp"
#include "executor/norm_arguments.hpp"

namespace shoal::executor {

namespace {

using at::Tensor;

Tensor pack_linear(const Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2 && is_fp32(weight), "pack_linear takes a matrix of fp32");
  const auto count = kernels::packed_elements(weight.size(0), weight.size(1));
  TORCH_CHECK(count.has_value(), "the packed weight would be too large");
  auto packed = at::empty({*count}, weight.options());
  kernels::pack_weight(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0),
                       weight.stride(1), packed.mutable_data_ptr<float>());
  return packed;
}

Tensor packed_linear(const Tensor& x, const Tensor& packed, const optional_tensor& bias, std::int64_t out_features,
                     c10::string_view activation, const optional_tensor& residual) {
  TORCH_CHECK(x.dim() >= 1 && is_fp32(x) && is_fp32(packed) && packed.is_contiguous(),
              "packed_linear takes fp32 tensors");
  const auto inner = x.size(-1);
  TORCH_CHECK(kernels::packed_elements(out_features, inner) == packed.numel(), "mat1 and mat2 shapes cannot be ",
              "multiplied: the input's last size is ", inner, ", the weight was packed for another");
  const linear_arguments arguments(with_last(x, out_features), bias, activation, residual);
  const dense_rows rows(x);
  kernels::linear_task task;
  task.x = rows.data;
  task.x_stride = rows.stride;
  task.packed = packed.const_data_ptr<float>();
  task.inner = inner;
  return arguments.run(task, x.options(), [](const auto& given) { kernels::linear(given, compute_team()); });
}

Tensor add_layer_norm(const Tensor& x, const optional_tensor& residual, c10::IntArrayRef normalized,
                      const optional_tensor& weight, const optional_tensor& bias, double epsilon) {
  const norm_arguments arguments(x, residual, normalized, weight, bias, epsilon);
  return arguments.fit() ? arguments.run([](const auto&) {}) : arguments.run_aten();
}

/// The mask as the kernel adds it, broadcast over `sizes`; nothing if the kernel does not take it.
std::optional<kernels::attention_mask> mask_of(const optional_tensor& mask, c10::IntArrayRef sizes) {
  kernels::attention_mask made;
  if (!mask || !mask->defined()) return made;
  if (!is_fp32(*mask) || mask->dim() < 2 || mask->dim() > 4) return std::nullopt;
  made.data = mask->const_data_ptr<float>();
  for (std::int64_t i = 0; i < mask->dim(); ++i) {
    const auto to = 4 - mask->dim() + i;
    if (mask->size(i) != 1 && mask->size(i) != sizes[to]) return std::nullopt;
    made.strides[to] = mask->size(i) == 1 ? 0 : mask->stride(i);
  }
  return made;
}

kernels::strided heads_of(const Tensor& of) {
  return {of.const_data_ptr<float>(), {of.stride(0), of.stride(1), of.stride(2)}};
}

/// What the kernel takes of keys and values after the first ones: of the same heads, for one query.
bool fit_after(const Tensor& q, const Tensor& k, const Tensor& added) {
  return q.dim() == 4 && q.size(2) == 1 && k.dim() == 4 && added.dim() == 4 && is_fp32(added) && added.stride(3) == 1 &&
         added.size(0) == k.size(0) && added.size(1) == k.size(1) && added.size(3) == k.size(3);
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const optional_tensor& mask, bool is_causal,
                 std::optional<double> scale, c10::string_view numbers, const optional_tensor& added_k,
                 const optional_tensor& added_v) {
  TORCH_CHECK(numbers == "fp32" || numbers == "bf16", "attention does not know the numbers ", numbers);
  kernels::added_keys added_keys;
  if (added_k && added_k->defined()) {
    TORCH_CHECK(added_v && added_v->defined(), "attention takes values with the keys that are added");
    if (numbers != "fp32" || is_causal || !fit_after(q, k, *added_k) || added_v->sizes() != added_k->sizes() ||
        !fit_after(q, v, *added_v))
      return attention(q, at::cat({k, *added_k}, 2), at::cat({v, *added_v}, 2), mask, is_causal, scale, numbers, {},
                       {});
    added_keys = {added_k->size(2), heads_of(*added_k), heads_of(*added_v)};
  }
  const auto takes = [](const Tensor& of) { return of.dim() == 4 && is_fp32(of) && of.stride(3) == 1; };
  const auto fall_back = [&] {
    if (added_keys.keys == 0) return at::scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, scale);
    return at::scaled_dot_product_attention(q, at::cat({k, *added_k}, 2), at::cat({v, *added_v}, 2), mask, 0.0,
                                            is_causal, scale);
  };
  if (!takes(q) || !takes(k) || !takes(v) || (mask && is_causal)) return fall_back();
  const kernels::attention_sizes sizes{q.size(0), q.size(1), q.size(2), k.size(2) + added_keys.keys, q.size(3)};
  const auto added = mask_of(mask, {sizes.batch, sizes.heads, sizes.queries, sizes.keys});
  if (!kernels::attention_fits(sizes) || !added || v.sizes() != k.sizes() || k.size(0) != sizes.batch ||
      k.size(1) != sizes.heads || k.size(3) != sizes.depth)
    return fall_back();

  auto out = at::empty({sizes.batch, sizes.queries, sizes.heads, sizes.depth}, q.options());
  const auto by = scale ? *scale : 1.0 / std::sqrt(static_cast<double>(sizes.depth));
  kernels::attention(sizes, heads_of(q), heads_of(k), heads_of(v), *added, is_causal, static_cast<float>(by),
                     out.mutable_data_ptr<float>(), compute_team(),
                     numbers == "bf16" ? kernels::attention_numbers::bf16 : kernels::attention_numbers::fp32,
                     kernels::chosen_instruction_set(), added_keys);
  return out.transpose(1, 2);
}

torch::Library make_library() {
  torch::Library library(torch::Library::FRAGMENT, "shoal", std::nullopt, __FILE__, __LINE__);
  const auto define = [&](const char* schema, const char* name, auto* function) {
    library.def(schema);
    library.impl(name, torch::dispatch(c10::DispatchKey::CPU, function));
  };
  define("pack_linear(Tensor weight) -> Tensor", "pack_linear", &pack_linear);
  define(
      "packed_linear(Tensor x, Tensor packed, Tensor? bias, int out_features, str activation=\"none\", "
      "Tensor? residual=None) -> Tensor",
      "packed_linear", &packed_linear);
  define(
      "add_layer_norm(Tensor x, Tensor? residual, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, "
      "float eps=1e-05) -> Tensor",
      "add_layer_norm", &add_layer_norm);
  define(
      "attention(Tensor q, Tensor k, Tensor v, Tensor? mask=None, bool is_causal=False, float? scale=None, "
      "str numbers=\"fp32\", Tensor? added_k=None, Tensor? added_v=None) -> Tensor",
      "attention", &attention);
  return library;
}

}  // namespace

void register_fused_operators() { static const torch::Library library = make_library(); }

}  // namespace shoal::executor
