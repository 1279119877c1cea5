// Quantised rows and linears with int8 weights against plain arithmetic, for every instruction set this processor has.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/layer_norm.hpp"
#include "executor/kernels/quantised_rows.hpp"
#include "unit/executor/kernel_cases.hpp"

namespace {

using namespace shoal::kernels;
using shoal::test::available_sets;
using shoal::test::random_floats;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Bytes aligned to a cache line.
struct aligned_bytes {
  shoal::test::aligned_floats memory;
  std::int64_t size;
  explicit aligned_bytes(std::int64_t bytes) : memory((bytes + 3) / 4), size(bytes) {
    std::memset(data(), 0xAB, bytes);
  }
  [[nodiscard]] std::uint8_t* data() const { return reinterpret_cast<std::uint8_t*>(memory.data()); }
};

struct rows_of_bytes {
  std::int64_t width;
  aligned_bytes bytes;

  rows_of_bytes(std::int64_t count, std::int64_t size) : width(size), bytes(count * quantised_row_bytes(size)) {}
  rows_of_bytes(const std::vector<float>& x, std::int64_t size, instruction_set which, const float* factors = nullptr)
      : rows_of_bytes(static_cast<std::int64_t>(x.size()) / size, size) {
    quantise_rows({x.data(), size, factors, size, bytes.data()}, static_cast<std::int64_t>(x.size()) / size,
                  parallel::none(), which);
  }
  [[nodiscard]] const std::uint8_t* row(std::int64_t at) const {
    return bytes.data() + at * quantised_row_bytes(width);
  }
  [[nodiscard]] row_numbers numbers(std::int64_t at) const {
    row_numbers read;
    std::memcpy(&read, row(at) + quantised_width(width), sizeof read);
    return read;
  }
  [[nodiscard]] double value(std::int64_t at, std::int64_t column) const {
    return (row(at)[column] - numbers(at).zero) * static_cast<double>(numbers(at).scale);
  }
  [[nodiscard]] bool operator==(const rows_of_bytes& other) const {
    return bytes.size == other.bytes.size && std::memcmp(bytes.data(), other.bytes.data(), bytes.size) == 0;
  }
};

struct layer {
  std::int64_t inner;
  std::int64_t columns;
  std::vector<float> weight;
  std::vector<float> bias;
  aligned_bytes packed;

  layer(std::int64_t k, std::int64_t n, unsigned seed, bool clip = false, const float* factors = nullptr)
      : inner(k),
        columns(n),
        weight(random_floats(n * k, seed)),
        bias(random_floats(n, seed + 1)),
        packed(*packed_int8_bytes(n, k)) {
    pack(clip, factors);
  }
  void pack(bool clip = false, const float* factors = nullptr) {
    pack_int8_weight(weight.data(), columns, inner, inner, 1, factors, clip, packed.data());
  }
  [[nodiscard]] std::int64_t panels() const { return (columns + 15) / 16; }
  [[nodiscard]] float scale(std::int64_t column) const {
    float read = 0;
    std::memcpy(&read, packed.data() + panels() * 16 * ((inner + 3) / 4 * 4) + column * 4, sizeof read);
    return read;
  }
  [[nodiscard]] int byte(std::int64_t column, std::int64_t k) const {
    const auto panel = column / 16 * 16 * ((inner + 3) / 4 * 4);
    return static_cast<std::int8_t>(packed.data()[panel + k / 4 * 64 + column % 16 * 4 + k % 4]);
  }
  template <class Task>
  void describe(Task& task, std::int64_t rows, activation after, const float* residual) const {
    task.packed = packed.data();
    task.inner = inner;
    task.columns = columns;
    task.rows = rows;
    task.bias = bias.data();
    task.residual = residual;
    task.residual_stride = columns;
    task.after = after;
  }
  [[nodiscard]] std::vector<float> run(const rows_of_bytes& x, std::int64_t rows, activation after,
                                       const float* residual, instruction_set which,
                                       const parallel& team = parallel::none()) const {
    std::vector<float> y(static_cast<std::size_t>(rows * columns));
    int8_linear_task task;
    describe(task, rows, after, residual);
    task.x = x.bytes.data();
    task.y = y.data();
    task.y_stride = columns;
    int8_linear(task, team, which);
    return y;
  }
  [[nodiscard]] rows_of_bytes run_to_rows(const rows_of_bytes& x, std::int64_t rows, activation after,
                                          const float* residual, const float* factors, instruction_set which,
                                          const parallel& team = parallel::none()) const {
    rows_of_bytes made(rows, columns);
    int8_linear_task task;
    describe(task, rows, after, residual);
    task.x = x.bytes.data();
    task.quantised = made.bytes.data();
    task.factors = factors;
    int8_linear(task, team, which);
    return made;
  }
  [[nodiscard]] std::vector<float> run_widened(const std::vector<float>& x, activation after, const float* residual,
                                               instruction_set which, const parallel& team = parallel::none()) const {
    const auto rows = inner == 0 ? 1 : static_cast<std::int64_t>(x.size()) / inner;
    std::vector<float> y(static_cast<std::size_t>(rows * columns));
    int8_weight_linear_task task;
    describe(task, rows, after, residual);
    task.x = x.data();
    task.x_stride = inner;
    task.y = y.data();
    task.y_stride = columns;
    int8_weight_linear(task, team, which);
    return y;
  }
};

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

/// Three parts, last first, as threads may end.
parallel three_threads() {
  return {3, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
            for (auto i = parts; i > 0; --i) part(i - 1);
          }};
}

