// Quantised images and convolutions of narrow numbers against plain arithmetic, for every instruction set this
// processor has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/narrow_convolution.hpp"
#include "executor/kernels/quantised_images.hpp"
#include "unit/executor/kernel_cases.hpp"

namespace {

using namespace shoal::kernels;
using shoal::test::available_sets;
using shoal::test::random_floats;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Images of bytes, as the kernels lay them.
struct byte_images {
  std::int64_t count, height, width, channels;
  std::vector<std::uint8_t> bytes;

  byte_images(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c)
      : count(n),
        height(h),
        width(w),
        channels(c),
        bytes(static_cast<std::size_t>(n * (h + extra_rows(w, c)) * w * pixel_bytes(c)), 0xAB) {}
  [[nodiscard]] std::int64_t stride() const { return static_cast<std::int64_t>(bytes.size()) / count; }
  void quantise(const std::vector<float>& x, const row_numbers* numbers, instruction_set which) {
    quantise_images({x.data(), count, height * width, channels, numbers, bytes.data(), stride()}, parallel::none(),
                    which);
  }
  [[nodiscard]] row_numbers numbers(std::int64_t image) const {
    row_numbers read;
    std::memcpy(&read, bytes.data() + image * stride() + height * width * pixel_bytes(channels), sizeof read);
    return read;
  }
  [[nodiscard]] double value(std::int64_t image, std::int64_t pixel, std::int64_t channel) const {
    const auto with = numbers(image);
    const auto at = image * stride() + pixel * pixel_bytes(channels) + channel;
    return (bytes[static_cast<std::size_t>(at)] - with.zero) * static_cast<double>(with.scale);
  }
};

/// Memory for packed weights, aligned as they want it.
struct packed_bytes {
  shoal::test::aligned_floats memory;
  explicit packed_bytes(std::int64_t bytes) : memory((bytes + 3) / 4) {}
  template <class Number>
  [[nodiscard]] Number* as() const {
    return reinterpret_cast<Number*>(memory.data());
  }
};

struct problem {
  convolution_shape shape;
  std::int64_t images = 3;
  std::vector<float> x, bias, residual;
  std::vector<float> weight;  ///< [out][height][width][in]

  problem(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t dilation,
          std::int64_t height, std::int64_t width, bool pads) {
    shape.in_channels = in;
    shape.out_channels = out;
    shape.in_height = height;
    shape.in_width = width;
    shape.kernel_height = kernel;
    shape.kernel_width = std::max<std::int64_t>(1, kernel - (pads ? 0 : 1));
    shape.stride_height = shape.stride_width = stride;
    shape.dilation_height = shape.dilation_width = dilation;
    shape.padding_height = pads ? dilation * (kernel / 2) : 0;
    shape.padding_width = pads ? dilation * (kernel / 2) + 1 : 0;
    const auto size = [&](std::int64_t of, std::int64_t taps, std::int64_t padding) {
      return (of + 2 * padding - dilation * (taps - 1) - 1) / stride + 1;
    };
    shape.out_height = size(height, shape.kernel_height, shape.padding_height);
    shape.out_width = size(width, shape.kernel_width, shape.padding_width);
    x = random_floats(images * height * width * in, 1);
    weight = random_floats(out * shape.kernel_height * shape.kernel_width * in, 2, 0.3F);
    bias = random_floats(out, 3);
    residual = random_floats(results(), 4);
  }
  [[nodiscard]] std::int64_t results() const {
    return images * shape.out_height * shape.out_width * shape.out_channels;
  }
  /// The weight as a matrix whose channels are filled up with zeros.
  [[nodiscard]] std::vector<float> matrix(std::int64_t channels) const {
    const auto taps = shape.kernel_height * shape.kernel_width;
    std::vector<float> made(static_cast<std::size_t>(shape.out_channels * taps * channels), 0.0F);
    for (std::int64_t row = 0; row < shape.out_channels * taps; ++row)
      std::copy_n(weight.begin() + row * shape.in_channels, shape.in_channels, made.begin() + row * channels);
    return made;
  }
  /// For each element of the result: f(image, pixels and weights of it) summed in double, by the definition.
  template <class Product>
  [[nodiscard]] std::vector<double> sums(const Product& product) const {
    std::vector<double> made;
    const auto& s = shape;
    for (std::int64_t n = 0; n < images; ++n)
      for (std::int64_t row = 0; row < s.out_height; ++row)
        for (std::int64_t column = 0; column < s.out_width; ++column)
          for (std::int64_t out = 0; out < s.out_channels; ++out) {
            double sum = 0;
            for (std::int64_t h = 0; h < s.kernel_height; ++h)
              for (std::int64_t w = 0; w < s.kernel_width; ++w) {
                const auto y = row * s.stride_height - s.padding_height + h * s.dilation_height;
                const auto at = column * s.stride_width - s.padding_width + w * s.dilation_width;
                if (y < 0 || at < 0 || y >= s.in_height || at >= s.in_width) continue;
                const auto tap = (out * s.kernel_height + h) * s.kernel_width + w;
                for (std::int64_t in = 0; in < s.in_channels; ++in)
                  sum += product(n, y * s.in_width + at, in, tap * s.in_channels + in, out);
              }
            made.push_back(sum);
          }
    return made;
  }
  void describe(convolution_result& task) const {
    task.shape = shape;
    task.images = images;
    task.bias = bias.data();
  }
};

std::vector<problem> problems() {
  std::vector<problem> made;
  for (const auto& [in, out] : {std::pair{3, 16}, {16, 32}, {5, 7}, {1, 1}, {32, 49}, {9, 66}})
    for (const auto& [kernel, stride, dilation, pads] :
         {std::tuple(1, 1, 1, false), std::tuple(3, 1, 1, true), std::tuple(3, 2, 1, true), std::tuple(5, 2, 2, true),
          std::tuple(3, 1, 1, false), std::tuple(1, 2, 1, false)})
      made.emplace_back(in, out, kernel, stride, dilation, 11, 13, pads);
  made.emplace_back(16, 24, 1, 1, 1, 1, 1, false);
  made.emplace_back(8, 16, 7, 2, 1, 9, 9, true);
  return made;
}

struct int8_run {
  byte_images input;
  packed_bytes packed;
  byte_images images;
  std::vector<float> y;
  int8_convolution_task task;

