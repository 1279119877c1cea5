#include "services/mesh/top_table.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace shoal;
using namespace shoal::services;
using namespace std::chrono_literals;

namespace {

const std::chrono::system_clock::time_point clock_now{1'000'000s};

protocol::model_statistics counted(std::uint64_t answered, std::uint64_t rows, double executions,
                                   std::chrono::nanoseconds each) {
  protocol::model_statistics all;
  all.model = "m";
  all.version = 1;
  all.rows = rows;
  all.executions = executions;
  all.success = {answered, each * answered};
  all.queue = {answered, each * answered / 2};
  all.compute_infer = {answered, each * answered / 4};
  return all;
}

mesh_view look(time_point when, protocol::instance_id gateway, const protocol::model_statistics& all) {
  mesh_view view;
  view.taken = when;
  protocol::model_spec model;
  model.name = "m";
  model.version = 1;
  model.state = protocol::model_state::ready;
  view.models.models = {model};
  view.report.services = {
      {"worker", 7, {{"shoal_worker_batches_total", 10}, {"shoal_worker_models_ready", 1}}, {}},
      {"gateway", gateway, {{"shoal_service_start_time_seconds", 999'970}, {"shoal_gateway_held_bytes", 2048}}, {all}},
      {"scheduler",
       3,
       {{"shoal_scheduler_model_queued{model=\"m\",version=\"1\"}", 4}, {"shoal_scheduler_queued", 4}},
       {}}};
  return view;
}

}  // namespace

TEST_CASE("rates and means are those between the two looks") {
  const auto before = look(time_point(10s), 1, counted(100, 200, 50, 1ms));
  const auto now = look(time_point(12s), 1, counted(200, 600, 100, 2ms));
  const auto view = compare(before, now, clock_now);
  CHECK(view.seconds == doctest::Approx(2));
  REQUIRE(view.models.size() == 1);
  const auto& row = view.models[0];
  CHECK(row.state == "ready");
  CHECK(row.requests_s == doctest::Approx(50));
  CHECK(row.failures_s == doctest::Approx(0));
  CHECK(row.batch == doctest::Approx(8));
  CHECK(row.latency_ms == doctest::Approx(3));  // (200 x 2 - 100 x 1) / 100
  CHECK(row.queue_ms == doctest::Approx(1.5));
  CHECK(row.compute_ms == doctest::Approx(0.75));
  CHECK(row.queued == doctest::Approx(4));
  REQUIRE(view.services.size() == 3);
  CHECK(view.services[0].service == "gateway");
  CHECK(view.services[0].up == "30 s");
  CHECK(view.services[0].does.find("2.0 KiB") != std::string::npos);
  CHECK(view.services[2].does.find("0.0 batches/s") != std::string::npos);
}

TEST_CASE("a gateway that was started again counts from its new start, and one that is gone not at all") {
  const auto before = look(time_point(10s), 1, counted(100, 100, 100, 1ms));
  const auto restarted = compare(before, look(time_point(11s), 2, counted(5, 5, 5, 1ms)), clock_now);
  CHECK(restarted.models[0].requests_s == doctest::Approx(5));
  auto gone = look(time_point(11s), 1, counted(150, 150, 150, 1ms));
  std::erase_if(gone.report.services, [](const auto& each) { return each.service == "gateway"; });
  CHECK(compare(before, gone, clock_now).models[0].requests_s == doctest::Approx(0));
}

TEST_CASE("nothing between the looks is zero, not a division by it") {
  const auto once = look(time_point(10s), 1, counted(100, 100, 100, 1ms));
  const auto row = compare(once, once, clock_now).models[0];
  for (const auto value : {row.requests_s, row.batch, row.latency_ms, row.compute_ms}) CHECK(value == 0);
}

TEST_CASE("the table keeps to the terminal's width, and JSON has the same figures") {
  const auto before = look(time_point(10s), 1, counted(100, 200, 50, 1ms));
  const auto view = compare(before, look(time_point(12s), 1, counted(200, 600, 100, 2ms)), clock_now);
  const auto table = to_table(view, "title", 60);
  std::size_t begin = 0;
  for (auto end = table.find('\n'); end != std::string::npos; begin = end + 1, end = table.find('\n', begin))
    CHECK(end - begin <= 60);
  CHECK(to_table(view, "title", std::string::npos).find("m/1") != std::string::npos);
  const auto json = to_json(view);
  CHECK(json["models"][0]["requests_per_second"].get<double>() == doctest::Approx(50));
  CHECK(json["services"][0]["instance"] == "0000000000000001");
}