void check_layer(std::int64_t rows, std::int64_t inner, std::int64_t columns, instruction_set which) {
  CAPTURE(name_of(which));
  CAPTURE(rows);
  CAPTURE(inner);
  CAPTURE(columns);
  const layer of(inner, columns, static_cast<unsigned>(rows * 7 + inner * 3 + columns));
  const auto x = random_floats(rows * inner, 5);
  const auto residual = random_floats(rows * columns, 6);
  const rows_of_bytes bytes(x, inner, which);
  const auto after = columns % 2 == 0 ? activation::gelu : activation::none;
  const auto y = of.run(bytes, rows, after, residual.data(), which);
  const auto wide = of.run_widened(x, after, residual.data(), which);
  double worst = 0;
  double worst_wide = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      std::int64_t exact = 0;
      std::int64_t bytes_alone = 0;
      double sum = 0;
      double size = 0;
      for (std::int64_t k = 0; k < inner; ++k) {
        bytes_alone += bytes.row(r)[k] * of.byte(c, k);
        exact += (bytes.row(r)[k] - bytes.numbers(r).zero) * of.byte(c, k);
        const double product = static_cast<double>(x[static_cast<std::size_t>(r * inner + k)]) * of.byte(c, k);
        sum += product;
        size += std::abs(product);
      }
      const auto at = static_cast<std::size_t>(r * columns + c);
      const auto follow = [&](double value) {
        value += of.bias[static_cast<std::size_t>(c)];
        return (after == activation::gelu ? gelu(value) : value) + residual[at];
      };
      // Of the whole sum: a rounding to fp32 before the zero is taken off, products, a bias and a residual.
      const double scaled = static_cast<double>(exact) * bytes.numbers(r).scale * of.scale(c);
      const double roughly = after == activation::gelu ? 1.2e-4 + 2e-6 * std::abs(scaled) : 0;
      const double before = std::abs(static_cast<double>(bytes_alone)) * bytes.numbers(r).scale * of.scale(c);
      worst = std::max(worst, std::abs(y[at] - follow(scaled)) / (0x1p-22 * (std::abs(scaled) + before + 4) + roughly));
      const double bound = 0x1p-24 * (1.2 * static_cast<double>(inner + 4) * size * of.scale(c) + 16);
      worst_wide = std::max(worst_wide, std::abs(wide[at] - follow(sum * of.scale(c))) / bound);
    }
  CHECK(worst <= 1.0);
  CHECK(worst_wide <= 1.0);
}

}  // namespace

TEST_CASE("a quantised row has its smallest number at byte 0 and its largest at 255, and 0 at a byte of its own") {
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    for (const std::int64_t width : {1, 3, 15, 16, 17, 31, 64, 65, 384, 1001}) {
      const auto x = random_floats(5 * width, static_cast<unsigned>(width), 3.0F);
      const rows_of_bytes rows(x, width, which);
      for (std::int64_t r = 0; r < 5; ++r) {
        const auto scale = rows.numbers(r).scale;
        for (std::int64_t c = 0; c < width; ++c) {
          const double value = x[static_cast<std::size_t>(r * width + c)];
          CHECK(std::abs(rows.value(r, c) - value) <= 1.001 * scale);  // half a step, and half of one for the zero's
        }
        CHECK(rows.numbers(r).zero >= 0);
        CHECK(rows.numbers(r).zero <= 255);
        for (auto c = width; c < quantised_width(width); ++c) CHECK(rows.row(r)[c] == 0);
      }
    }
  }
}

