// Our fp32 kernels against ATen's on the same tensors: both take turns, and the least of each is compared, since
// whatever else the machine does only adds. One thread.
//
//   bench_kernels [linear | narrow | norm | attention]
//
// Prints a table for the packed linear over the shapes of a small transformer, add + layer norm, and attention.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "executor/kernels/attention.hpp"
#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/layer_norm.hpp"
#include "executor/kernels/packed_linear.hpp"
#include "executor/kernels/quantised_rows.hpp"

namespace {

using namespace shoal::kernels;

double once(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

struct pair {
  double ours = 1e30;
  double theirs = 1e30;
};

pair compare(const std::function<void()>& ours, const std::function<void()>& theirs) {
  pair least;
  ours();
  theirs();
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  for (int i = 0; i < 9 || std::chrono::steady_clock::now() < until; ++i) {
    least.ours = std::min(least.ours, once(ours));
    least.theirs = std::min(least.theirs, once(theirs));
  }
  return least;
}

void print(const std::string& what, pair times, double operations) {
  std::printf("%-34s %10.1f us %10.1f us  ratio %.2f", what.c_str(), times.ours, times.theirs,
              times.ours / times.theirs);
  if (operations > 0) std::printf("   %6.1f GFLOP/s", operations / times.ours / 1e3);
  std::printf("\n");
}

void linears(instruction_set which, std::int64_t rows, std::int64_t inner, std::int64_t columns, activation after) {
  // A ring of weights larger than the caches, as a model's layers are.
  const auto count = std::max<std::int64_t>(1, (std::int64_t{48} << 20) / (inner * columns * 4));
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> packed;
  for (std::int64_t i = 0; i < count; ++i) {
    weights.push_back(at::randn({columns, inner}));
    packed.push_back(at::empty({*packed_elements(columns, inner)}));
    pack_weight(weights.back().const_data_ptr<float>(), columns, inner, inner, 1, packed.back().data_ptr<float>());
  }
  const auto x = at::randn({rows, inner});
  const auto bias = at::randn({columns});
  std::size_t at = 0;
  const auto ours = [&] {
    auto y = at::empty({rows, columns});
    linear_task task;
    task.x = x.const_data_ptr<float>();
    task.x_stride = inner;
    task.packed = packed[at].const_data_ptr<float>();
    task.bias = bias.const_data_ptr<float>();
    task.y = y.data_ptr<float>();
    task.y_stride = columns;
    task.rows = rows;
    task.inner = inner;
    task.columns = columns;
    task.after = after;
    linear(task, parallel::none(), which);
  };
  const auto theirs = [&] {
    auto y = at::linear(x, weights[at], bias);
    if (after == activation::gelu) y = at::gelu(y);
    at = (at + 1) % weights.size();
  };
  print(std::string(name_of(which)) + (after == activation::gelu ? " linear+gelu " : " linear ") +
            std::to_string(rows) + " x " + std::to_string(inner) + " -> " + std::to_string(columns),
        compare(ours, theirs), 2.0 * static_cast<double>(rows * inner * columns));
}

/// The same layer in narrower numbers, against ours in fp32 (all packed); rows are quantised in the time.
void narrow_linears(instruction_set which, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                    activation after) {
  const auto count = std::max<std::int64_t>(1, (std::int64_t{48} << 20) / (inner * columns * 4));
  struct packed_weight {
    at::Tensor fp32;
    at::Tensor bf16;
    at::Tensor int8;
  };
  std::vector<packed_weight> packed;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto weight = at::randn({columns, inner});
    packed_weight each{at::empty({*packed_elements(columns, inner)}),
                       at::empty({*packed_bf16_elements(columns, inner)}, at::kBFloat16),
                       at::empty({*packed_int8_bytes(columns, inner)}, at::kByte)};
    const auto* from = weight.const_data_ptr<float>();
    pack_weight(from, columns, inner, inner, 1, each.fp32.data_ptr<float>());
    pack_bf16_weight(from, columns, inner, inner, 1, static_cast<std::uint16_t*>(each.bf16.data_ptr()));
    pack_int8_weight(from, columns, inner, inner, 1, nullptr, false, each.int8.data_ptr<std::uint8_t>());
    packed.push_back(std::move(each));
  }
  const auto x = at::randn({rows, inner});
  const auto bias = at::randn({columns});
  std::size_t at = 0;
  const auto describe = [&](auto& task) {
    task.bias = bias.const_data_ptr<float>();
    task.rows = rows;
    task.inner = inner;
    task.columns = columns;
    task.after = after;
    at = (at + 1) % packed.size();
  };
  const auto with_y = [&](auto& task, at::Tensor& y) {
    y = at::empty({rows, columns});
    task.y = y.data_ptr<float>();
    task.y_stride = columns;
  };
  const auto plain = [&] {
    at::Tensor y;
    linear_task task;
    describe(task);
    with_y(task, y);
    task.x = x.const_data_ptr<float>();
    task.x_stride = inner;
    task.packed = packed[at].fp32.const_data_ptr<float>();
    linear(task, parallel::none(), which);
  };
  const auto bf16 = [&] {
    at::Tensor y;
    bf16_linear_task task;
    describe(task);
    with_y(task, y);
    task.x = x.const_data_ptr<float>();
    task.x_stride = inner;
    task.packed = static_cast<const std::uint16_t*>(packed[at].bf16.const_data_ptr());
    bf16_linear(task, parallel::none(), which);
  };
  const auto int8 = [&] {
    at::Tensor y;
    const auto bytes = at::empty({rows, quantised_row_bytes(inner)}, at::kByte);
    quantise_rows({x.const_data_ptr<float>(), inner, nullptr, inner, bytes.data_ptr<std::uint8_t>()}, rows,
                  parallel::none(), which);
    int8_linear_task task;
    describe(task);
    with_y(task, y);
    task.x = bytes.const_data_ptr<std::uint8_t>();
    task.packed = packed[at].int8.const_data_ptr<std::uint8_t>();
    int8_linear(task, parallel::none(), which);
  };
  const auto int8_weight = [&] {
    at::Tensor y;
    int8_weight_linear_task task;
    describe(task);
    with_y(task, y);
    task.x = x.const_data_ptr<float>();
    task.x_stride = inner;
    task.packed = packed[at].int8.const_data_ptr<std::uint8_t>();
    int8_weight_linear(task, parallel::none(), which);
  };
  const auto what = std::string(name_of(which)) + " " + std::to_string(rows) + " x " + std::to_string(inner) + " -> " +
                    std::to_string(columns);
  const auto operations = 2.0 * static_cast<double>(rows * inner * columns);
  print("bf16 " + what, compare(bf16, plain), operations);
  print("int8 " + what, compare(int8, plain), operations);
  print("int8 weight " + what, compare(int8_weight, plain), operations);
}

void norms(std::int64_t rows, std::int64_t width) {
  const auto x = at::randn({rows, width});
  const auto residual = at::randn({rows, width});
  const auto weight = at::randn({width});
  const auto bias = at::randn({width});
  const auto ours = [&] {
    auto y = at::empty({rows, width});
    layer_norm({x.const_data_ptr<float>(), residual.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                bias.const_data_ptr<float>(), y.data_ptr<float>(), width, 1e-12F},
               rows);
  };
  const auto theirs = [&] { at::layer_norm(at::add(x, residual), {width}, weight, bias, 1e-12); };
  print("add + layer norm " + std::to_string(rows) + " x " + std::to_string(width), compare(ours, theirs), 0);
}

void attentions(std::int64_t batch, std::int64_t tokens, std::int64_t heads, std::int64_t depth, bool causal) {
  const auto make = [&] { return at::randn({batch, tokens, heads, depth}); };
  const auto q = make();
  const auto k = make();
  const auto v = make();
  const auto mask = at::zeros({batch, 1, 1, tokens});
  const auto as = [&](const at::Tensor& from) {
    return strided{from.const_data_ptr<float>(), {from.stride(0), from.stride(2), from.stride(1)}};
  };
  const auto ours = [&] {
    auto y = at::empty({batch, tokens, heads, depth});
    attention({batch, heads, tokens, tokens, depth}, as(q), as(k), as(v),
              {causal ? nullptr : mask.const_data_ptr<float>(), {tokens, 0, 0, 1}}, causal,
              1.0F / std::sqrt(static_cast<float>(depth)), y.data_ptr<float>());
  };
  const auto theirs = [&] {
    at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                     causal ? std::nullopt : std::optional(mask), 0.0, causal);
  };
  print(std::string(causal ? "causal " : "") + "attention " + std::to_string(batch) + " x " + std::to_string(tokens) +
            ", " + std::to_string(heads) + " x " + std::to_string(depth),
        compare(ours, theirs), 4.0 * static_cast<double>(batch * heads * tokens * tokens * depth));
}

}  // namespace

