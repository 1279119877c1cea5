// The packed linear against sums in double precision, for every instruction set this processor has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "executor/kernels/packed_linear.hpp"
#include "unit/executor/kernel_cases.hpp"

namespace {

using namespace shoal::kernels;
using shoal::test::aligned_floats;
using shoal::test::available_sets;
using shoal::test::random_floats;

constexpr float untouched = 12345.0F;

struct layer {
  std::int64_t inner;
  std::int64_t columns;
  std::vector<float> weight;
  std::vector<float> bias;
  aligned_floats packed;

  layer(std::int64_t k, std::int64_t n, unsigned seed)
      : inner(k),
        columns(n),
        weight(random_floats(n * k, seed)),
        bias(random_floats(n, seed + 1)),
        packed(*packed_elements(n, k)) {
    pack_weight(weight.data(), n, k, k, 1, packed.data());
  }

  /// Rows lie four elements further apart than they are wide; what is between stays as it is.
  std::vector<float> run(const std::vector<float>& x, std::int64_t rows, activation after, const float* residual,
                         instruction_set which, const parallel& team = parallel::none()) const {
    const auto stride = columns + 4;
    std::vector<float> y(static_cast<std::size_t>(rows * stride), untouched);
    linear_task task;
    task.x = x.data();
    task.x_stride = inner;
    task.packed = packed.data();
    task.bias = bias.data();
    task.residual = residual;
    task.residual_stride = columns;
    task.y = y.data();
    task.y_stride = stride;
    task.rows = rows;
    task.inner = inner;
    task.columns = columns;
    task.after = after;
    linear(task, team, which);
    std::vector<float> dense;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < stride; ++c) {
        const auto value = y[static_cast<std::size_t>(r * stride + c)];
        if (c < columns)
          dense.push_back(value);
        else
          CHECK(value == untouched);
      }
    return dense;
  }
};

double reference(activation after, double x) {
  switch (after) {
    case activation::relu: return std::max(x, 0.0);
    case activation::gelu_rough:
    case activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case activation::gelu_tanh_rough:
    case activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case activation::silu: return x / (1 + std::exp(-x));
    case activation::none: break;
  }
  return x;
}

void check_layer(std::int64_t rows, std::int64_t inner, std::int64_t columns, activation after, bool adds,
                 instruction_set which) {
  CAPTURE(name_of(which));
  CAPTURE(rows);
  CAPTURE(inner);
  CAPTURE(columns);
  const layer of(inner, columns, static_cast<unsigned>(rows * 7 + inner * 3 + columns));
  const auto x = random_floats(rows * inner, 5);
  const auto residual = random_floats(rows * columns, 6);
  const auto y = of.run(x, rows, after, adds ? residual.data() : nullptr, which);
  double worst = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = of.bias[static_cast<std::size_t>(c)];
      double size = std::abs(sum);
      for (std::int64_t k = 0; k < inner; ++k) {
        const double product = static_cast<double>(x[static_cast<std::size_t>(r * inner + k)]) *
                               of.weight[static_cast<std::size_t>(c * inner + k)];
        sum += product;
        size += std::abs(product);
      }
      const auto at = static_cast<std::size_t>(r * columns + c);
      const double wanted = reference(after, sum) + (adds ? residual[at] : 0.0F);
      // n roundings of a sum err by at most n * 2^-24 of its terms' sizes (Higham 2002, 3.1); activations, whose slope
      // is at most 1.13, and the residual add a few more.
      const double bound = 0x1p-24 * (1.2 * static_cast<double>(inner + 4) * size + 4 * std::abs(wanted) + 4);
      worst = std::max(worst, std::abs(y[at] - wanted) / bound);
    }
  CHECK(worst <= 1.0);
}

}  // namespace