  int8_run(const problem& of, const row_numbers* numbers, instruction_set which)
      : input(of.images, of.shape.in_height, of.shape.in_width, of.shape.in_channels),
        packed(*packed_int8_bytes(of.shape.out_channels, *convolution_inner_int8(of.shape))),
        images(of.images, of.shape.out_height, of.shape.out_width, of.shape.out_channels),
        y(static_cast<std::size_t>(of.results()), std::nanf("")) {
    input.quantise(of.x, numbers, which);
    const auto inner = *convolution_inner_int8(of.shape);
    const auto matrix = of.matrix(pixel_bytes(of.shape.in_channels));
    pack_int8_weight(matrix.data(), of.shape.out_channels, inner, inner, 1, nullptr, false, packed.as<std::uint8_t>());
    of.describe(task);
    task.x = input.bytes.data();
    task.x_bytes = input.stride();
    task.packed = packed.as<std::uint8_t>();
    task.y = y.data();
  }
  void quantise_result(const row_numbers& numbers) {
    task.quantised = images.bytes.data();
    task.quantised_bytes = images.stride();
    task.numbers = numbers;
  }
};

double byte_weight(const problem& of, const std::vector<float>& scales, std::int64_t at, std::int64_t out) {
  return std::lrintf(of.weight[static_cast<std::size_t>(at)] / scales[static_cast<std::size_t>(out)]) *
         static_cast<double>(scales[static_cast<std::size_t>(out)]);
}

std::vector<float> scales_of(const problem& of) {
  const auto inner = static_cast<std::ptrdiff_t>(of.weight.size()) / of.shape.out_channels;
  std::vector<float> scales;
  for (std::int64_t out = 0; out < of.shape.out_channels; ++out) {
    float largest = 0;
    for (std::ptrdiff_t k = 0; k < inner; ++k)
      largest = std::max(largest, std::abs(of.weight[static_cast<std::size_t>(out * inner + k)]));
    scales.push_back(largest / 127.0F);
  }
  return scales;
}

double largest(const std::vector<double>& of) {
  double most = 0;
  for (const auto each : of) most = std::max(most, std::abs(each));
  return most;
}

float to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000U;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("an image in bytes is within half a step of itself, and numbers beyond a range become its ends") {
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    for (const std::int64_t channels : {1, 3, 4, 16, 17, 40}) {
      const auto x = random_floats(2 * 5 * 7 * channels, 5);
      byte_images own(2, 5, 7, channels);
      own.quantise(x, nullptr, which);
      const auto numbers = numbers_of_range(-1.0F, 2.0F);
      byte_images given(2, 5, 7, channels);
      given.quantise(x, &numbers, which);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(x.size()); ++i) {
        const auto image = i / (35 * channels);
        const auto pixel = i / channels % 35;
        const auto step = static_cast<double>(own.numbers(image).scale);
        const double wanted = x[static_cast<std::size_t>(i)];
        CHECK(std::abs(own.value(image, pixel, i % channels) - wanted) <= step * 1.01);
        CHECK(std::abs(given.value(image, pixel, i % channels) - std::clamp(wanted, -1.0, 2.0)) <= 3.0 / 255 * 1.01);
      }
    }
  }
}

