// A worker's model that computes by a plan: compared with fp32, and given up when it errs.
#include <doctest/doctest.h>

#include <filesystem>

#include <unistd.h>

#include "executor/device_signature.hpp"
#include "precision/laboratory.hpp"
#include "precision/seeded_inputs.hpp"
#include "unit/executor/fixture.hpp"
#include "worker/served_model.hpp"

namespace {

using namespace shoal;
using namespace shoal::precision;
namespace fs = std::filesystem;
using as = executor::precision;

/// A model directory with MiniLM and a plan that has everything in int8 and promises `budget`.
struct planned_model {
  fs::path folder =
      fs::temp_directory_path() / ("shoal-watch-" + std::to_string(::getpid()) + "-" + std::to_string(made++));
  static inline int made = 0;
  std::unique_ptr<laboratory> model;
  executor::precision_plan plan;

  explicit planned_model(double budget) {
    const auto archive = test::fixture_archive("models/minilm");
    model = std::move(*laboratory::open(archive));
    fs::remove_all(folder);
    fs::create_directories(folder);
    fs::create_symlink(fs::absolute(archive), folder / "model.pt2");
    plan.model = model->model();
    plan.device = executor::device_signature();
    plan.budget = budget;
    for (const auto& node : model->nodes())
      if (node.columns > 0) plan.nodes[node.name] = {as::int8, {}, false};
    REQUIRE(write_plan(executor::plan_path(folder / "model.pt2", plan.device), plan).has_value());
  }
  ~planned_model() { fs::remove_all(folder); }

  /// As if every node's input had reached that at calibration.
  void reaches(double range) {
    for (auto& [name, node] : plan.nodes) node.reach = range;
    REQUIRE(write_plan(executor::plan_path(folder / "model.pt2", plan.device), plan).has_value());
  }
  [[nodiscard]] std::unique_ptr<worker::served_model> load(const worker::loading& how = {}) const {
    auto loaded = worker::served_model::load({folder, "minilm", 1}, how);
    REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().message));
    return std::move(*loaded);
  }
  [[nodiscard]] protocol::compute batch(std::uint64_t seed) const {
    protocol::compute made;
    for (std::uint64_t i = 0; i < 3; ++i)
      made.members.push_back({{}, seeded_inputs(model->exported(), model->spec(), {1, 12}, seed + i), {}});
    return made;
  }
};

}  // namespace

TEST_CASE("a plan that keeps its budget is compared with fp32 again and again, and kept") {
  executor::set_compute_threads(1);
  const planned_model of(0.2);
  const auto served = of.load({.shadow_share = 0.5});
  CHECK(served->epoch() == of.plan.epoch());
  std::size_t compared = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto answer = served->run(of.batch(10 * i));
    for (const auto& result : answer.results) CHECK(result.has_value());
    if (const auto seen = served->watch()) {
      ++compared;
      CHECK(!seen->is_breach);
      CHECK(seen->error > 0);
      CHECK(seen->error < 0.2);
    }
  }
  CHECK(compared > 1);
  CHECK(served->epoch() == of.plan.epoch());
}

TEST_CASE("a plan that breaks its promise is given up within 20 comparisons, and answers are fp32's from then on") {
  executor::set_compute_threads(1);
  const planned_model of(0.001);
  const auto served = of.load({.shadow_share = 0.5});
  std::size_t compared = 0;
  bool given_up = false;
  for (std::uint64_t i = 0; i < 2000 && !given_up; ++i) {
    served->run(of.batch(10 * i));
    if (const auto seen = served->watch()) {
      ++compared;
      given_up = seen->is_breach;
    }
  }
  CHECK(given_up);
  CHECK(compared <= 20);
  CHECK(served->epoch() == "fp32");
  const auto exact = of.load({.precision = worker::precision_policy::fp32});
  const auto batch = of.batch(7);
  const auto wanted = exact->run(batch);
  const auto given = served->run(batch);
  for (std::size_t m = 0; m < 3; ++m) CHECK(test::difference(*given.results[m], *wanted.results[m]).empty());
  CHECK(!served->watch());
}

