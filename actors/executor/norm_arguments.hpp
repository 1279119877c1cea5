// A layer norm of the sum of two tensors, from tensors to what the kernel takes. Includes LibTorch.
#pragma once

#include <ATen/ops/layer_norm.h>

#include "executor/compute_team.hpp"
#include "executor/kernels/layer_norm.hpp"
#include "executor/linear_arguments.hpp"

namespace shoal::executor {

class norm_arguments {
 public:
  norm_arguments(const at::Tensor& x, const optional_tensor& residual, c10::IntArrayRef normalized,
                 const optional_tensor& weight, const optional_tensor& bias, double epsilon)
      : x_(x), residual_(residual), normalized_(normalized), weight_(weight), bias_(bias), epsilon_(epsilon) {}

  /// Whether the kernel takes them; if not, run_aten does.
  [[nodiscard]] bool fit() const {
    const auto fits = [&](const optional_tensor& affine) {
      return !affine || !affine->defined() || (is_fp32(*affine) && affine->sizes() == normalized_);
    };
    const auto rank = static_cast<std::int64_t>(normalized_.size());
    const bool is_shaped = rank >= 1 && x_.dim() >= rank && x_.sizes().slice(x_.dim() - rank) == normalized_;
    return is_shaped && is_fp32(x_) && fits(weight_) && fits(bias_) &&
           (!residual_ || !residual_->defined() || (is_fp32(*residual_) && residual_->sizes() == x_.sizes()));
  }

  [[nodiscard]] at::Tensor run_aten() const {
    return at::layer_norm(residual_ && residual_->defined() ? at::add(x_, *residual_) : x_, normalized_, weight_, bias_,
                          epsilon_);
  }

  /// `change(task)`: what else the kernel is to do.
  template <class Change>
  [[nodiscard]] at::Tensor run(Change&& change) const {
    const auto source = x_.contiguous();
    const auto added = dense(residual_);
    const auto scale = dense(weight_);
    const auto shift = dense(bias_);
    auto y = at::empty(x_.sizes(), x_.options());
    kernels::norm_task task;
    task.x = source.const_data_ptr<float>();
    task.residual = data_of(added);
    task.weight = data_of(scale);
    task.bias = data_of(shift);
    task.y = y.mutable_data_ptr<float>();
    task.width = c10::multiply_integers(normalized_);
    task.epsilon = static_cast<float>(epsilon_);
    change(task);
    if (task.width > 0) kernels::layer_norm(task, y.numel() / task.width, compute_team());
    return y;
  }

 private:
  const at::Tensor& x_;
  const optional_tensor& residual_;
  c10::IntArrayRef normalized_;
  const optional_tensor& weight_;
  const optional_tensor& bias_;
  double epsilon_;
};

}  // namespace shoal::executor
