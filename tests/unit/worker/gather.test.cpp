#include "worker/gather.hpp"

#include <limits>

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using worker::gather;
using worker::scatter;

namespace {

using members = std::vector<const std::vector<tensor>*>;

template <class T>
std::vector<T> values(const tensor& from) {
  std::vector<T> all(from.data.size() / sizeof(T));
  if (!all.empty()) std::memcpy(all.data(), from.data.data(), from.data.size());
  return all;
}

template <class T>
tensor of(const char* name, dtype type, shape dims, const std::vector<T>& content) {
  REQUIRE(byte_size(type, dims) == content.size() * sizeof(T));
  return {name, type, std::move(dims), buffer::copy(std::as_bytes(std::span(content)))};
}

model_spec padded_model(dtype type, double pad_value) {
  auto spec = matrix_model();
  spec.inputs.at(0).type = type;
  spec.inputs.at(0).pad_value = pad_value;
  spec.pad_symbol = "width";
  return spec;
}

/// What stands in the padding when a row of one element joins a row of two.
template <class T>
T pad_of(dtype type, double pad_value) {
  const std::vector<tensor> brief{of<T>("x", type, {1, 1}, {T{5}})};
  const std::vector<tensor> longer{of<T>("x", type, {1, 2}, {T{6}, T{7}})};
  const auto joined = gather(padded_model(type, pad_value), {&brief, &longer});
  REQUIRE(joined.size() == 1);
  REQUIRE(joined[0].dims == shape{2, 2});
  const auto content = values<T>(joined[0]);
  CHECK(content[0] == T{5});
  CHECK(content[2] == T{6});
  CHECK(content[3] == T{7});
  return content[1];
}

}  // namespace

TEST_CASE("a single member is passed on without a copy, and its outputs likewise") {
  const std::vector<tensor> only{matrix(3, 4)};
  const auto joined = gather(matrix_model(), {&only});
  CHECK(joined.at(0).data.data() == only[0].data.data());
  std::vector<tensor> outputs{matrix(3, 4, "y")};
  const auto* bytes = outputs[0].data.data();
  const auto parts = scatter(matrix_model(), {&only}, std::move(outputs));
  REQUIRE(parts);
  CHECK(parts->at(0).at(0).data.data() == bytes);
}

TEST_CASE("members of equal shape are laid one after another and parted again as views") {
  const std::vector<tensor> a{matrix(1, 2, "x", 10)};
  const std::vector<tensor> b{matrix(2, 2, "x", 20)};
  const std::vector<tensor> c{matrix(1, 2, "x", 30)};
  const members all{&a, &b, &c};
  auto joined = gather(matrix_model(), all);
  REQUIRE(joined.size() == 1);
  CHECK(joined[0].name == "x");
  CHECK(joined[0].dims == shape{4, 2});
  CHECK(values<float>(joined[0]) == std::vector<float>{10, 11, 20, 21, 22, 23, 30, 31});

  joined[0].name = "y";
  const auto* bytes = joined[0].data.data();
  const auto parts = scatter(matrix_model(), all, joined);
  REQUIRE(parts);
  REQUIRE(parts->size() == 3);
  CHECK(parts->at(1).at(0).dims == shape{2, 2});
  CHECK(parts->at(1).at(0).name == "y");
  CHECK(values<float>(parts->at(1).at(0)) == std::vector<float>{20, 21, 22, 23});
  CHECK(parts->at(1).at(0).data.data() == bytes + 8);
  CHECK(values<float>(parts->at(2).at(0)) == std::vector<float>{30, 31});
}

TEST_CASE("a member without rows gets outputs without rows") {
  const std::vector<tensor> none{matrix(0, 2)};
  const std::vector<tensor> one{matrix(1, 2, "x", 5)};
  const members all{&none, &one};
  auto joined = gather(matrix_model(), all);
  CHECK(joined[0].dims == shape{1, 2});
  const auto parts = scatter(matrix_model(), all, joined);
  REQUIRE(parts);
  CHECK(parts->at(0).at(0).dims == shape{0, 2});
  CHECK(parts->at(0).at(0).data.empty());
  CHECK(values<float>(parts->at(1).at(0)) == std::vector<float>{5, 6});
}

