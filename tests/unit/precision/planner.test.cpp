// Plans of real models: what they promise is measured again with the model as a worker would load it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "executor/device_signature.hpp"
#include "precision/laboratory.hpp"
#include "precision/planner.hpp"
#include "precision/seeded_inputs.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using namespace shoal::precision;
using executor::node_precision;
using executor::precision_plan;
using as = executor::precision;

std::unique_ptr<laboratory> open(const std::string& name) {
  auto model = laboratory::open(test::fixture_archive(name));
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message));
  return std::move(*model);
}

/// Root mean square of the difference over that of `wanted`.
double error_of(const tensor& given, const tensor& wanted) {
  REQUIRE(given.dims == wanted.dims);
  double difference = 0;
  double size = 0;
  for (std::size_t at = 0; at < wanted.data.size(); at += sizeof(float)) {
    float x = 0;
    float y = 0;
    std::memcpy(&x, given.data.data() + at, sizeof x);
    std::memcpy(&y, wanted.data.data() + at, sizeof y);
    difference += (static_cast<double>(x) - y) * (static_cast<double>(x) - y);
    size += static_cast<double>(y) * y;
  }
  return std::sqrt(difference / size);
}

std::unique_ptr<executor::model> load(const std::string& name, const precision_plan& plan) {
  auto loaded = executor::model::load(test::fixture_archive(name), {}, nullptr, {}, &plan);
  REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().message));
  return std::move(*loaded);
}

}  // namespace

TEST_CASE("a plan of MiniLM is faster than fp32 and keeps its budget on inputs that it was not made with") {
  executor::set_compute_threads(1);
  planning how;
  how.seconds = 20;
  std::set<std::string> phases;
  how.progress = [&](std::string_view phase, double share) {
    phases.emplace(phase);
    CHECK(share >= 0);
    CHECK(share <= 1);
  };
  const auto found = plan_precision(test::fixture_archive("models/minilm"), how);
  REQUIRE_MESSAGE(found.has_value(), (found ? "" : found.error().message));
  CHECK(phases.contains("done"));
  const auto& plan = found->plan;
  MESSAGE(found->verdict);
  CHECK(plan.policy == "measured");
  CHECK(plan.device == executor::device_signature());
  CHECK(found->nodes.size() == 42);  // six linears and one attention in each of six layers
  CHECK(plan.error <= how.budget);
  if (plan.is_fp32()) return;  // a processor that gains nothing: the verdict says so
  CHECK(plan.speedup > 1);

  const auto model = open("models/minilm");
  const auto inputs = seeded_inputs(model->exported(), model->spec(), {5, 33}, 99);
  const auto wanted = test::load_fixture("models/minilm")->run(inputs);
  const auto given = load("models/minilm", plan)->run(inputs);
  REQUIRE(wanted.has_value());
  REQUIRE(given.has_value());
  for (std::size_t o = 0; o < wanted->size(); ++o) CHECK(error_of((*given)[o], (*wanted)[o]) <= 2 * how.budget);
}

TEST_CASE("without kernels of our own, as on GPUs, a plan is of bf16 and fp16 between casts, and keeps its budget") {
  executor::set_compute_threads(1);
  planning how;
  how.seconds = 6;
  how.own_kernels = false;
  for (const auto* name : {"models/minilm", "zoo/resnet20"}) {
    CAPTURE(name);
    const auto found = plan_precision(test::fixture_archive(name), how);
    REQUIRE_MESSAGE(found.has_value(), (found ? "" : found.error().message));
    MESSAGE(found->verdict);
    auto plan = found->plan;
    CHECK(plan.device == executor::device_signature({}, false));
    CHECK(plan.device.starts_with("cpu/aten/"));
    CHECK(plan.error <= how.budget);
    CHECK(!found->nodes.empty());
    if (plan.is_fp32()) plan.nodes[found->nodes.front().name].as = as::bf16;
    // For our own kernels it is another device's.
    const auto archive = test::fixture_archive(name);
    CHECK(executor::model::load(archive, {}, nullptr, {}, &plan).error().code == errc::incompatible);
    const auto narrow = executor::model::load(archive, executor::pass_options{}.of_aten(), nullptr, {}, &plan);
    REQUIRE_MESSAGE(narrow.has_value(), (narrow ? "" : narrow.error().message));
    const auto exact = test::load_fixture(name);
    const auto model = laboratory::open(archive);
    const auto inputs = seeded_inputs((*model)->exported(), (*model)->spec(), {5, 33}, 99);
    const auto wanted = exact->run(inputs);
    const auto given = (*narrow)->run(inputs);
    REQUIRE(wanted.has_value());
    REQUIRE_MESSAGE(given.has_value(), (given ? "" : given.error().message));
    for (std::size_t o = 0; o < wanted->size(); ++o) {
      CHECK(error_of((*given)[o], (*wanted)[o]) <= 2 * how.budget);
      CHECK(error_of((*given)[o], (*wanted)[o]) > 0);  // something was narrow
    }
  }
}

