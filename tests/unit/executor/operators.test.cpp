#include <doctest/doctest.h>

#include "executor/operators.hpp"

using namespace shoal;
using namespace shoal::executor;

namespace {

expected<void> check(const std::string& target, std::vector<named_argument> inputs = {}) {
  return check_allowed(node{"some_node", target, std::move(inputs), {}});
}

}  // namespace

TEST_CASE("a target is split into name and overload as the dispatcher has them") {
  const auto linear = parse_operator("torch.ops.aten.linear.default");
  REQUIRE(linear.has_value());
  CHECK((linear->name == "aten::linear" && linear->overload.empty()));
  const auto add = parse_operator("torch.ops.aten.add.Tensor");
  CHECK((add->name == "aten::add" && add->overload == "Tensor"));
  const auto ours = parse_operator("torch.ops.shoal.linear.default");
  CHECK((ours->name == "shoal::linear" && ours->overload.empty()));
  for (const auto* other : {"_operator.add", "torch.ops.aten.add", "", "torch.ops.aten."})
    CHECK_FALSE(parse_operator(other).has_value());
  CHECK(check("torch.ops.shoal.linear.default").error().code == errc::unsupported);  // only passes may write it
}

TEST_CASE("operators of transformers, convolutional and recurrent networks are allowed") {
  for (const auto* name : {"linear", "layer_norm", "embedding", "gelu", "softmax", "conv2d", "relu_", "cat", "index",
                           "arange", "full", "argmax", "topk", "where", "scatter", "einsum", "__and__"})
    CHECK(check("torch.ops.aten." + std::string(name) + ".default").has_value());
}

TEST_CASE("what reads files, touches storage, draws numbers or sizes results by values is refused by name") {
  for (const auto* target : {"torch.ops.aten.from_file.default",
                             "torch.ops.aten.set_.source_Storage",
                             "torch.ops.aten.resize_.default",
                             "torch.ops.aten.as_strided.default",
                             "torch.ops.aten.empty.memory_format",
                             "torch.ops.aten.rand.default",
                             "torch.ops.aten.bernoulli.default",
                             "torch.ops.aten.item.default",
                             "torch.ops.aten._local_scalar_dense.default",
                             "torch.ops.aten.bincount.default",
                             "torch.ops.aten.repeat_interleave.Tensor",
                             "torch.ops.aten.native_batch_norm.default",
                             "torch.ops.quantized.linear.default",
                             "torch.ops.shoal.attention.default",
                             "torch.ops.shoal.packed_linear.default",
                             "torch.ops.mkldnn._convolution_pointwise.default",
                             "torch.ops.aten..default",
                             "torch.ops.aten.add",
                             "torch.ops.higher_order.cond",
                             "os.system",
                             ""}) {
    CAPTURE(target);
    const auto allowed = check(target);
    REQUIRE(!allowed.has_value());
    CHECK(allowed.error().code == errc::unsupported);
    CHECK(allowed.error().message.find("some_node") != std::string::npos);
    CHECK(allowed.error().message.find(target) != std::string::npos);
  }
}

TEST_CASE("operators are refused with arguments that would train") {
  const std::string dropout = "torch.ops.aten.dropout.default";
  CHECK(check(dropout, {{"train", false}}).has_value());
  CHECK_FALSE(check(dropout, {{"train", true}}).has_value());
  CHECK_FALSE(check(dropout, {{"train", reference{0}}}).has_value());
  CHECK_FALSE(check(dropout).has_value());
  const std::string attention = "torch.ops.aten.scaled_dot_product_attention.default";
  CHECK(check(attention).has_value());
  CHECK(check(attention, {{"dropout_p", 0.0}}).has_value());
  CHECK_FALSE(check(attention, {{"dropout_p", 0.1}}).has_value());
  CHECK(check("torch.ops.aten.batch_norm.default", {{"training", true}}).error().message.find("eval()") !=
        std::string::npos);
  CHECK_FALSE(check("torch.ops.aten.one_hot.default", {{"num_classes", std::int64_t{-1}}}).has_value());
  CHECK(check("torch.ops.aten.one_hot.default", {{"num_classes", std::int64_t{5}}}).has_value());
}

TEST_CASE("in-place operators are known by their name") {
  CHECK(writes_in_place("torch.ops.aten.add_.Tensor"));
  CHECK(writes_in_place("torch.ops.aten.index_put_.default"));
  CHECK_FALSE(writes_in_place("torch.ops.aten.add.Tensor"));
  CHECK_FALSE(writes_in_place("torch.ops.aten.__and__.Tensor"));
  CHECK_FALSE(writes_in_place("_operator.and_"));
}