TEST_CASE("a packed weight lies in panels of 16 columns, one after the other, filled up with zeros") {
  std::vector<float> weight(18 * 3);
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i + 1);
  REQUIRE(packed_elements(18, 3) == 2 * 16 * 3);
  std::vector<float> packed(2 * 16 * 3, untouched);
  pack_weight(weight.data(), 18, 3, 3, 1, packed.data());
  for (std::size_t column = 0; column < 32; ++column)
    for (std::size_t k = 0; k < 3; ++k)
      CHECK(packed[column / 16 * 48 + k * 16 + column % 16] == (column < 18 ? weight[column * 3 + k] : 0.0F));
  std::vector<float> transposed(18 * 3);
  for (std::size_t column = 0; column < 18; ++column)
    for (std::size_t k = 0; k < 3; ++k) transposed[k * 18 + column] = weight[column * 3 + k];
  std::vector<float> again(packed.size(), untouched);
  pack_weight(transposed.data(), 18, 3, 1, 18, again.data());
  CHECK(packed == again);
}

TEST_CASE("sizes that overflow have no packed form") {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  CHECK(!packed_elements(most, 1));
  CHECK(!packed_elements(most / 8, 4));
  CHECK(!packed_elements(1 << 20, most >> 20));
  CHECK(!packed_elements(-1, 4));
  CHECK(packed_elements(0, 4) == 0);
}

TEST_CASE("the packed linear agrees with double precision at every edge of its tiles and blocks") {
  for (const auto which : available_sets())
    for (const std::int64_t columns : {1, 15, 16, 17, 33, 64, 100})
      for (const std::int64_t inner : {1, 3, 16, 129})
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 25, 97})
          check_layer(rows, inner, columns, activation::none, (rows + columns) % 2 == 0, which);
}

TEST_CASE("the packed linear agrees with double precision at widths beyond its inner block, and at MiniLM's") {
  for (const auto which : available_sets())
    for (const auto& [rows, inner, columns] : {std::array<std::int64_t, 3>{9, 1023, 17},
                                               {9, 1024, 16},
                                               {9, 1025, 50},
                                               {100, 2100, 33},
                                               {16, 384, 1536},
                                               {33, 1536, 384},
                                               {30, 1024, 100},
                                               {100, 2048, 81}})
      check_layer(rows, inner, columns, activation::none, true, which);
}

TEST_CASE("the packed linear agrees with double precision at random shapes") {
  std::mt19937 random(3);
  const auto upto = [&](int most) { return std::uniform_int_distribution<std::int64_t>(1, most)(random); };
  constexpr std::array all{activation::none, activation::relu, activation::gelu, activation::gelu_tanh,
                           activation::silu};
  for (int i = 0; i < 40; ++i) {
    const auto rows = upto(120);
    const auto inner = upto(300);
    const auto columns = upto(200);
    for (const auto which : available_sets())
      check_layer(rows, inner, columns, all[static_cast<std::size_t>(i) % all.size()], i % 3 == 0, which);
  }
}

TEST_CASE("a row of the result is the same bytes whatever rows and threads are beside it") {
  std::int64_t inner = 1100;
  SUBCASE("rows as they lie") {}
  SUBCASE("rows a multiple of 4 KiB apart, which are copied if there are many") { inner = 1024; }
  const layer of(inner, 83, 9);
  const std::int64_t rows = 150;
  const auto x = random_floats(rows * of.inner, 10);
  // Three parts, last first, as threads may end.
  const parallel three{3, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
                         for (auto i = parts; i > 0; --i) part(i - 1);
                       }};
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto together = of.run(x, rows, activation::gelu, nullptr, which);
    CHECK(of.run(x, rows, activation::gelu, nullptr, which, three) == together);
    for (const std::int64_t count : {1, 2, 5, 7, 13, 40, 64})
      for (const std::int64_t first : {std::int64_t{0}, rows - count}) {
        const std::vector<float> some(x.begin() + first * of.inner, x.begin() + (first + count) * of.inner);
        const std::vector<float> wanted(together.begin() + first * of.columns,
                                        together.begin() + (first + count) * of.columns);
        CHECK(of.run(some, count, activation::gelu, nullptr, which) == wanted);
        CHECK(of.run(some, count, activation::gelu, nullptr, which, three) == wanted);
      }
  }
}

