#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "executor/output_error.hpp"

namespace {

using namespace shoal;
using namespace shoal::executor;

template <class Number>
tensor of(dtype type, const std::vector<Number>& numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return {"y", type, {static_cast<std::int64_t>(numbers.size())}, buffer::copy(bytes)};
}

double error_of(const tensor& wanted, const tensor& given) {
  output_error sums;
  add_error(wanted, given, sums);
  return sums.relative();
}

}  // namespace

TEST_CASE("an error is the root mean square of the difference over that of what should be") {
  CHECK(error_of(of<float>(dtype::fp32, {3, 4}), of<float>(dtype::fp32, {3, 4})) == 0);
  CHECK(error_of(of<float>(dtype::fp32, {3, 4}), of<float>(dtype::fp32, {3, 3})) == doctest::Approx(0.2));
  CHECK(error_of(of<double>(dtype::fp64, {0, 5}), of<double>(dtype::fp64, {1, 5})) == doctest::Approx(0.2));
  CHECK(error_of(of<float>(dtype::fp32, {0, 0}), of<float>(dtype::fp32, {0, 0})) == 0);
  CHECK(std::isinf(error_of(of<float>(dtype::fp32, {0}), of<float>(dtype::fp32, {1}))));
  output_error two;
  add_error(of<float>(dtype::fp32, {3}), of<float>(dtype::fp32, {3}), two);
  add_error(of<float>(dtype::fp32, {4}), of<float>(dtype::fp32, {3}), two);
  CHECK(two.relative() == doctest::Approx(0.2));
}

TEST_CASE("halves are read as the numbers they are") {
  // 1.0, -2.0, the smallest and the largest of binary16; 1.0 and -2.0 of bf16.
  const auto half = of<std::uint16_t>(dtype::fp16, {0x3C00, 0xC000, 0x0001, 0x7BFF});
  CHECK(error_of(half, half) == 0);
  CHECK(error_of(of<std::uint16_t>(dtype::fp16, {0x3C00}), of<std::uint16_t>(dtype::fp16, {0xC000})) ==
        doctest::Approx(3));
  CHECK(error_of(of<std::uint16_t>(dtype::bf16, {0x3F80}), of<std::uint16_t>(dtype::bf16, {0xC000})) ==
        doctest::Approx(3));
  CHECK(!is_finite(of<std::uint16_t>(dtype::fp16, {0x7C00})));
  CHECK(!is_finite(of<std::uint16_t>(dtype::fp16, {0x7C01})));
  CHECK(!is_finite(of<std::uint16_t>(dtype::bf16, {0x7F80})));
  CHECK(is_finite(half));
}

TEST_CASE("of labels each that is another counts as a whole one") {
  CHECK(error_of(of<std::int64_t>(dtype::int64, {1, 2, 3, 4}), of<std::int64_t>(dtype::int64, {1, 2, 3, 9})) ==
        doctest::Approx(0.5));
  CHECK(is_finite(of<std::int64_t>(dtype::int64, {1})));
}

TEST_CASE("a number that is not finite or another shape is an error without measure, unless it should not be finite") {
  const auto nan = std::nanf("");
  CHECK(std::isinf(error_of(of<float>(dtype::fp32, {1, 2}), of<float>(dtype::fp32, {1, nan}))));
  CHECK(std::isinf(error_of(of<float>(dtype::fp32, {1, 2}), of<float>(dtype::fp32, {1}))));
  CHECK(std::isinf(error_of(of<float>(dtype::fp32, {1}), of<double>(dtype::fp64, {1}))));
  CHECK(error_of(of<float>(dtype::fp32, {1, nan}), of<float>(dtype::fp32, {1, nan})) == 0);
  CHECK(largest_error({}) == 0);
  CHECK(std::isinf(error_of(of<double>(dtype::fp64, {1e200, 1e200}), of<double>(dtype::fp64, {1, 1}))));
}