TEST_CASE("an image's answer in narrow numbers is the same bytes whatever else is in the batch") {
  executor::set_compute_threads(1);
  const auto model = open("zoo/resnet20");
  const auto together = seeded_inputs(model->exported(), model->spec(), {5, 1}, 3);
  REQUIRE(model->use({together}).has_value());
  for (const auto& [which, has_range] : {std::pair{as::bf16, false}, {as::int8, true}, {as::int8, false}}) {
    CAPTURE(name_of(which));
    precision_plan plan;
    plan.model = model->model();
    plan.device = executor::device_signature();
    for (std::size_t n = 0; n < model->nodes().size(); ++n) {
      const auto& node = model->nodes()[n];
      if (!node.takes_range) continue;
      plan.nodes[node.name] = {which, {}, false};
      if (has_range) plan.nodes[node.name].input_range = model->value_ranges()[n];
    }
    CHECK(plan.nodes.size() == 19);
    const auto narrow = load("zoo/resnet20", plan);
    const auto all = narrow->run(together);
    REQUIRE_MESSAGE(all.has_value(), (all ? "" : all.error().message));
    for (const std::size_t row : {0, 2, 4}) {
      auto alone = together;
      const auto bytes = together[0].data.size() / 5;
      alone[0].dims[0] = 1;
      alone[0].data = together[0].data.slice(row * bytes, bytes);
      const auto single = narrow->run(alone);
      REQUIRE(single.has_value());
      const auto size = all->front().data.size() / 5;
      REQUIRE(single->front().data.size() == size);
      CHECK(std::memcmp(single->front().data.data(), all->front().data.data() + row * size, size) == 0);
    }
  }
}

TEST_CASE("an answer in narrow numbers is the same bytes whatever else is in the batch") {
  const auto model = open("models/minilm");
  for (const auto which : {as::bf16, as::int8, as::int8_weight}) {
    CAPTURE(name_of(which));
    precision_plan plan;
    plan.model = model->model();
    plan.device = executor::device_signature();
    for (const auto& node : model->nodes())
      if (node.can(which)) plan.nodes[node.name] = {which, {}, false};
    const auto narrow = load("models/minilm", plan);
    const auto together = seeded_inputs(model->exported(), model->spec(), {7, 24}, 3);
    const auto all = narrow->run(together);
    REQUIRE_MESSAGE(all.has_value(), (all ? "" : all.error().message));
    for (const std::int64_t row : {0, 3, 6}) {
      std::vector<tensor> alone;
      for (const auto& input : together) {
        auto one = input;
        one.dims[0] = 1;
        const auto bytes = input.data.size() / 7;
        one.data = input.data.slice(static_cast<std::size_t>(row) * bytes, bytes);
        alone.push_back(std::move(one));
      }
      const auto single = narrow->run(alone);
      REQUIRE(single.has_value());
      for (std::size_t o = 0; o < all->size(); ++o) {
        const auto bytes = (*all)[o].data.size() / 7;
        REQUIRE((*single)[o].data.size() == bytes);
        CHECK(std::memcmp((*single)[o].data.data(), (*all)[o].data.data() + static_cast<std::size_t>(row) * bytes,
                          bytes) == 0);
      }
    }
  }
}