TEST_CASE("a range too small for a scale is 0, and what is not finite shows in the image's scale and in no other's") {
  CHECK(numbers_of_range(0, 0).scale == 0);
  CHECK(numbers_of_range(0, 1e-38F).scale == 0);
  CHECK(numbers_of_range(-3e38F, 3e38F).scale < infinity);
  for (const auto which : available_sets())
    for (const float wrong : {infinity, -infinity, std::nanf("")}) {
      const auto numbers = numbers_of_range(-4, 4);
      for (const auto* range : {&numbers, static_cast<const row_numbers*>(nullptr)}) {
        auto x = random_floats(3 * 4 * 4 * 5, 6);
        x[80 + 77] = wrong;
        byte_images made(3, 4, 4, 5);
        made.quantise(x, range, which);
        CHECK(!std::isnan(made.numbers(0).scale));
        CHECK(std::isnan(made.numbers(1).scale));
        CHECK(!std::isnan(made.numbers(2).scale));
      }
    }
}

TEST_CASE("an int8 convolution is exact but for the last rounding, with all that may follow it") {
  const auto numbers = numbers_of_range(-3, 3.5F);
  for (const auto& of : problems()) {
    const auto scales = scales_of(of);
    for (const auto which : available_sets()) {
      CAPTURE(name_of(which));
      CAPTURE(of.shape.in_channels);
      CAPTURE(of.shape.out_channels);
      CAPTURE(of.shape.kernel_height);
      CAPTURE(of.shape.stride_height);
      int8_run run(of, &numbers, which);
      const auto sums = of.sums([&](auto n, auto pixel, auto in, auto at, auto out) {
        return run.input.value(n, pixel, in) * byte_weight(of, scales, at, out);
      });
      const auto tolerance = 2e-6 * (largest(sums) + 4);
      const auto check = [&](bool adds, double low, double high) {
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < sums.size(); ++i) {
          const double sum = sums[i] + of.bias[i % of.bias.size()] + (adds ? of.residual[i] : 0.0F);
          wrong += std::abs(run.y[i] - std::clamp(sum, low, high)) <= tolerance ? 0 : 1;
        }
        CHECK(wrong == 0);
      };
      int8_convolution(run.task, parallel::none(), which);
      check(false, -infinity, infinity);
      run.task.low = -0.25F;
      run.task.high = 1;
      int8_convolution(run.task, parallel::none(), which);
      check(false, -0.25, 1);
      run.task.low = 0;
      run.task.high = infinity;
      run.y = of.residual;
      run.task.residual = run.y.data();  // in the residual's memory
      run.quantise_result(numbers_of_range(0, 6));
      int8_convolution(run.task, parallel::none(), which);
      check(true, 0, infinity);
      // Beside it, the same in bytes.
      byte_images wanted(of.images, of.shape.out_height, of.shape.out_width, of.shape.out_channels);
      wanted.quantise(run.y, &run.task.numbers, which);
      std::size_t apart = 0;
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(run.y.size()); ++i) {
        const auto channels = of.shape.out_channels;
        const auto size = of.shape.out_height * of.shape.out_width;
        const auto image = i / (size * channels);
        apart += run.images.value(image, i / channels % size, i % channels) ==
                         wanted.value(image, i / channels % size, i % channels)
                     ? 0
                     : 1;
      }
      CHECK(apart == 0);
      CHECK(run.images.numbers(of.images - 1).scale == run.task.numbers.scale);
    }
  }
}

