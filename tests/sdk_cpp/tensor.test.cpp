// Tensors of the SDK: who owns the bytes, what is checked, what a view may show.
#include <doctest/doctest.h>

#include "shoal/tensor.hpp"

namespace {

using namespace shoal::client;

TEST_CASE("each element type has its name and size") {
  CHECK(dtype_of<bool> == dtype::boolean);
  CHECK(dtype_of<std::uint8_t> == dtype::uint8);
  CHECK(dtype_of<std::int16_t> == dtype::int16);
  CHECK(dtype_of<std::uint32_t> == dtype::uint32);
  CHECK(dtype_of<long> == dtype::int64);
  CHECK(dtype_of<long long> == dtype::int64);
  CHECK(dtype_of<unsigned long long> == dtype::uint64);
  CHECK(dtype_of<float16> == dtype::fp16);
  CHECK(dtype_of<bfloat16> == dtype::bf16);
  CHECK(dtype_of<double> == dtype::fp64);
  CHECK(name_of(dtype::bf16) == "BF16");
  CHECK(size_of(dtype::bf16) == 2);
  CHECK(size_of(dtype::bytes) == 0);
  CHECK(name_of(static_cast<dtype>(200)) == "unknown");
  static_assert(!element<char> && !element<long double> && !element<std::byte>);
}

TEST_CASE("a vector is taken over, a span copied, and a borrowed one kept by its owner") {
  std::vector<float> values{1, 2, 3, 4};
  const auto* where = values.data();
  const tensor moved("x", {2, 2}, std::move(values));
  CHECK(moved.view<float>()->data() == where);

  std::array<std::int32_t, 2> numbers{5, 6};
  const auto copied = tensor::copy("n", {2}, std::span<const std::int32_t>(numbers));
  numbers[0] = 0;
  CHECK(copied.values<std::int32_t>() == std::vector<std::int32_t>{5, 6});

  auto owner = std::make_shared<std::vector<double>>(3, 1.5);
  const std::weak_ptr<std::vector<double>> watch = owner;
  auto borrowed = tensor::borrow("d", {3}, std::span<const double>(*owner), owner);
  owner.reset();
  auto another = borrowed;
  borrowed = {};
  CHECK(another.view<double>()->front() == 1.5);
  another = {};
  CHECK(watch.expired());
}

TEST_CASE("bool, scalars, empty tensors and lists of values") {
  const tensor flags("b", {3}, std::vector<bool>{true, false, true});
  CHECK(flags.type() == dtype::boolean);
  const auto view = flags.view<bool>();
  REQUIRE(view);
  CHECK(((*view)[0] && !(*view)[1] && (*view)[2]));
  CHECK(tensor("s", {}, {7.f}).check());
  CHECK(tensor("e", {0, 5}, std::vector<float>{}).check());
  CHECK(tensor("i", {1, 3}, {1L, 2L, 3L}).type() == dtype::int64);
}

TEST_CASE("a tensor whose bytes do not match what it claims is found out") {
  CHECK(tensor("x", {2, 2}, {1.f, 2.f}).check().error().message ==
        "tensor 'x' of shape [2, 2] and type FP32 needs 16 bytes but has 8");
  CHECK(tensor("x", {-1, 2}, {1.f, 2.f}).check().error().code == errc::invalid_argument);
  CHECK(tensor("x", shape(17, 1), {1.f}).check().error().code == errc::invalid_argument);
  CHECK(tensor("x", {std::int64_t{1} << 62, 4}, {1.f}).check().error().code == errc::invalid_argument);
  CHECK(tensor("x", dtype::bytes, {1}, {}, {}).check().error().code == errc::unsupported);
  CHECK_FALSE(tensor("x", {2, 2}, {1.f, 2.f}).values<float>());
}

TEST_CASE("a view has the very type of the tensor and its alignment; values are copied at any") {
  const tensor x("x", {2}, {1.f, 2.f});
  CHECK(x.view<double>().error().message == "tensor 'x' is of type FP32, not FP64");
  CHECK_FALSE(x.view<std::int32_t>());
  std::vector<std::byte> bytes(9);
  const float value = 2.5;
  std::memcpy(bytes.data() + 1, &value, 4);
  const tensor shifted("x", dtype::fp32, {1}, std::span(bytes).subspan(1, 4), nullptr);
  CHECK_FALSE(shifted.view<float>());
  CHECK(shifted.values<float>()->front() == 2.5f);
}

}  // namespace