TEST_CASE("each precision alone errs as much as its numbers are narrow") {
  executor::set_compute_threads(1);
  const auto model = open("models/minilm");
  REQUIRE(model->use({seeded_inputs(model->exported(), model->spec(), {4, 24}, 1)}).has_value());
  const auto all = [&](as which, bool clip) {
    node_choices choices;
    for (const auto& node : model->nodes())
      if (node.can(which)) choices[node.name] = {which, {}, clip};
    const auto error = model->error(choices, 1);
    REQUIRE_MESSAGE(error.has_value(), (error ? "" : error.error().message));
    return *error;
  };
  CHECK(all(as::fp32, false) == 0);
  const auto bf16 = all(as::bf16, false);
  const auto weights = all(as::int8_weight, false);
  const auto int8 = all(as::int8, false);
  MESSAGE("bf16 " << bf16 << ", int8 weights " << weights << ", int8 " << int8);
  CHECK(bf16 > 1e-5);
  CHECK(bf16 < 0.03);
  CHECK(weights > 1e-5);
  CHECK(weights < 0.1);
  CHECK(int8 > weights / 2);
  CHECK(int8 < 0.2);
}

TEST_CASE("calibration with other shapes, not finite numbers or nothing is refused or replaced, in a sentence") {
  executor::set_compute_threads(1);
  planning how;
  how.seconds = 5;
  SUBCASE("a shape that the model does not take") {
    const auto model = open("models/minilm");
    how.samples = {seeded_inputs(model->exported(), model->spec(), {2, 8}, 1)};
    how.samples[0][0].dims = {2, 7};
    const auto found = plan_precision(test::fixture_archive("models/minilm"), how);
    REQUIRE(!found.has_value());
    CHECK(found.error().code == errc::invalid_argument);
  }
  SUBCASE("numbers that are not finite") {
    const auto model = open("zoo/resnet20");
    auto inputs = seeded_inputs(model->exported(), model->spec(), {1, 1}, 1);
    inputs[0].data = buffer::make(inputs[0].data.size(), [&](std::byte* to) {
      const auto nan = std::numeric_limits<float>::quiet_NaN();
      for (std::size_t at = 0; at < inputs[0].data.size(); at += sizeof nan) std::memcpy(to + at, &nan, sizeof nan);
    });
    how.samples = {inputs};
    const auto found = plan_precision(test::fixture_archive("zoo/resnet20"), how);
    REQUIRE(!found.has_value());
    CHECK(found.error().code == errc::invalid_argument);
    CHECK(found.error().message.find("not finite") != std::string::npos);
  }
  SUBCASE("a budget that is none") {
    how.budget = 0;
    CHECK(!plan_precision(test::fixture_archive("models/minilm"), how).has_value());
    how.budget = std::nan("");
    CHECK(!plan_precision(test::fixture_archive("models/minilm"), how).has_value());
  }
  SUBCASE("a model without a node to choose for is fp32, which is said") {
    const auto found = plan_precision(test::fixture_archive("models/identity"), how);
    REQUIRE_MESSAGE(found.has_value(), (found ? "" : found.error().message));
    CHECK(found->plan.is_fp32());
    CHECK(found->verdict.starts_with("fp32"));
  }
}

TEST_CASE("a plan for another model, another device or unknown nodes is refused with what to do") {
  const auto model = open("models/minilm");
  precision_plan plan;
  plan.model = model->model();
  plan.device = executor::device_signature();
  plan.nodes[model->nodes()[0].name] = {as::int8, {}, false};
  const auto reason = [&] {
    const auto loaded = executor::model::load(test::fixture_archive("models/minilm"), {}, nullptr, {}, &plan);
    REQUIRE(!loaded.has_value());
    return loaded.error().message;
  };
  SUBCASE("another model") {
    plan.model[0] = plan.model[0] == '0' ? '1' : '0';
    CHECK(reason().find("another model") != std::string::npos);
  }
  SUBCASE("another device") {
    plan.device = "cpu/avx1024/none";
    CHECK(reason().find("cpu/avx1024/none") != std::string::npos);
  }
  SUBCASE("an unknown node") {
    plan.nodes["linear_of_mine"] = {as::int8, {}, false};
    CHECK(reason().find("linear_of_mine") != std::string::npos);
  }
  SUBCASE("smoothing of too few channels") {
    plan.nodes[model->nodes()[0].name].smoothing = {1, 2, 3};
    CHECK(reason().find("3 channels") != std::string::npos);
  }
}