int main(int count, char** values) {
  const c10::InferenceMode inference;
  at::set_num_threads(1);
  const std::string only = count > 1 ? values[1] : "";
  std::printf("%-34s %13s %13s\n", "", "ours", "ATen");
  if (only.empty() || only == "linear") {
    for (const auto which : {instruction_set::avx512, instruction_set::avx2, instruction_set::portable}) {
      if (!is_available(which)) continue;
      for (const std::int64_t rows : {1, 4, 16, 64, 512, 4096}) {
        linears(which, rows, 384, 384, activation::none);
        linears(which, rows, 384, 1536, activation::gelu);
        linears(which, rows, 1536, 384, activation::none);
      }
      if (which == instruction_set::avx512)
        for (const std::int64_t rows : {16, 512}) linears(which, rows, 1024, 1024, activation::none);
    }
  }
  if (only.empty() || only == "narrow") {
    std::printf("%-34s %13s %13s\n", "", "narrow", "fp32");
    for (const auto which : all_instruction_sets) {
      if (!is_available(which)) continue;
      for (const std::int64_t rows : {1, 16, 512}) {
        narrow_linears(which, rows, 384, 384, activation::none);
        narrow_linears(which, rows, 384, 1536, activation::gelu);
        narrow_linears(which, rows, 1536, 384, activation::none);
      }
    }
  }
  if (only.empty() || only == "norm")
    for (const std::int64_t rows : {16, 512, 4096}) norms(rows, 384);
  if (only.empty() || only == "attention")
    for (const bool causal : {false, true}) {
      attentions(1, 16, 12, 32, causal);
      attentions(8, 64, 12, 32, causal);
      attentions(32, 128, 12, 32, causal);
      attentions(1, 512, 12, 64, causal);
      attentions(1, 1024, 8, 64, causal);
    }
  return 0;
}
