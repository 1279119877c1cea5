#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "precision/laboratory.hpp"
#include "precision/seeded_inputs.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using namespace shoal::precision;

std::vector<std::int64_t> integers(const tensor& from) {
  std::vector<std::int64_t> read(from.data.size() / sizeof(std::int64_t));
  std::memcpy(read.data(), from.data.data(), from.data.size());
  return read;
}

}  // namespace

TEST_CASE("seeded ids are rows of the table they are looked up in, a mask hides nothing, and a seed repeats itself") {
  const auto model = laboratory::open(test::fixture_archive("models/minilm"));
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message));
  const auto& spec = (*model)->spec();
  const auto inputs = seeded_inputs((*model)->exported(), spec, {3, 20}, 7);
  REQUIRE(inputs.size() == spec.inputs.size());
  for (const auto& input : inputs) {
    CAPTURE(input.name);
    CHECK(input.dims == shape{3, 20});
    const auto values = integers(input);
    if (input.name.find("mask") != std::string::npos) {
      CHECK(std::all_of(values.begin(), values.end(), [](auto value) { return value == 1; }));
    } else {
      CHECK(*std::min_element(values.begin(), values.end()) >= 0);
      CHECK(*std::max_element(values.begin(), values.end()) < 30522);
      CHECK(*std::max_element(values.begin(), values.end()) > 1000);
    }
  }
  const auto again = seeded_inputs((*model)->exported(), spec, {3, 20}, 7);
  const auto other = seeded_inputs((*model)->exported(), spec, {3, 20}, 8);
  CHECK(integers(inputs[0]) == integers(again[0]));
  CHECK(integers(inputs[0]) != integers(other[0]));
}

TEST_CASE("sizes stay within the archive's ranges, and those that come to the same shapes are one") {
  protocol::model_spec spec;
  spec.inputs = {{"x", dtype::fp32, {{1, 4, "b"}, {20, 40, "t"}}, 0}};
  spec.batch_symbol = "b";
  CHECK(typical_sizes(spec).size() == 2);
  CHECK(shapes_of(spec, {1, 16}) == std::vector<shape>{{1, 20}});
  CHECK(shapes_of(spec, {8, 64}) == std::vector<shape>{{4, 40}});
  spec.batch_symbol.clear();
  CHECK(shapes_of(spec, {8, 64}) == std::vector<shape>{{4, 40}});
  spec.inputs = {{"x", dtype::fp32, {protocol::dimension::fixed(3)}, 0}};
  CHECK(typical_sizes(spec).size() == 1);
}
