// What can be known without a GPU: that one is refused with a sentence, and that the CPU takes the same way as before.
#include "executor/cuda_device.hpp"

#include <doctest/doctest.h>

#include <ATen/ops/ones.h>

#include "executor/instruction.hpp"
#include "executor/stored_weights.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using executor::device;
using executor::model;
using executor::pass_options;

device gpu(int index) { return {device::kind::cuda, index}; }

bool there_is_a_gpu() { return executor::prepare_device(gpu(0)).has_value(); }

}  // namespace

TEST_CASE("a model given the CPU by name gives what eager PyTorch gave") {
  const auto loaded = model::load(test::fixture_archive("graphs/folding"), pass_options::none(), nullptr, device{});
  REQUIRE(loaded.has_value());
  for (const auto& each : test::fixture_cases("graphs/folding")) {
    const auto outputs = (*loaded)->run(each.inputs);
    REQUIRE(outputs.has_value());
    CHECK(test::difference(*outputs, each.outputs) == "");
  }
}

TEST_CASE("a GPU that is not there is refused with a sentence that says so, and the CPU goes on") {
  if (there_is_a_gpu()) {
    MESSAGE("skipped: this machine has a GPU");
    return;
  }
  const auto archive = test::fixture_archive("graphs/tuple");
  for (int round = 0; round < 2; ++round) {
    const auto loaded = model::load(archive, {}, nullptr, gpu(0));
    REQUIRE_FALSE(loaded.has_value());
    CAPTURE(loaded.error().message);
    CHECK(loaded.error().code == errc::unsupported);
    CHECK(loaded.error().message.find("device cpu") != std::string::npos);
  }
  CHECK(model::load(archive).has_value());
}

TEST_CASE("an index beyond every GPU is refused") {
  const auto refused = executor::prepare_device(gpu(device::max_index));
  REQUIRE_FALSE(refused.has_value());
  CHECK((refused.error().code == errc::unsupported || refused.error().code == errc::invalid_argument));
  CHECK(refused.error().message.find("cuda:127") != std::string::npos);
  CHECK(executor::prepare_device(gpu(-1)).error().code == errc::invalid_argument);
  CHECK(executor::prepare_device(device{}).has_value());
}

TEST_CASE("what the archive makes on the CPU is made on the chosen device") {
  using namespace executor;
  const c10::Device chosen(c10::DeviceType::CUDA, 1);
  graph empty;
  const item_list two{{std::int64_t{2}}};
  const auto device_of = [&](const node& made) {
    const auto bound = make_instruction(made, empty, {}, chosen);
    REQUIRE(bound.has_value());
    for (const auto& each : bound->arguments)
      if (each.constant.isDevice()) return each.constant.toDevice();
    return c10::Device(c10::DeviceType::CPU);
  };
  node ones;
  ones.name = "ones";
  ones.target = "torch.ops.aten.ones.default";
  ones.inputs.push_back({"size", two});
  ones.outputs.resize(1);
  CHECK(device_of(ones) == chosen);  // names none: the archive's default is the CPU
  ones.inputs.push_back({"device", archive_device{"cpu"}});
  CHECK(device_of(ones) == chosen);
}

TEST_CASE("weights stay where they are on the CPU") {
  executor::weights held;
  held.tensors = {at::ones({3})};
  const auto* before = held.tensors[0].const_data_ptr();
  executor::move_weights(held, c10::DeviceType::CPU);
  CHECK(held.tensors[0].const_data_ptr() == before);
}
