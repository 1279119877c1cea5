#include <doctest/doctest.h>

#include <cstring>

#include "executor/signature.hpp"
#include "executor/size_expression.hpp"

using namespace shoal;
using namespace shoal::executor;

namespace {

size_expression fixed(std::int64_t size) {
  size_expression result;
  result.offset = size;
  return result;
}

size_expression symbol(const std::string& name, std::int64_t scale = 1, std::int64_t offset = 0) {
  size_expression result;
  result.symbol = name;
  result.scale = scale;
  result.offset = offset;
  return result;
}

void add(graph& to, std::vector<named_value>& list, const std::string& name, std::vector<size_expression> sizes,
         std::int64_t type = 7) {
  const auto id = static_cast<value_id>(to.values.size());
  to.values.push_back({name, value_kind::tensor, tensor_meta{{type}, std::move(sizes)}});
  list.push_back({id, name});
}

/// x: fp32 [b, n], mask: int64 [b, n] -> y: fp32 [b, 3]; b in 1..8, n in 2..16.
graph two_inputs() {
  graph made;
  made.symbols = {{"b", {1, 8}}, {"n", {2, 16}}};
  add(made, made.inputs, "x", {symbol("b"), symbol("n")});
  add(made, made.inputs, "mask", {symbol("b"), symbol("n")}, 5);
  add(made, made.outputs, "y", {symbol("b"), fixed(3)});
  return made;
}

tensor filled(dtype type, shape dims) {
  const auto bytes = byte_size(type, dims).value();
  return {"", type, std::move(dims), buffer::make(bytes, [&](std::byte* to) { std::memset(to, 0, bytes); })};
}

std::string batch_of(const graph& from) { return signature::read(from).value().spec().batch_symbol; }

}  // namespace

TEST_CASE("the description names inputs and outputs, their types and ranges") {
  const auto read = signature::read(two_inputs());
  REQUIRE(read.has_value());
  const auto& spec = read->spec();
  CHECK(spec.inputs[0] == protocol::tensor_spec{"x", dtype::fp32, {{1, 8, "b"}, {2, 16, "n"}}, 0});
  CHECK(spec.inputs[1].type == dtype::int64);
  CHECK(spec.outputs[0].dims[1] == protocol::dimension::fixed(3));
  CHECK(spec.batch_symbol == "b");
}

TEST_CASE("requests join only along a symbol that leads every input and output and is nowhere else") {
  auto made = two_inputs();
  add(made, made.outputs, "total", {});
  CHECK(batch_of(made) == "");
  made = two_inputs();
  add(made, made.outputs, "pairs", {symbol("b"), symbol("b")});
  CHECK(batch_of(made) == "");
  made = two_inputs();
  add(made, made.outputs, "doubled", {symbol("b", 2)});
  CHECK(batch_of(made) == "");
  made = two_inputs();
  add(made, made.outputs, "opaque", {symbol("b"), parse_size("FloorDiv(Symbol('b'), Integer(2))")});
  CHECK(batch_of(made) == "");
  made = two_inputs();
  add(made, made.outputs, "other", {symbol("b"), parse_size("FloorDiv(Symbol('n'), Integer(2))")});
  CHECK(batch_of(made) == "b");
  made = two_inputs();
  add(made, made.inputs, "table", {symbol("n"), symbol("b")});
  CHECK(batch_of(made) == "");
  made = two_inputs();
  made.symbols["b"] = {4, 4};
  CHECK(batch_of(made) == "");
}

TEST_CASE("a request that fits passes the check") {
  const auto read = signature::read(two_inputs()).value();
  const std::vector<tensor> inputs{filled(dtype::fp32, {8, 2}), filled(dtype::int64, {8, 2})};
  CHECK(read.check(inputs).has_value());
}

TEST_CASE("each way in which a request does not fit has its own sentence with the input's name") {
  const auto read = signature::read(two_inputs()).value();
  const auto refused = [&](tensor x, tensor mask, const char* sentence) {
    const std::vector<tensor> inputs{std::move(x), std::move(mask)};
    const auto checked = read.check(inputs);
    REQUIRE(!checked.has_value());
    CHECK(checked.error().code == errc::invalid_argument);
    CHECK(checked.error().message == sentence);
  };
  const auto mask = filled(dtype::int64, {2, 4});
  refused(filled(dtype::fp64, {2, 4}), mask, "the input x is FP64, the model takes FP32");
  refused(filled(dtype::fp32, {2, 4, 1}), mask, "the input x has 3 dimensions, the model takes 2");
  refused(filled(dtype::fp32, {9, 4}), mask, "the input x has size 9 in dimension 0, the model takes 1 to 8");
  refused(filled(dtype::fp32, {0, 4}), mask, "the input x has size 0 in dimension 0, the model takes 1 to 8");
  refused(filled(dtype::fp32, {2, 5}), mask,
          "the input mask has size 4 in dimension 1, which does not fit the other inputs: dimensions named n must be "
          "equal");
  auto negative = filled(dtype::fp32, {2, 4});
  negative.dims[1] = -4;
  refused(negative, mask, "the input x has size -4 in dimension 1, the model takes 2 to 16");
  auto shorter = filled(dtype::fp32, {2, 4});
  shorter.data = shorter.data.slice(0, 31);
  refused(shorter, mask, "the input x has 31 bytes, its shape [2, 4] needs 32");
  const std::vector<tensor> one{mask};
  CHECK(read.check(one).error().message == "the model takes 2 inputs, 1 were given");
}

TEST_CASE("a size that is a multiple of a symbol is checked in its steps") {
  graph made;
  made.symbols = {{"h", {1, 4}}};
  add(made, made.inputs, "x", {symbol("h", 8)});
  add(made, made.outputs, "y", {symbol("h")});
  const auto read = signature::read(made).value();
  CHECK(read.spec().inputs[0].dims[0] == protocol::dimension{8, 32, ""});
  for (const auto size : {8, 16, 32}) CHECK(read.check(std::vector{filled(dtype::fp32, {size})}).has_value());
  for (const auto size : {0, 12, 40}) CHECK_FALSE(read.check(std::vector{filled(dtype::fp32, {size})}).has_value());
}

TEST_CASE("inputs the mesh cannot carry or check are refused at load") {
  graph made;
  add(made, made.inputs, "wave", {fixed(3)}, 10);
  CHECK(signature::read(made).error().message.find("the input wave has an element type") != std::string::npos);
  made = {};
  add(made, made.inputs, "x", {parse_size("FloorDiv(Symbol('b'), Integer(2))")});
  CHECK(signature::read(made).error().code == errc::unsupported);
  made = {};
  add(made, made.inputs, "x", std::vector(20, fixed(1)));
  CHECK(signature::read(made).error().code == errc::unsupported);
}