TEST_CASE("rows of zeros, of one number, tiny, huge and not finite numbers are quantised without surprise") {
  constexpr std::int64_t width = 20;
  constexpr auto most = std::numeric_limits<float>::max();
  const auto row_of = [&](float first, float others) {
    std::vector<float> row(width, others);
    row[7] = first;
    return row;
  };
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto check = [&](float first, float others, double tolerance) {
      CAPTURE(first);
      CAPTURE(others);
      const rows_of_bytes rows(row_of(first, others), width, which);
      CHECK(std::abs(rows.value(0, 7) - first) <= tolerance);
      CHECK(std::abs(rows.value(0, 8) - others) <= tolerance);
      CHECK(std::abs(rows.value(0, 19) - others) <= tolerance);
    };
    check(0, 0, 0);
    check(5, 5, 1e-6);
    check(-5, -5, 1e-6);
    check(1e30F, 0, 1e24);
    check(1e30F, -1e30F, 1e28);
    check(most, -most, 3e36);
    check(1e-40F, 1e-39F, 1e-34);
    check(1e-30F, -1e-30F, 1e-32);
    for (const float bad : {std::nanf(""), infinity, -infinity}) {
      CHECK(std::isnan(rows_of_bytes(row_of(bad, 1), width, which).numbers(0).scale));
      auto in_tail = row_of(1, 1);
      in_tail.back() = bad;
      CHECK(std::isnan(rows_of_bytes(in_tail, width, which).numbers(0).scale));
    }
  }
}

TEST_CASE("factors multiply a row before it is quantised, and every instruction set and team makes the same rows") {
  constexpr std::int64_t width = 131;
  const auto x = random_floats(2000 * width, 1);
  auto factors = random_floats(width, 2);
  auto multiplied = x;
  for (std::size_t i = 0; i < x.size(); ++i) multiplied[i] *= factors[i % width];
  const rows_of_bytes wanted(multiplied, width, instruction_set::portable);
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const rows_of_bytes made(x, width, which, factors.data());
    double worst = 0;  // a product and a sum may be rounded once or twice: another byte at a tie
    for (std::int64_t r = 0; r < 2000; ++r)
      for (std::int64_t c = 0; c < width; ++c)
        worst = std::max(worst, std::abs(made.value(r, c) - wanted.value(r, c)) / wanted.numbers(r).scale);
    CHECK(worst <= 1.01);
    rows_of_bytes shared(2000, width);
    quantise_rows({x.data(), width, factors.data(), width, shared.bytes.data()}, 2000, three_threads(), which);
    CHECK(shared == made);
  }
}

TEST_CASE("int8 weights have a scale for each column, and columns of zeros or not finite numbers are told apart") {
  layer of(30, 5, 3);
  for (std::size_t k = 0; k < 30; ++k) of.weight[k] = 0;
  of.weight[30 + 4] = infinity;
  of.weight[60 + 4] = std::nanf("");
  for (std::size_t k = 90; k < 120; ++k) of.weight[k] = 1e-40F;
  of.pack();
  CHECK(of.scale(0) == 0);
  CHECK(std::isnan(of.scale(1)));
  CHECK(std::isnan(of.scale(2)));
  CHECK(of.scale(3) == 0);
  for (std::int64_t k = 0; k < 30; ++k)
    CHECK(std::abs(of.byte(4, k) * of.scale(4) - of.weight[static_cast<std::size_t>(120 + k)]) <= of.scale(4) * 0.501F);
  for (const auto which : available_sets()) {
    const auto x = random_floats(30, 4);
    const rows_of_bytes rows(x, 30, which);
    for (const auto& y :
         {of.run(rows, 1, activation::none, nullptr, which), of.run_widened(x, activation::none, nullptr, which)}) {
      CHECK(y[0] == of.bias[0]);
      CHECK(std::isnan(y[1]));
      CHECK(std::isnan(y[2]));
      CHECK(y[3] == of.bias[3]);
      CHECK(std::isfinite(y[4]));
    }
  }
}

TEST_CASE("clipping finds scales whose squared error is no larger, and smaller for a column with an outlier") {
  layer of(256, 2, 3);
  of.weight[10] = 5.5F;
  of.pack();
  const auto error_of = [&](std::int64_t column) {
    double error = 0;
    for (std::int64_t k = 0; k < 256; ++k) {
      const double apart = of.byte(column, k) * static_cast<double>(of.scale(column)) -
                           of.weight[static_cast<std::size_t>(column * 256 + k)];
      error += apart * apart;
    }
    return error;
  };
  const std::array plain{error_of(0), error_of(1)};
  of.pack(true);
  CHECK(error_of(0) <= plain[0]);
  CHECK(error_of(1) <= plain[1]);
}