TEST_CASE("a bf16 convolution is that of rounded numbers") {
  for (const auto& of : problems()) {
    const auto inner = *convolution_inner_bf16(of.shape);
    packed_bytes packed(2 * *packed_bf16_elements(of.shape.out_channels, inner));
    const auto matrix = of.matrix(bf16_width(of.shape.in_channels));
    pack_bf16_weight(matrix.data(), of.shape.out_channels, inner, inner, 1, packed.as<std::uint16_t>());
    const auto sums = of.sums([&](auto n, auto pixel, auto in, auto at, auto) {
      const auto from = (n * of.shape.in_height * of.shape.in_width + pixel) * of.shape.in_channels + in;
      return static_cast<double>(to_bf16(of.x[static_cast<std::size_t>(from)])) *
             static_cast<double>(to_bf16(of.weight[static_cast<std::size_t>(at)]));
    });
    for (const auto which : available_sets()) {
      CAPTURE(name_of(which));
      CAPTURE(of.shape.in_channels);
      CAPTURE(of.shape.out_channels);
      CAPTURE(of.shape.kernel_height);
      auto y = of.residual;
      bf16_convolution_task task;
      of.describe(task);
      task.x = of.x.data();
      task.packed = packed.as<std::uint16_t>();
      task.residual = task.y = y.data();
      task.low = 0;
      bf16_convolution(task, parallel::none(), which);
      const auto tolerance = 1e-5 * (largest(sums) + 4);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const double sum = sums[i] + of.bias[i % of.bias.size()] + of.residual[i];
        wrong += std::abs(y[i] - std::max(sum, 0.0)) <= tolerance ? 0 : 1;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("an image's convolution does not depend on the images beside it, nor on threads") {
  const parallel team{3, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
                        for (std::int64_t i = parts; i-- > 0;) part(i);
                      }};
  const problem of(16, 40, 3, 1, 1, 40, 40, true);
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    for (const auto& range : {numbers_of_range(-3, 3), row_numbers{}}) {
      int8_run all(of, range.scale == 0 ? nullptr : &range, which);
      all.quantise_result(numbers_of_range(-2, 2));
      int8_convolution(all.task, parallel::none(), which);
      const auto single = all.y.size() / 3;
      auto last = of;
      last.images = 1;
      last.x.erase(last.x.begin(), last.x.end() - static_cast<std::ptrdiff_t>(of.x.size() / 3));
      int8_run alone(last, range.scale == 0 ? nullptr : &range, which);
      alone.quantise_result(numbers_of_range(-2, 2));
      int8_convolution(alone.task, team, which);
      CHECK(std::memcmp(alone.y.data(), all.y.data() + 2 * single, single * sizeof(float)) == 0);
      CHECK(std::memcmp(alone.images.bytes.data(), all.images.bytes.data() + 2 * all.images.stride(),
                        alone.images.bytes.size()) == 0);
      auto once = all.images.bytes;
      int8_convolution(all.task, team, which);
      CHECK(once == all.images.bytes);
    }
  }
}

TEST_CASE("what is not finite stays visible behind an activation, in its image alone") {
  problem of(8, 16, 3, 1, 1, 6, 6, true);
  of.x[static_cast<std::size_t>(6 * 6 * 8 + 5)] = std::nanf("");
  const auto numbers = numbers_of_range(-3, 3);
  for (const auto which : available_sets()) {
    int8_run run(of, &numbers, which);
    run.task.low = 0;
    run.quantise_result(numbers);
    int8_convolution(run.task, parallel::none(), which);
    CHECK(!std::isnan(run.y.front()));
    CHECK(std::isnan(run.y[run.y.size() / 2]));
    CHECK(!std::isnan(run.y.back()));
    CHECK(!std::isnan(run.images.numbers(0).scale));
    CHECK(std::isnan(run.images.numbers(1).scale));
  }
}

TEST_CASE("extreme numbers: weights of zero, sums at the edge of 31 bits, ranges that are nothing") {
  for (const auto which : available_sets()) {
    CAPTURE(name_of(which));
    problem of(7280, 2, 3, 1, 1, 3, 3, true);  // 65520 products of each sum
    of.images = 1;
    of.x.assign(static_cast<std::size_t>(9 * 7280), 1.0F);
    std::fill(of.weight.begin(), of.weight.begin() + static_cast<std::ptrdiff_t>(of.weight.size() / 2), 1.0F);
    std::fill(of.weight.begin() + static_cast<std::ptrdiff_t>(of.weight.size() / 2), of.weight.end(), 0.0F);
    of.bias = {0, 5};
    const auto numbers = numbers_of_range(0, 1);
    int8_run run(of, &numbers, which);
    int8_convolution(run.task, parallel::none(), which);
    const auto middle = static_cast<std::size_t>(of.shape.out_width + 2) * 2;  // the pixel that sees all taps
    CHECK(run.y[middle] == doctest::Approx(65520.0).epsilon(1e-5));
    CHECK(run.y[middle + 1] == 5.0F);
    const row_numbers nothing{};
    int8_run none(of, &nothing, which);
    int8_convolution(none.task, parallel::none(), which);
    CHECK(none.y[middle] == 0.0F);
    CHECK(none.y[middle + 1] == 5.0F);
  }
  convolution_shape large;
  large.in_channels = 7300;
  large.kernel_height = large.kernel_width = 3;
  CHECK(!convolution_inner_int8(large).has_value());
}
