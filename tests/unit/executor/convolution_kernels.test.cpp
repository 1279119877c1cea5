#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "executor/convolution_kernels.hpp"

namespace {

using namespace shoal::executor;

/// Skipped, and counted so, where the machine has no AVX-512.
const auto here = doctest::skip(!has_convolution_kernels());

constexpr float infinite = std::numeric_limits<float>::infinity();

std::vector<float> numbers(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> made(static_cast<std::size_t>(count));
  for (auto& each : made) each = normal(random);
  return made;
}

struct problem {
  convolution_shape shape;
  std::vector<float> input, weight, bias, residual, output;

  problem(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t dilation,
          std::int64_t side, bool is_depthwise) {
    const auto padding = kernel / 2 * dilation;
    shape.batch = 2;
    shape.in_height = side;
    shape.in_width = side + 3;
    shape.in_channels = in;
    shape.out_channels = out;
    shape.kernel_height = shape.kernel_width = kernel;
    shape.stride_height = shape.stride_width = stride;
    shape.padding_height = shape.padding_width = padding;
    shape.dilation_height = shape.dilation_width = dilation;
    shape.out_height = (side + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
    shape.out_width = (side + 3 + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
    shape.is_depthwise = is_depthwise;
    input = numbers(shape.batch * side * (side + 3) * in, 1);
    weight = numbers(out * (is_depthwise ? 1 : in) * kernel * kernel, 2);
    bias = numbers(out, 3);
    residual = numbers(shape.batch * shape.out_height * shape.out_width * out, 4);
    output.assign(residual.size(), std::nanf(""));
  }

  void run(convolution_ending ending) {
    std::vector<float> packed(packed_size(shape));
    pack_weight(shape, weight.data(), packed.data());
    const std::vector<float> zeros(static_cast<std::size_t>(shape.in_channels));
    convolve(shape, input.data(), packed.data(), zeros.data(), ending, output.data());
  }

  /// Bias and products at one place of the output, in double.
  [[nodiscard]] double expected(std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t out) const {
    const auto inner = shape.is_depthwise ? 1 : shape.in_channels;
    double sum = bias[static_cast<std::size_t>(out)];
    for (std::int64_t h = 0; h < shape.kernel_height; ++h)
      for (std::int64_t w = 0; w < shape.kernel_width; ++w)
        for (std::int64_t i = 0; i < inner; ++i) {
          const auto y = row * shape.stride_height - shape.padding_height + h * shape.dilation_height;
          const auto x = column * shape.stride_width - shape.padding_width + w * shape.dilation_width;
          if (y < 0 || x < 0 || y >= shape.in_height || x >= shape.in_width) continue;
          const auto channel = shape.is_depthwise ? out : i;
          const auto at = ((image * shape.in_height + y) * shape.in_width + x) * shape.in_channels + channel;
          const auto factor = ((out * inner + i) * shape.kernel_height + h) * shape.kernel_width + w;
          sum += static_cast<double>(input[static_cast<std::size_t>(at)]) *
                 static_cast<double>(weight[static_cast<std::size_t>(factor)]);
        }
    return sum;
  }

  template <class Ending>
  [[nodiscard]] double largest_error(Ending&& ending) const {
    double error = 0;
    double largest = 0;
    std::size_t at = 0;
    for (std::int64_t image = 0; image < shape.batch; ++image)
      for (std::int64_t row = 0; row < shape.out_height; ++row)
        for (std::int64_t column = 0; column < shape.out_width; ++column)
          for (std::int64_t out = 0; out < shape.out_channels; ++out, ++at) {
            const double wanted = ending(expected(image, row, column, out), static_cast<double>(residual[at]));
            const double given = output[at];
            error = std::isnan(given) ? infinite : std::max(error, std::abs(given - wanted));
            largest = std::max(largest, std::abs(wanted));
          }
    return error / largest;
  }
};

std::vector<problem> problems() {
  std::vector<problem> made;
  for (const auto& [in, out] : {std::pair{3, 16}, {16, 32}, {5, 7}, {8, 40}, {32, 49}})
    for (const auto& [kernel, stride, dilation] :
         {std::tuple(1, 1, 1), std::tuple(3, 1, 1), std::tuple(3, 2, 1), std::tuple(5, 2, 2)})
      made.emplace_back(in, out, kernel, stride, dilation, 11, false);
  for (const auto channels : {4, 16, 24, 72})
    for (const auto& [kernel, stride] : {std::pair{3, 1}, {5, 2}, {7, 1}})
      made.emplace_back(channels, channels, kernel, stride, 1, 12, true);
  made.emplace_back(16, 24, 1, 1, 1, 1, false);
  return made;
}

}  // namespace

TEST_CASE("direct convolutions give what the definition gives" * here) {
  for (auto& each : problems()) {
    CAPTURE(each.shape.in_channels);
    CAPTURE(each.shape.out_channels);
    CAPTURE(each.shape.kernel_height);
    CAPTURE(each.shape.stride_height);
    REQUIRE(takes(each.shape));
    const auto* bias = each.bias.data();
    each.run({bias, nullptr, -infinite, infinite});
    CHECK(each.largest_error([](double sum, double) { return sum; }) < 1e-6);
    each.run({bias, nullptr, 0, infinite});
    CHECK(each.largest_error([](double sum, double) { return std::max(sum, 0.0); }) < 1e-6);
    each.run({bias, nullptr, -infinite, infinite, gate::hardswish});
    CHECK(each.largest_error([](double sum, double) { return sum * std::clamp(sum + 3, 0.0, 6.0) / 6; }) < 1e-6);
    each.run({bias, nullptr, -infinite, infinite, gate::hardsigmoid});
    CHECK(each.largest_error([](double sum, double) { return std::clamp(sum + 3, 0.0, 6.0) / 6; }) <
          5e-6);  // of sums six times as large
    each.output = each.residual;
    each.run({bias, each.output.data(), 0, infinite});  // in the residual's memory
    CHECK(each.largest_error([](double sum, double residual) { return std::max(sum + residual, 0.0); }) < 1e-6);
  }
}

TEST_CASE("an image's result does not depend on the images beside it" * here) {
  for (auto& each : problems()) {
    each.run({each.bias.data(), nullptr, 0, infinite});
    auto second = each;
    second.shape.batch = 1;
    second.input.erase(second.input.begin(), second.input.begin() + static_cast<std::ptrdiff_t>(each.input.size() / 2));
    second.run({each.bias.data(), nullptr, 0, infinite});
    const auto half = each.output.size() / 2;
    CHECK(std::equal(second.output.begin(), second.output.begin() + static_cast<std::ptrdiff_t>(half),
                     each.output.begin() + static_cast<std::ptrdiff_t>(half)));
  }
}

TEST_CASE("what is not a number stays visible behind an activation" * here) {
  problem one(4, 8, 1, 1, 1, 4, false);
  one.input.front() = std::nanf("");
  one.run({one.bias.data(), nullptr, 0, infinite});
  CHECK(std::isnan(one.output.front()));
  CHECK_FALSE(std::isnan(one.output.back()));
}

TEST_CASE("a kernel whose area needs more pointers than a tile keeps is not taken") {
  problem large(1, 8, 25, 1, 1, 30, false);
  CHECK_FALSE(takes(large.shape));
}