TEST_CASE("int8 linears are exact sums of bytes at every edge of their tiles") {
  for (const auto which : available_sets())
    for (const std::int64_t columns : {1, 15, 16, 17, 33, 64, 100})
      for (const std::int64_t inner : {1, 2, 3, 4, 5, 16, 63, 65, 130})
        for (const std::int64_t rows : {1, 2, 3, 5, 6, 7, 11, 12, 13, 17, 25, 97})
          check_layer(rows, inner, columns, which);
}

TEST_CASE("int8 linears are exact sums of bytes at MiniLM's widths and at random ones") {
  std::mt19937 random(3);
  const auto upto = [&](int most) { return std::uniform_int_distribution<std::int64_t>(1, most)(random); };
  for (const auto which : available_sets()) {
    check_layer(16, 384, 1536, which);
    check_layer(40, 1536, 384, which);
    for (int i = 0; i < 20; ++i) check_layer(upto(120), upto(300), upto(200), which);
  }
}

TEST_CASE("the largest sums of bytes fit") {
  const std::int64_t inner = most_int8_inner;
  layer of(inner, 1, 1);
  std::fill(of.weight.begin(), of.weight.end(), -1.0F);
  of.bias = {0};
  of.pack();
  std::vector<float> x(static_cast<std::size_t>(inner), 1.0F);
  for (const auto which : available_sets()) {
    const rows_of_bytes up(x, inner, which);
    CHECK(of.run(up, 1, activation::none, nullptr, which)[0] == doctest::Approx(-65536.0));
  }
  CHECK(!packed_int8_bytes(1, inner + 1));
  CHECK(!packed_int8_bytes(-1, 1));
  CHECK(!packed_int8_bytes(std::numeric_limits<std::int64_t>::max() / 8, 64));
}

TEST_CASE("a row of an int8 linear is the same bytes whatever rows and threads are beside it") {
  const layer of(530, 83, 9);
  constexpr std::int64_t rows = 150;
  const auto x = random_floats(rows * of.inner, 10);
  const auto factors = random_floats(of.columns, 11, 0.2F);
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const rows_of_bytes all(x, of.inner, which);
    const auto together = of.run(all, rows, activation::gelu, nullptr, which);
    const auto together_wide = of.run_widened(x, activation::gelu, nullptr, which);
    const auto together_rows = of.run_to_rows(all, rows, activation::gelu, nullptr, factors.data(), which);
    CHECK(of.run(all, rows, activation::gelu, nullptr, which, three_threads()) == together);
    CHECK(of.run_widened(x, activation::gelu, nullptr, which, three_threads()) == together_wide);
    CHECK(of.run_to_rows(all, rows, activation::gelu, nullptr, factors.data(), which, three_threads()) ==
          together_rows);
    CHECK(rows_of_bytes(together, of.columns, which, factors.data()) == together_rows);
    for (const std::int64_t count : {1, 2, 5, 7, 13, 40, 64})
      for (const std::int64_t first : {std::int64_t{0}, rows - count}) {
        const std::vector<float> some(x.begin() + first * of.inner, x.begin() + (first + count) * of.inner);
        const rows_of_bytes bytes(some, of.inner, which);
        const auto part = [&](const std::vector<float>& from) {
          return std::vector<float>(from.begin() + first * of.columns, from.begin() + (first + count) * of.columns);
        };
        for (const auto& team : {parallel::none(), three_threads()}) {
          CHECK(of.run(bytes, count, activation::gelu, nullptr, which, team) == part(together));
          CHECK(of.run_widened(some, activation::gelu, nullptr, which, team) == part(together_wide));
          const auto made = of.run_to_rows(bytes, count, activation::gelu, nullptr, factors.data(), which, team);
          CHECK(std::memcmp(made.bytes.data(), together_rows.row(first), static_cast<std::size_t>(made.bytes.size)) ==
                0);
        }
      }
  }
}