TEST_CASE("shorter members are padded in any dimension, and the padding of their outputs is cut off") {
  auto spec = padded_model(dtype::int32, -1);
  spec.inputs[0].dims = {{1, 8, "batch"}, dimension::fixed(2), {1, 9, "width"}, dimension::fixed(2)};
  spec.outputs = {{"y", dtype::int32, spec.inputs[0].dims, 0}, {"pooled", dtype::int32, {{1, 8, "batch"}}, 0}};
  const std::vector<tensor> brief{of<std::int32_t>("x", dtype::int32, {1, 2, 1, 2}, {1, 2, 3, 4})};
  const std::vector<tensor> longer{of<std::int32_t>("x", dtype::int32, {1, 2, 2, 2}, {5, 6, 7, 8, 9, 10, 11, 12})};
  const members all{&brief, &longer};
  const auto joined = gather(spec, all);
  REQUIRE(joined.size() == 1);
  CHECK(joined[0].dims == shape{2, 2, 2, 2});
  const std::vector<std::int32_t> content{1, 2, -1, -1, 3, 4, -1, -1, 5, 6, 7, 8, 9, 10, 11, 12};
  CHECK(values<std::int32_t>(joined[0]) == content);

  const auto parts = scatter(
      spec, all,
      {of("y", dtype::int32, {2, 2, 2, 2}, content), of<std::int32_t>("pooled", dtype::int32, {2}, {100, 200})});
  REQUIRE(parts);
  REQUIRE(parts->at(0).size() == 2);
  CHECK(parts->at(0)[0].dims == shape{1, 2, 1, 2});
  CHECK(values<std::int32_t>(parts->at(0)[0]) == std::vector<std::int32_t>{1, 2, 3, 4});
  CHECK(values<std::int32_t>(parts->at(0)[1]) == std::vector<std::int32_t>{100});
  CHECK(parts->at(1)[0].dims == shape{1, 2, 2, 2});
  CHECK(values<std::int32_t>(parts->at(1)[0]) == std::vector<std::int32_t>{5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(values<std::int32_t>(parts->at(1)[1]) == std::vector<std::int32_t>{200});
}

TEST_CASE("inputs without the pad symbol are only laid together") {
  auto spec = padded_model(dtype::fp32, 0);
  spec.inputs.push_back({"bias", dtype::int64, {{1, 8, "batch"}, dimension::fixed(1)}, 99});
  const std::vector<tensor> a{matrix(1, 1), of<std::int64_t>("bias", dtype::int64, {1, 1}, {7})};
  const std::vector<tensor> b{matrix(1, 3), of<std::int64_t>("bias", dtype::int64, {1, 1}, {8})};
  const auto joined = gather(spec, {&a, &b});
  CHECK(joined.at(0).dims == shape{2, 3});
  CHECK(values<std::int64_t>(joined.at(1)) == std::vector<std::int64_t>{7, 8});
}

TEST_CASE("every dtype is padded with the declared value in its own representation") {
  CHECK(pad_of<std::uint8_t>(dtype::boolean, 1) == 1);
  CHECK(pad_of<std::uint8_t>(dtype::uint8, 255) == 255);
  CHECK(pad_of<std::uint16_t>(dtype::uint16, 65535) == 65535);
  CHECK(pad_of<std::uint32_t>(dtype::uint32, 4294967295.0) == 4294967295u);
  CHECK(pad_of<std::uint64_t>(dtype::uint64, 1) == 1u);
  CHECK(pad_of<std::int8_t>(dtype::int8, -100) == -100);
  CHECK(pad_of<std::int16_t>(dtype::int16, -1) == -1);
  CHECK(pad_of<std::int32_t>(dtype::int32, -100) == -100);
  CHECK(pad_of<std::int64_t>(dtype::int64, -100) == -100);
  CHECK(pad_of<float>(dtype::fp32, 0.5) == 0.5f);
  CHECK(pad_of<double>(dtype::fp64, -1e300) == -1e300);
  CHECK(pad_of<float>(dtype::fp32, -std::numeric_limits<double>::infinity()) ==
        -std::numeric_limits<float>::infinity());
  CHECK(pad_of<std::uint16_t>(dtype::fp16, 1) == 0x3c00);
  CHECK(pad_of<std::uint16_t>(dtype::fp16, -2) == 0xc000);
  CHECK(pad_of<std::uint16_t>(dtype::bf16, 1) == 0x3f80);
  CHECK(pad_of<std::uint16_t>(dtype::bf16, -1) == 0xbf80);
  CHECK(pad_of<std::uint16_t>(dtype::fp16, 0) == 0);
  CHECK(pad_of<std::int64_t>(dtype::int64, 0) == 0);
}

TEST_CASE("outputs without the rows that went in are an error that names them") {
  const std::vector<tensor> a{matrix(1, 2)};
  const std::vector<tensor> b{matrix(2, 2)};
  for (const auto& wrong : {matrix(2, 2, "y"), matrix(4, 2, "y"), tensor{"y", dtype::fp32, {}, buffer::copy({})}}) {
    const auto parts = scatter(matrix_model(), {&a, &b}, {wrong});
    REQUIRE_FALSE(parts);
    CHECK(parts.error().code == errc::internal);
    CHECK(parts.error().message.find("'y'") != std::string::npos);
    CHECK(parts.error().message.find("3 rows") != std::string::npos);
  }
}
