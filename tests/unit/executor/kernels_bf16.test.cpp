// The bf16 linear against sums of rounded numbers in double precision, for every instruction set this processor has.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "executor/kernels/bf16_linear.hpp"
#include "unit/executor/kernel_cases.hpp"

namespace {

using namespace shoal::kernels;
using shoal::test::aligned_floats;
using shoal::test::available_sets;
using shoal::test::random_floats;

/// To the nearest bf16, by the definition: of the two neighbours the nearer, at a tie the even one.
float rounded(float value) {
  if (!std::isfinite(value)) return value;
  const auto below = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xFFFF0000U);
  const auto above = std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) & 0xFFFF0000U) + 0x10000U);
  const double down = std::abs(static_cast<double>(value) - below);
  const double up = std::abs(static_cast<double>(above) - value);
  if (down != up) return down < up ? below : above;
  return (std::bit_cast<std::uint32_t>(below) >> 16) % 2 == 0 ? below : above;
}

struct layer {
  std::int64_t inner;
  std::int64_t columns;
  std::vector<float> weight;
  std::vector<float> bias;
  aligned_floats memory;

  layer(std::int64_t k, std::int64_t n, unsigned seed)
      : inner(k),
        columns(n),
        weight(random_floats(n * k, seed)),
        bias(random_floats(n, seed + 1)),
        memory(*packed_bf16_elements(n, k) / 2 + 1) {
    pack_bf16_weight(weight.data(), n, k, k, 1, packed());
  }
  [[nodiscard]] std::uint16_t* packed() const { return reinterpret_cast<std::uint16_t*>(memory.data()); }
  [[nodiscard]] std::vector<float> run(const std::vector<float>& x, std::int64_t rows, activation after,
                                       const float* residual, instruction_set which,
                                       const parallel& team = parallel::none()) const {
    std::vector<float> y(static_cast<std::size_t>(rows * columns));
    bf16_linear_task task;
    task.x = x.data();
    task.x_stride = inner;
    task.packed = packed();
    task.inner = inner;
    task.columns = columns;
    task.rows = rows;
    task.bias = bias.data();
    task.residual = residual;
    task.residual_stride = columns;
    task.y = y.data();
    task.y_stride = columns;
    task.after = after;
    bf16_linear(task, team, which);
    return y;
  }
};

void check_layer(std::int64_t rows, std::int64_t inner, std::int64_t columns, instruction_set which) {
  CAPTURE(name_of(which));
  CAPTURE(rows);
  CAPTURE(inner);
  CAPTURE(columns);
  const layer of(inner, columns, static_cast<unsigned>(rows * 7 + inner * 3 + columns));
  const auto x = random_floats(rows * inner, 5);
  const auto residual = random_floats(rows * columns, 6);
  const auto y = of.run(x, rows, activation::relu, residual.data(), which);
  double worst = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = of.bias[static_cast<std::size_t>(c)];
      double size = std::abs(sum);
      for (std::int64_t k = 0; k < inner; ++k) {
        const double product = static_cast<double>(rounded(x[static_cast<std::size_t>(r * inner + k)])) *
                               rounded(of.weight[static_cast<std::size_t>(c * inner + k)]);
        sum += product;
        size += std::abs(product);
      }
      const auto at = static_cast<std::size_t>(r * columns + c);
      const double bound = 0x1p-24 * (1.2 * static_cast<double>(inner + 4) * size + 8);
      worst = std::max(worst, std::abs(y[at] - (std::max(sum, 0.0) + residual[at])) / bound);
    }
  CHECK(worst <= 1.0);
}

}  // namespace

TEST_CASE("the bf16 linear agrees with double precision at every edge of its tiles, and at MiniLM's widths") {
  for (const auto which : available_sets()) {
    for (const std::int64_t columns : {1, 15, 16, 17, 33, 64, 100})
      for (const std::int64_t inner : {1, 2, 3, 16, 31, 129})
        for (const std::int64_t rows : {1, 2, 3, 5, 6, 7, 11, 12, 13, 17, 25, 97})
          check_layer(rows, inner, columns, which);
    check_layer(20, 384, 1536, which);
    check_layer(20, 1536, 384, which);
  }
}

TEST_CASE("bf16 rounds to nearest, ties to even, and keeps infinity and NaN") {
  layer one(1, 1, 0);
  one.bias = {0.0F};
  one.weight = {1.0F};
  pack_bf16_weight(one.weight.data(), 1, 1, 1, 1, one.packed());
  constexpr auto infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x{0.0F, 1.0F, 1.00390625F, 1.01171875F, -1.00390625F, 3.14159F, 1e30F, infinity, -infinity};
  for (const auto value : random_floats(200, 1)) x.push_back(value);
  x.push_back(std::nanf(""));
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto y = one.run(x, static_cast<std::int64_t>(x.size()), activation::none, nullptr, which);
    for (std::size_t i = 0; i + 1 < x.size(); ++i) CHECK(y[i] == rounded(x[i]));
    CHECK(std::isnan(y.back()));
  }
}

TEST_CASE("a row of a bf16 linear is the same bytes whatever rows and threads are beside it") {
  const layer of(531, 83, 9);
  constexpr std::int64_t rows = 150;
  const auto x = random_floats(rows * of.inner, 10);
  const parallel three{3, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
                         for (auto i = parts; i > 0; --i) part(i - 1);
                       }};
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto together = of.run(x, rows, activation::gelu, nullptr, which);
    CHECK(of.run(x, rows, activation::gelu, nullptr, which, three) == together);
    for (const std::int64_t count : {1, 2, 5, 7, 13, 40, 64}) {
      const std::vector<float> some(x.end() - count * of.inner, x.end());
      const std::vector<float> wanted(together.end() - count * of.columns, together.end());
      CHECK(of.run(some, count, activation::gelu, nullptr, which) == wanted);
      CHECK(of.run(some, count, activation::gelu, nullptr, which, three) == wanted);
    }
  }
}

TEST_CASE("bf16 sizes that overflow have no packed form") {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  CHECK(!packed_bf16_elements(most, 1));
  CHECK(!packed_bf16_elements(most / 8, 4));
  CHECK(!packed_bf16_elements(-1, 4));
  CHECK(packed_bf16_elements(17, 3) == 32 * 4);
  CHECK(bf16_layout() == "linear-bf16-panel16x2-v1");
}
