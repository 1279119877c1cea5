#include "core/tensor.hpp"

#include <limits>

#include <doctest/doctest.h>

using namespace shoal;

namespace {
constexpr auto huge = std::numeric_limits<std::int64_t>::max();
}

TEST_CASE("a scalar has one element, a shape with a zero has none") {
  CHECK(element_count({}) == 1u);
  CHECK(element_count({2, 3, 4}) == 24u);
  CHECK(element_count({2, 0, 4}) == 0u);
  CHECK(byte_size(dtype::fp32, {2, 3}) == 24u);
  CHECK(byte_size(dtype::boolean, {}) == 1u);
}

TEST_CASE("a zero does not hide sizes that would overflow without it") {
  CHECK(element_count({huge, huge, 0}) == 0u);
  CHECK(byte_size(dtype::fp64, {0, huge}) == 0u);
}

TEST_CASE("a negative size is refused and shown, also beside a zero") {
  const auto count = element_count({2, -1});
  REQUIRE_FALSE(count);
  CHECK(count.error().code == errc::invalid_argument);
  CHECK(count.error().message.find("[2, -1]") != std::string::npos);
  CHECK_FALSE(element_count({0, -1}));
  CHECK_FALSE(element_count({std::numeric_limits<std::int64_t>::min()}));
}

TEST_CASE("a rank above the limit is refused") {
  CHECK(element_count(shape(max_rank, 1)) == 1u);
  const auto count = element_count(shape(max_rank + 1, 1));
  REQUIRE_FALSE(count);
  CHECK(count.error().message.find(std::to_string(max_rank)) != std::string::npos);
}

TEST_CASE("a product that overflows is refused, of elements and of bytes") {
  CHECK_FALSE(element_count({huge, 2}));
  CHECK_FALSE(element_count({std::int64_t{1} << 32, std::int64_t{1} << 32}));  // 2^64 wraps to 0
  const shape many{std::int64_t{1} << 61};
  CHECK(element_count(many) == std::uint64_t{1} << 61);
  CHECK(byte_size(dtype::uint8, many) == std::uint64_t{1} << 61);
  const auto bytes = byte_size(dtype::fp64, many);  // 2^64 bytes
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == errc::invalid_argument);
}

TEST_CASE("tensors of strings have no size") {
  const auto bytes = byte_size(dtype::bytes, {1});
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == errc::unsupported);
}

TEST_CASE("every dtype is found by its name and by its number") {
  for (unsigned value = 0; value < dtype_table.size(); ++value) {
    const auto type = dtype_of(value);
    REQUIRE(type);
    CHECK(static_cast<unsigned>(*type) == value);
    CHECK(parse_dtype(name_of(*type)) == type);
  }
  CHECK(name_of(dtype::bf16) == "BF16");
  CHECK(size_of(dtype::bf16) == 2);
  CHECK(name_of(dtype::bytes) == "BYTES");
  CHECK_FALSE(dtype_of(14));
  CHECK_FALSE(parse_dtype("fp32"));
  CHECK_FALSE(parse_dtype("FP128"));
}

TEST_CASE("every error code has its name, and only a full or absent service is worth a retry") {
  CHECK(name_of(errc::permission_denied) == "permission_denied");
  CHECK(name_of(static_cast<errc>(4711)) == "unknown");
  CHECK(error(errc::overloaded, "").retryable);
  CHECK(error(errc::unavailable, "").retryable);
  CHECK_FALSE(error(errc::deadline_exceeded, "").retryable);
  CHECK_FALSE(error(errc::poisoned, "").retryable);
}
