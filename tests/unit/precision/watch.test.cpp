// A worker's model that computes by a plan: compared with fp32, and given up when it errs.
#include <doctest/doctest.h>

#include <filesystem>

#include <unistd.h>

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
  fs::path folder = fs::temp_directory_path() / ("shoal-watch-" + std::to_string(::getpid()));
  std::unique_ptr<laboratory> model;
  executor::precision_plan plan;

  explicit planned_model(double budget) {
    const auto archive = test::fixture_archive("models/minilm");
    model = std::move(*laboratory::open(archive));
    fs::create_directories(folder);
    fs::create_symlink(fs::absolute(archive), folder / "model.pt2");
    plan.model = model->model();
    plan.device = executor::cpu_signature();
    plan.budget = budget;
    for (const auto& node : model->nodes())
      if (node.columns > 0) plan.nodes[node.name] = {as::int8, {}, false};
    REQUIRE(write_plan(executor::plan_path(folder / "model.pt2", plan.device), plan).has_value());
  }
  ~planned_model() { fs::remove_all(folder); }

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
