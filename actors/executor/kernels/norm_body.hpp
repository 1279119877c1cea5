// Layer norm of a row that may first be added to another: two passes over what the first level cache holds.
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/quantise_body.hpp"

namespace shoal::kernels {
namespace {

void layer_norm_row(const norm_task& task, const float* x, const float* residual, float* y) {
  const auto width = task.width;
  const auto whole = width / lanes * lanes;
  vector sums[2] = {};
  float rest = 0;
  for (std::int64_t c = 0; c < whole; c += lanes) {
    vector value = load(x + c);
    if (residual != nullptr) value += load(residual + c);
    store(y + c, value);
    sums[c / lanes % 2] += value;
  }
  for (auto c = whole; c < width; ++c) {
    y[c] = residual == nullptr ? x[c] : x[c] + residual[c];
    rest += y[c];
  }
  const float mean = (sum(sums[0] + sums[1]) + rest) / static_cast<float>(width);
  vector squares[2] = {};
  rest = 0;
  for (std::int64_t c = 0; c < whole; c += lanes) {
    const vector centred = load(y + c) - mean;
    squares[c / lanes % 2] += centred * centred;
  }
  for (auto c = whole; c < width; ++c) rest += (y[c] - mean) * (y[c] - mean);
  const float variance = (sum(squares[0] + squares[1]) + rest) / static_cast<float>(width);
  const float scale = 1.0F / __builtin_sqrtf(variance + task.epsilon);
  for (std::int64_t c = 0; c < whole; c += lanes) {
    vector value = (load(y + c) - mean) * scale;
    if (task.weight != nullptr) value *= load(task.weight + c);
    if (task.bias != nullptr) value += load(task.bias + c);
    store(y + c, value);
  }
  for (auto c = whole; c < width; ++c) {
    float value = (y[c] - mean) * scale;
    if (task.weight != nullptr) value *= task.weight[c];
    if (task.bias != nullptr) value += task.bias[c];
    y[c] = value;
  }
}

void layer_norm_rows(const norm_task& task, std::int64_t first_row, std::int64_t last_row) {
  for (auto row = first_row; row < last_row; ++row) {
    const auto at = row * task.width;
    layer_norm_row(task, task.x + at, task.residual == nullptr ? nullptr : task.residual + at, task.y + at);
    if (task.quantised != nullptr)
      quantise_row(task.y + at, task.factors, task.width, task.quantised + row * quantised_row_bytes(task.width));
  }
}

}  // namespace
}  // namespace shoal::kernels