TEST_CASE("factors of rows and of the weights they meet cancel out") {
  std::vector<float> factors(64);
  for (std::size_t k = 0; k < factors.size(); ++k) factors[k] = std::exp2(static_cast<float>(k % 9) / 4 - 1);
  auto x = random_floats(7 * 64, 4);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] /= factors[i % 64];  // channels of unlike sizes, as smoothing is for
  const layer plain(64, 20, 5);
  const layer smooth(64, 20, 5, false, factors.data());
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto wanted = plain.run_widened(x, activation::none, nullptr, which);
    const auto rough = plain.run(rows_of_bytes(x, 64, which), 7, activation::none, nullptr, which);
    const auto fine = smooth.run(rows_of_bytes(x, 64, which, factors.data()), 7, activation::none, nullptr, which);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CHECK(fine[i] == doctest::Approx(wanted[i]).epsilon(0.2).scale(1));
      CHECK(rough[i] == doctest::Approx(wanted[i]).epsilon(0.2).scale(1));
    }
  }
}

TEST_CASE("a row that is not finite makes NaN of its own results alone") {
  const layer of(20, 40, 1);
  auto x = random_floats(3 * 20, 2);
  x[20] = std::nanf("");
  x[45] = infinity;
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    const auto y = of.run(rows_of_bytes(x, 20, which), 3, activation::none, nullptr, which);
    for (std::size_t c = 0; c < 40; ++c) {
      CHECK(std::isfinite(y[c]));
      CHECK(std::isnan(y[40 + c]));
      CHECK(std::isnan(y[80 + c]));
    }
    const auto wide = of.run_widened(x, activation::none, nullptr, which);
    for (std::size_t c = 0; c < 40; ++c) {
      CHECK(std::isfinite(wide[c]));
      CHECK(std::isnan(wide[40 + c]));
      CHECK(!std::isfinite(wide[80 + c]));
    }
  }
}

TEST_CASE("fp32 rows of huge, tiny and no numbers meet int8 weights without surprise") {
  const layer of(100, 40, 3);
  for (const float size : {1e30F, 1e-25F, 1e-38F, 0.0F})
    for (const auto which : available_sets()) {
      CAPTURE(name_of(which));
      CAPTURE(size);
      auto x = random_floats(100, 4);
      for (auto& each : x) each *= size;
      const auto y = of.run_widened(x, activation::none, nullptr, which);
      for (std::int64_t c = 0; c < 40; ++c) {
        double sum = 0;
        for (std::int64_t k = 0; k < 100; ++k)
          sum += static_cast<double>(x[static_cast<std::size_t>(k)]) * of.byte(c, k) * of.scale(c);
        const double wanted = sum + of.bias[static_cast<std::size_t>(c)];
        CHECK(std::abs(y[static_cast<std::size_t>(c)] - wanted) <= 1e-5 * (100 * static_cast<double>(size) + 1));
      }
    }
}

TEST_CASE("one row is shared among threads by its columns, and is the same bytes") {
  const layer of(640, 1000, 8);
  const auto x = random_floats(640, 9);
  std::int64_t most = 0;
  const parallel seen{3, [&](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
                        most = std::max(most, parts);
                        three_threads().run(parts, part);
                      }};
  for (const auto which : available_sets()) {
    CHECK(of.run_widened(x, activation::gelu, nullptr, which, seen) ==
          of.run_widened(x, activation::gelu, nullptr, which));
    CHECK(most > 1);
  }
}

TEST_CASE("layer norm gives its rows quantised, too, as quantising them afterwards would") {
  constexpr std::int64_t width = 50;
  const auto x = random_floats(9 * width, 1);
  const auto weight = random_floats(width, 2);
  const auto factors = random_floats(width, 3);
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    std::vector<float> y(x.size());
    rows_of_bytes made(9, width);
    norm_task task;
    task.x = x.data();
    task.weight = weight.data();
    task.y = y.data();
    task.width = width;
    task.epsilon = 1e-5F;
    task.quantised = made.bytes.data();
    task.factors = factors.data();
    layer_norm(task, 9, parallel::none(), which);
    CHECK(made == rows_of_bytes(y, width, which, factors.data()));
  }
}

TEST_CASE("an int8 linear without rows or inner dimension is taken as it is") {
  for (const auto which : available_sets()) {
    const layer of(4, 5, 1);
    CHECK(of.run(rows_of_bytes(0, 4), 0, activation::none, nullptr, which).empty());
    const layer empty(0, 5, 1);
    rows_of_bytes none(1, 0);
    std::memset(none.bytes.data(), 0, static_cast<std::size_t>(none.bytes.size));
    CHECK(empty.run(none, 1, activation::none, nullptr, which) == empty.bias);
    CHECK(empty.run_widened({}, activation::none, nullptr, which) == empty.bias);
  }
  CHECK(int8_layout() == "linear-int8-panel16x4-v1");
}
