#include "worker/executor/fused_operators.hpp"

#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/library.h>

#include "worker/executor/kernels/attention.hpp"
#include "worker/executor/kernels/layer_norm.hpp"
#include "worker/executor/kernels/packed_linear.hpp"

namespace shoal::worker::executor {

namespace {

using at::Tensor;
using optional_tensor = std::optional<Tensor>;

/// ATen's own threads, so that a compute thread has one team.
const kernels::parallel& team() {
  static thread_local kernels::parallel threads{
      1, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
        at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
          for (auto i = begin; i < end; ++i) part(i);
        });
      }};
  threads.threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  return threads;
}

bool is_fp32(const Tensor& tensor) { return tensor.scalar_type() == at::kFloat && !tensor.is_neg(); }

const float* data_of(const optional_tensor& tensor) {
  return tensor && tensor->defined() ? tensor->const_data_ptr<float>() : nullptr;
}

/// The tensor, dense; none stays none.
optional_tensor dense(const optional_tensor& tensor) {
  if (!tensor || !tensor->defined()) return std::nullopt;
  return tensor->contiguous();
}

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
  const auto after = kernels::parse_activation({activation.data(), activation.size()});
  TORCH_CHECK(after.has_value(), "packed_linear does not know the activation ", activation);
  TORCH_CHECK(kernels::packed_elements(out_features, inner) == packed.numel(), "mat1 and mat2 shapes cannot be ",
              "multiplied: the input's last size is ", inner, ", the weight was packed for another");
  TORCH_CHECK(!bias || (is_fp32(*bias) && bias->dim() == 1 && bias->size(0) == out_features),
              "packed_linear takes a bias of ", out_features, " fp32");

  auto sizes = x.sizes().vec();
  sizes.back() = out_features;
  const auto source = x.is_contiguous() || (x.dim() == 2 && x.stride(1) == 1) ? x : x.contiguous();
  const auto added_bias = dense(bias);
  const bool adds = residual && is_fp32(*residual) && residual->sizes() == c10::IntArrayRef(sizes);
  const auto added = adds ? dense(residual) : std::nullopt;
  auto y = at::empty(sizes, x.options());

  kernels::linear_task task;
  task.x = source.const_data_ptr<float>();
  task.x_stride = x.dim() == 2 ? source.stride(0) : inner;
  task.packed = packed.const_data_ptr<float>();
  task.bias = data_of(added_bias);
  task.residual = data_of(added);
  task.residual_stride = out_features;
  task.y = y.mutable_data_ptr<float>();
  task.y_stride = out_features;
  task.rows = out_features == 0 ? 0 : y.numel() / out_features;
  task.inner = inner;
  task.columns = out_features;
  task.after = *after;
  kernels::linear(task, team());
  return residual && !adds ? at::add(y, *residual) : y;
}

Tensor add_layer_norm(const Tensor& x, const optional_tensor& residual, c10::IntArrayRef normalized,
                      const optional_tensor& weight, const optional_tensor& bias, double epsilon) {
  const auto fits = [&](const optional_tensor& affine) {
    return !affine || (is_fp32(*affine) && affine->sizes() == normalized);
  };
  const auto rank = static_cast<std::int64_t>(normalized.size());
  const bool shaped = rank >= 1 && x.dim() >= rank && x.sizes().slice(x.dim() - rank) == normalized;
  if (!shaped || !is_fp32(x) || !fits(weight) || !fits(bias) ||
      (residual && (!is_fp32(*residual) || residual->sizes() != x.sizes())))
    return at::layer_norm(residual ? at::add(x, *residual) : x, normalized, weight, bias, epsilon);

  const auto source = x.contiguous();
  const auto added = dense(residual);
  const auto scale = dense(weight);
  const auto shift = dense(bias);
  auto y = at::empty(x.sizes(), x.options());
  kernels::norm_task task;
  task.x = source.const_data_ptr<float>();
  task.residual = data_of(added);
  task.weight = data_of(scale);
  task.bias = data_of(shift);
  task.y = y.mutable_data_ptr<float>();
  task.width = c10::multiply_integers(normalized);
  task.epsilon = static_cast<float>(epsilon);
  if (task.width > 0) kernels::layer_norm(task, y.numel() / task.width, team());
  return y;
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

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const optional_tensor& mask, bool is_causal,
                 std::optional<double> scale) {
  const auto takes = [](const Tensor& of) { return of.dim() == 4 && is_fp32(of) && of.stride(3) == 1; };
  const auto fall_back = [&] { return at::scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, scale); };
  if (!takes(q) || !takes(k) || !takes(v) || (mask && is_causal)) return fall_back();
  const kernels::attention_sizes sizes{q.size(0), q.size(1), q.size(2), k.size(2), q.size(3)};
  const auto added = mask_of(mask, {sizes.batch, sizes.heads, sizes.queries, sizes.keys});
  if (!kernels::attention_fits(sizes) || !added || v.sizes() != k.sizes() || k.size(0) != sizes.batch ||
      k.size(1) != sizes.heads || k.size(3) != sizes.depth)
    return fall_back();

  auto out = at::empty({sizes.batch, sizes.queries, sizes.heads, sizes.depth}, q.options());
  const auto as = [](const Tensor& of) {
    return kernels::strided{of.const_data_ptr<float>(), {of.stride(0), of.stride(1), of.stride(2)}};
  };
  const auto by = scale ? *scale : 1.0 / std::sqrt(static_cast<double>(sizes.depth));
  kernels::attention(sizes, as(q), as(k), as(v), *added, is_causal, static_cast<float>(by),
                     out.mutable_data_ptr<float>(), team());
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
      "attention(Tensor q, Tensor k, Tensor v, Tensor? mask=None, bool is_causal=False, float? scale=None) -> Tensor",
      "attention", &attention);
  return library;
}

}  // namespace

void register_fused_operators() { static const torch::Library library = make_library(); }

}  // namespace shoal::worker::executor