TEST_CASE("activations agree with double precision from 0 to the largest numbers") {
  std::vector<float> x{0.0F,   -0.0F, 1e-40F, -1e-40F, 1e-20F, -1e-20F, 1e10F,
                       -1e10F, 3e38F, -3e38F, 88.5F,   -88.5F, 89.0F,   -89.0F};
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005F);
  layer one(1, 1, 0);
  one.bias = {0.0F};
  one.weight = {1.0F};
  pack_weight(one.weight.data(), 1, 1, 1, 1, one.packed.data());
  for (const auto which : available_sets())
    for (const auto after : {activation::relu, activation::gelu, activation::gelu_tanh, activation::silu}) {
      CAPTURE(name_of(which));
      CAPTURE(static_cast<int>(after));
      const auto y = one.run(x, static_cast<std::int64_t>(x.size()), after, nullptr, which);
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double wanted = reference(after, x[i]);
        REQUIRE(std::isfinite(y[i]));
        worst =
            std::max(worst, std::abs(y[i] - wanted) / (1.2e-7 * std::max(std::abs(static_cast<double>(x[i])), 1e-30)));
      }
      CHECK(worst <= 2.0);
    }
}

TEST_CASE("rough activations err by what they say, from 0 to the largest numbers") {
  std::vector<float> x{0.0F, -0.0F, 1e-40F, -1e-40F, 1e10F, -1e10F, 3e38F, -3e38F};
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005F);
  layer one(1, 1, 0);
  one.bias = {0.0F};
  one.weight = {1.0F};
  pack_weight(one.weight.data(), 1, 1, 1, 1, one.packed.data());
  CHECK(rough(activation::gelu) == activation::gelu_rough);
  CHECK(rough(activation::silu) == activation::silu);
  for (const auto which : available_sets())
    for (const auto after : {activation::gelu_rough, activation::gelu_tanh_rough}) {
      CAPTURE(name_of(which));
      const auto y = one.run(x, static_cast<std::int64_t>(x.size()), after, nullptr, which);
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        REQUIRE(std::isfinite(y[i]));
        worst = std::max(
            worst, std::abs(y[i] - reference(after, x[i])) / (1.2e-4 + 3e-6 * std::abs(static_cast<double>(x[i]))));
      }
      CHECK(worst <= 1.0);
    }
}

TEST_CASE("infinity and NaN stay in the row and column they are in") {
  constexpr auto infinity = std::numeric_limits<float>::infinity();
  const layer of(20, 40, 1);
  auto x = random_floats(3 * 20, 2);
  x[20] = std::nanf("");
  x[45] = infinity;
  for (const auto which : available_sets())
    for (const auto after : {activation::none, activation::relu, activation::gelu, activation::gelu_tanh}) {
      CAPTURE(name_of(which));
      const auto y = of.run(x, 3, after, nullptr, which);
      for (std::size_t c = 0; c < 40; ++c) {
        CHECK(std::isfinite(y[c]));
        CHECK(std::isnan(y[40 + c]));
        const bool rises = of.weight[c * 20 + 5] > 0;
        if (rises || after == activation::none) CHECK(y[80 + c] == (rises ? infinity : -infinity));
      }
    }
}

TEST_CASE("no rows, no columns and no inner dimension are taken as they are") {
  for (const auto which : available_sets()) {
    const layer of(4, 5, 1);
    CHECK(of.run({}, 0, activation::none, nullptr, which).empty());
    const layer empty(0, 5, 1);
    CHECK(empty.run({0.0F}, 1, activation::none, nullptr, which) == empty.bias);
  }
}

TEST_CASE("activations are known by name, and the layout has one") {
  CHECK(parse_activation("gelu_tanh") == activation::gelu_tanh);
  CHECK(!parse_activation("tanh"));
  CHECK(packed_layout() == "linear-fp32-panel16-v1");
  CHECK(is_available(instruction_set::portable));
}
