#include "gateway/http_door/json_tensors.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

using namespace shoal;
using gateway::http_door::append_elements;
using gateway::http_door::elements_of;

namespace {

template <class T>
std::vector<T> values_of(const buffer& data) {
  std::vector<T> values(data.size() / sizeof(T));
  if (!data.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

template <class T>
std::vector<T> read(std::string_view text, dtype type, const shape& dims) {
  auto data = elements_of(text, type, dims, "d");
  REQUIRE_MESSAGE(data, data.error().message);
  return values_of<T>(*data);
}

std::string error_of(std::string_view text, dtype type, const shape& dims) {
  auto data = elements_of(text, type, dims, "inputs[0].data");
  REQUIRE_FALSE(data);
  CHECK(data.error().code == errc::invalid_argument);
  CHECK(data.error().message.starts_with("inputs[0].data: "));
  return data.error().message.substr(16);
}

template <class T>
std::string written(dtype type, const std::vector<T>& values) {
  std::string text;
  append_elements(text, type, std::as_bytes(std::span(values)));
  return text;
}

}  // namespace

TEST_CASE("arrays are taken flat or nested as the shape says") {
  const std::vector<int> six{1, 2, 3, 4, 5, 6};
  CHECK(read<int>("[1,2,3,4,5,6]", dtype::int32, {2, 3}) == six);
  CHECK(read<int>("[ [1, 2,\n3] ,\t[4,5,6 ]\r]", dtype::int32, {2, 3}) == six);
  CHECK(read<int>("[[1,2,3],[4,5,6]]", dtype::int32, {2, 3}) == six);
  CHECK(read<int>("[[[1],[2],[3]],[[4],[5],[6]]]", dtype::int32, {2, 3, 1}) == six);
  CHECK(read<int>("[7]", dtype::int32, {}) == std::vector{7});
  CHECK(read<int>("[]", dtype::int32, {0}).empty());
  CHECK(read<int>("[[],[]]", dtype::int32, {2, 0}).empty());
}

TEST_CASE("arrays of another shape are refused") {
  CHECK(error_of("[1,2,3]", dtype::int32, {4}) == "the shape [4] needs exactly 4 elements");
  CHECK(error_of("[1,2,3,4,5]", dtype::int32, {4}) == "the shape [4] needs exactly 4 elements");
  CHECK(error_of("[1]", dtype::int32, {0}) == "the shape [0] needs exactly 0 elements");
  CHECK(error_of("[[1,2],[3]]", dtype::int32, {2, 2}).find("nested arrays") != std::string::npos);
  CHECK(error_of("[[1,2],[3,4],[5,6]]", dtype::int32, {2, 2}).find("exactly 4") != std::string::npos);
  CHECK(error_of("[[1,2,3],[4,5,6]]", dtype::int32, {3, 2}).find("nested arrays") != std::string::npos);
  CHECK(error_of("[[1],2]", dtype::int32, {2, 1}).find("exactly 2") != std::string::npos);
  CHECK(error_of("[1,[2]]", dtype::int32, {2, 1}).find("nesting") != std::string::npos);
  CHECK(error_of("[[[1]]]", dtype::int32, {1, 1}).find("nesting") != std::string::npos);
  CHECK(error_of("7", dtype::int32, {1}) == "must be an array");
  CHECK(error_of("{}", dtype::int32, {1}) == "must be an array");
}

TEST_CASE("a shape that the text cannot fill is refused before anything is allocated") {
  CHECK(error_of("[1]", dtype::fp64, {std::int64_t{1} << 61}).find("needs exactly") != std::string::npos);
  CHECK(error_of("[1]", dtype::fp64, {std::int64_t{1} << 40, std::int64_t{1} << 40}).find("more elements") !=
        std::string::npos);
  CHECK(error_of("[1]", dtype::fp64, {-1}).find("negative") != std::string::npos);
}

TEST_CASE("integers are exact, and what does not fit is refused") {
  CHECK(read<std::uint64_t>("[18446744073709551615,0]", dtype::uint64, {2}) ==
        std::vector<std::uint64_t>{std::numeric_limits<std::uint64_t>::max(), 0});
  CHECK(read<std::int64_t>("[-9223372036854775808,9007199254740993]", dtype::int64, {2}) ==
        std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(), 9007199254740993});
  CHECK(read<std::int8_t>("[-128,127]", dtype::int8, {2}) == std::vector<std::int8_t>{-128, 127});
  CHECK(error_of("[1,128]", dtype::int8, {2}) == "element 1 is 128, which is no value of INT8");
  CHECK(error_of("[-1]", dtype::uint8, {1}) == "element 0 is -1, which is no value of UINT8");
  CHECK(error_of("[65536]", dtype::uint16, {1}).ends_with("UINT16"));
  CHECK(error_of("[4294967296]", dtype::uint32, {1}).ends_with("UINT32"));
  CHECK(error_of("[32768]", dtype::int16, {1}).ends_with("INT16"));
  CHECK(error_of("[18446744073709551616]", dtype::uint64, {1}).ends_with("UINT64"));
  for (auto bad : {"[1.0]", "[1e2]", "[true]", "[null]", "[\"1\"]", "[{}]", "[NaN]"}) {
    CAPTURE(bad);
    CHECK(error_of(bad, dtype::int32, {1}).ends_with("which is no value of INT32"));
  }
}

TEST_CASE("floats are read to the nearest value") {
  CHECK(read<float>("[0.1,-3,1e2]", dtype::fp32, {3}) == std::vector<float>{0.1F, -3, 100});
  // Reading this as a double first and rounding again would give another float.
  CHECK(read<float>("[1.00000017881393432617187499]", dtype::fp32, {1}).front() == 1.00000011920928955078125F);
  CHECK(read<float>("[1e-60,-1e-400]", dtype::fp32, {2}) == std::vector<float>{0, -0.0F});
  CHECK(read<double>("[5e-324]", dtype::fp64, {1}).front() == 5e-324);
  auto special = read<float>("[NaN,Infinity,-Infinity]", dtype::fp32, {3});
  CHECK(std::isnan(special[0]));
  CHECK((std::isinf(special[1]) && special[1] > 0));
  CHECK((std::isinf(special[2]) && special[2] < 0));
  CHECK(error_of("[1e39]", dtype::fp32, {1}) == "element 0 is 1e39, which is no value of FP32");
  CHECK(error_of("[1e400]", dtype::fp64, {1}).ends_with("FP64"));
  CHECK(error_of("[null]", dtype::fp32, {1}).ends_with("FP32"));
}

TEST_CASE("booleans are true and false") {
  CHECK(read<std::uint8_t>("[true,false]", dtype::boolean, {2}) == std::vector<std::uint8_t>{1, 0});
  CHECK(error_of("[1]", dtype::boolean, {1}) == "element 0 is 1, which is no value of BOOL");
  CHECK(written<std::uint8_t>(dtype::boolean, {1, 0, 7}) == "[true,false,true]");
}

TEST_CASE("types that JSON cannot carry say why") {
  CHECK(error_of("[1]", dtype::fp16, {1}) == "FP16 travels as binary data only, not as JSON");
  CHECK(error_of("[1]", dtype::bf16, {1}) == "BF16 travels as binary data only, not as JSON");
  CHECK(error_of("[\"a\"]", dtype::bytes, {1}).starts_with("BYTES is taken by no model here"));
}

TEST_CASE("elements are written in as few digits as read back the same") {
  CHECK(written<float>(dtype::fp32, {0.1F, 1, -2.5F, 1e20F}) == "[0.1,1,-2.5,1e+20]");
  CHECK(written<double>(dtype::fp64, {0.1, NAN, INFINITY, -INFINITY}) == "[0.1,NaN,Infinity,-Infinity]");
  CHECK(written<std::int8_t>(dtype::int8, {-128, 5}) == "[-128,5]");
  CHECK(written<std::uint64_t>(dtype::uint64, {std::numeric_limits<std::uint64_t>::max()}) == "[18446744073709551615]");
  CHECK(written<float>(dtype::fp32, {}) == "[]");
}

TEST_CASE("every float survives the way through JSON") {
  std::mt19937 random(3);
  std::vector<float> values;
  while (values.size() < 20'000) {
    auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(value)) values.push_back(value);
  }
  auto text = written(dtype::fp32, values);
  CHECK((read<float>(text, dtype::fp32, {static_cast<std::int64_t>(values.size())}) == values));
}
