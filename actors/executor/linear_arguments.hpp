// What the operators of linear layers have in common, from tensors to what a kernel takes. Includes LibTorch.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>

#include "executor/kernels/packed_linear.hpp"

namespace shoal::executor {

using optional_tensor = std::optional<at::Tensor>;

inline bool is_fp32(const at::Tensor& tensor) { return tensor.scalar_type() == at::kFloat && !tensor.is_neg(); }

inline const float* data_of(const optional_tensor& tensor) {
  return tensor && tensor->defined() ? tensor->const_data_ptr<float>() : nullptr;
}

/// The tensor, dense; none stays none.
inline optional_tensor dense(const optional_tensor& tensor) {
  if (!tensor || !tensor->defined()) return std::nullopt;
  return tensor->contiguous();
}

/// Rows of fp32 that a kernel reads: the tensor itself where its rows are dense, else a copy.
struct dense_rows {
  at::Tensor held;
  const float* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t width = 0;

  explicit dense_rows(const at::Tensor& x)
      : held(x.is_contiguous() || (x.dim() == 2 && x.stride(1) == 1) ? x : x.contiguous()),
        data(held.const_data_ptr<float>()),
        stride(x.dim() == 2 ? held.stride(0) : x.size(-1)),
        width(x.size(-1)) {}
};

/// What follows the product of a linear layer, and the tensor that it makes. Holds what the kernel's pointers point to.
class linear_arguments {
 public:
  /// `sizes`: of the result, whose last one is the layer's number of columns. Throws what ATen's operators throw.
  linear_arguments(std::vector<std::int64_t> sizes, const optional_tensor& bias, c10::string_view activation,
                   const optional_tensor& residual)
      : sizes_(std::move(sizes)), given_(residual) {
    const auto columns = sizes_.back();
    const auto after = kernels::parse_activation({activation.data(), activation.size()});
    TORCH_CHECK(after.has_value(), "the linear layer does not know the activation ", activation);
    TORCH_CHECK(!bias || !bias->defined() || (is_fp32(*bias) && bias->dim() == 1 && bias->size(0) == columns),
                "the linear layer takes a bias of ", columns, " fp32");
    after_ = *after;
    bias_ = dense(bias);
    adds_ = residual && residual->defined() && is_fp32(*residual) && residual->sizes() == c10::IntArrayRef(sizes_);
    if (adds_) residual_ = dense(residual);
    rows_ = 1;
    for (std::size_t i = 0; i + 1 < sizes_.size(); ++i) rows_ *= sizes_[i];
  }

  /// All but y, which is `run`'s.
  void describe(kernels::linear_result& task) const {
    task.bias = data_of(bias_);
    task.residual = data_of(residual_);
    task.residual_stride = sizes_.back();
    task.rows = sizes_.back() == 0 ? 0 : rows_;
    task.columns = sizes_.back();
    task.after = after_;
  }

  /// Whether the kernel adds the residual; if not (another shape), `run` does.
  [[nodiscard]] bool adds() const { return adds_ || !given_ || !given_->defined(); }

  /// Makes y, lets `kernel(task)` fill it, and gives it.
  template <class Task, class Kernel>
  at::Tensor run(Task& task, const at::TensorOptions& options, Kernel&& kernel) const {
    auto y = at::empty(sizes_, options);
    describe(task);
    task.y = y.mutable_data_ptr<float>();
    task.y_stride = sizes_.back();
    kernel(task);
    return adds() ? y : at::add(y, *given_);
  }

 private:
  std::vector<std::int64_t> sizes_;
  optional_tensor given_;
  optional_tensor bias_;
  optional_tensor residual_;
  kernels::activation after_ = kernels::activation::none;
  std::int64_t rows_ = 0;
  bool adds_ = false;
};

/// The sizes of x with another last one.
inline std::vector<std::int64_t> with_last(const at::Tensor& x, std::int64_t last) {
  auto sizes = x.sizes().vec();
  sizes.back() = last;
  return sizes;
}

}  // namespace shoal::executor