TEST_CASE(
    "an input beyond what it reached at calibration has its batch compared, whatever the share, and names the node") {
  executor::set_compute_threads(1);
  planned_model of(0.2);
  of.reaches(1e-6);
  const auto served = of.load({.shadow_share = 1e-9});
  served->watch();
  std::size_t alarms = 0;
  for (std::uint64_t i = 0; i < 8; ++i) {
    served->run(of.batch(10 * i));
    const auto seen = served->watch();
    if (!seen || seen->node.empty()) continue;
    ++alarms;
    CHECK(of.plan.nodes.contains(seen->node));
    CHECK(!seen->is_breach);
  }
  CHECK(alarms >= 1);
  // What stays within it is not.
  of.reaches(1e6);
  const auto quiet = of.load({.shadow_share = 0.5});
  for (std::uint64_t i = 0; i < 16; ++i) {
    quiet->run(of.batch(10 * i));
    if (const auto seen = quiet->watch()) CHECK(seen->node.empty());
  }
}

TEST_CASE("where answers may be computed again, those beyond the budget leave as fp32's, and say so") {
  executor::set_compute_threads(1);
  planned_model of(0.001);
  of.reaches(1e-6);
  const auto served = of.load({.shadow_share = 1e-9, .recomputes = true});
  const auto exact = of.load({.precision = worker::precision_policy::fp32});
  const auto batch = of.batch(3);
  const auto given = served->run(batch);
  CHECK(given.plan == "fp32");
  const auto wanted = exact->run(batch);
  for (std::size_t m = 0; m < 3; ++m) CHECK(test::difference(*given.results[m], *wanted.results[m]).empty());
  // Within the budget they leave as they are.
  planned_model kept(0.5);
  kept.reaches(1e-6);
  const auto fast = kept.load({.shadow_share = 1e-9, .recomputes = true});
  CHECK(fast->run(kept.batch(3)).plan == kept.plan.epoch());
}

TEST_CASE("a plan changes between two batches, back again, and stays if the next one cannot be made ready") {
  executor::set_compute_threads(1);
  const planned_model of(0.2);
  const auto served = of.load({.shadow_share = 0.5});
  const auto batch = of.batch(5);
  const auto planned = served->run(batch);
  CHECK(planned.plan == of.plan.epoch());
  auto plain = of.plan;
  plain.nodes.clear();
  const auto fp32 = std::make_shared<const executor::precision_plan>(plain);
  REQUIRE(served->change_plan(fp32, nullptr).has_value());
  const auto exact = served->run(batch);
  CHECK(exact.plan == "fp32");
  CHECK(!test::difference(*exact.results[0], *planned.results[0]).empty());
  const protocol::replan back{{of.folder, "minilm", 1}, served->plan()};
  CHECK(*worker::served_model::prepare_plan(back, {}) == nullptr);
  const protocol::replan again{{of.folder, "minilm", 1}, std::make_shared<const executor::precision_plan>(of.plan)};
  auto graph = worker::served_model::prepare_plan(again, {});
  REQUIRE(graph.has_value());
  REQUIRE(served->change_plan(again.plan, *graph).has_value());
  const auto same = served->run(batch);
  for (std::size_t m = 0; m < 3; ++m) CHECK(test::difference(*same.results[m], *planned.results[m]).empty());

  const auto refused = worker::served_model::prepare_plan(again, {.plan_memory = 1});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::too_large);
  CHECK(refused.error().message.find("worker.plan_memory_mib") != std::string::npos);
}

TEST_CASE("nothing is compared without a plan, or with a share of 0") {
  executor::set_compute_threads(1);
  const planned_model of(0.2);
  for (const auto& how :
       {worker::loading{.precision = worker::precision_policy::fp32}, worker::loading{.shadow_share = 0}}) {
    const auto served = of.load(how);
    for (std::uint64_t i = 0; i < 5; ++i) {
      served->run(of.batch(i));
      CHECK(!served->watch());
    }
  }
}
