// What a gateway counts, tells the schedulers, and hears of the other gateways.
#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using fixture = gateway_fixture;

/// An answer from a batch of `batch_rows`, of which the request's own are in `head`.
outcome answer_to(const infer& head, std::uint32_t batch_rows) {
  outcome done;
  done.id = head.id;
  done.attempt = head.attempt;
  done.result = std::vector<tensor>{matrix(head.inputs.front().dims[0], head.inputs.front().dims[1], "y")};
  done.queue_time = 100us;
  done.compute_time = 1000us;
  done.input_time = 50us;
  done.output_time = 30us;
  done.batch_rows = batch_rows;
  return done;
}

service_report of_gateway(instance_id instance, const std::string& model, std::uint64_t rows) {
  model_statistics counted;
  counted.model = model;
  counted.version = 1;
  counted.rows = rows;
  counted.executions = 1;
  counted.success = {1, 2ms};
  return {"gateway", instance, {}, {counted}};
}

}  // namespace

TEST_CASE("answers are counted by model: rows, executions as batch-mates share them, and where the time went") {
  fixture f;
  f.add_scheduler();
  f.ask(f.client, matrix_request(1, 1));
  f.ask(f.client, matrix_request(2, 3));
  const auto first = f.handed();
  const auto second = f.handed();
  f.now += 2ms;
  deliver(f.mind, f.worker, answer_to(first, 4), f.now);
  deliver(f.mind, f.worker, answer_to(second, 4), f.now);
  const auto all = f.mind.statistics();
  REQUIRE(all.size() == 1);
  const auto& m = all.front();
  CHECK(m.model == "m");
  CHECK(m.version == 1);
  CHECK(m.rows == 4);
  CHECK(m.executions == doctest::Approx(1));
  CHECK(m.success == duration_sum{2, 4ms});
  CHECK(m.queue == duration_sum{2, 200us});
  CHECK(m.compute_input == duration_sum{2, 100us});
  CHECK(m.compute_infer == duration_sum{2, 1840us});
  CHECK(m.compute_output == duration_sum{2, 60us});
  CHECK(m.fail == duration_sum{});
  CHECK(m.last_inference.count() > 0);
  CHECK(f.figure("shoal_gateway_model_requests_total{model=m}{outcome=ok}{version=1}") == 2);
  CHECK(f.figure("shoal_gateway_model_rows_total{model=m}{version=1}") == 4);
}

TEST_CASE("a failed request counts as such; one for a model that does not exist leaves no trace of its name") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  f.fail_with(f.handed(), {errc::internal, "broken"});
  f.ask(f.client, matrix_request(2, 1, 4, "no-such-model"));
  CHECK(f.refusal().code == errc::internal);
  CHECK(f.refusal().code == errc::not_found);
  const auto all = f.mind.statistics();
  REQUIRE(all.size() == 1);
  CHECK(all.front().fail.count == 1);
  CHECK(all.front().success.count == 0);
  for (const auto& [name, value] : f.figures.snapshot()) CHECK_FALSE(contains(name, "no-such-model"));
}

TEST_CASE("what is unloaded is counted no more, and its figures go") {
  fixture f;
  f.add_scheduler(f.scheduler, {matrix_model("m"), matrix_model("other")});
  f.ask(1);
  f.finish(f.handed());
  REQUIRE(f.mind.statistics().size() == 1);
  deliver(f.mind, f.scheduler, catalogue{{matrix_model("other")}}, f.now);
  CHECK(f.mind.statistics().empty());
  for (const auto& [name, value] : f.figures.snapshot()) CHECK_FALSE(contains(name, "{model=m}"));
}

TEST_CASE("a gateway reports to its schedulers now and then, while something changed, if they take reports") {
  fixture f({.report_interval = 2s});
  link_event older = peer_up{f.other_scheduler, service_kind::scheduler, f.other_scheduler, 1, {}, 1};
  f.mind.on(older, f.now);
  f.add_scheduler();
  f.wait(2s);
  const auto first = f.link.take<report>(f.scheduler);
  REQUIRE(first);
  CHECK(first->services.front().service == "gateway");
  CHECK(first->services.front().instance == f.instance);
  f.finish(f.handed());  // its own probe, which is nobody's request
  f.wait(2s);
  CHECK_FALSE(f.link.take<report>(f.scheduler));  // nothing new
  f.ask(1);
  f.finish(f.handed());
  f.wait(2s);
  const auto second = f.link.take<report>(f.scheduler);
  REQUIRE(second);
  REQUIRE(second->services.front().models.size() == 1);
  CHECK(second->services.front().models.front().success.count == 1);
  CHECK(f.link.count<report>(f.other_scheduler) == 0);  // it speaks version 1, which did not know them
}

TEST_CASE("statistics are those of all gateways, each once, whoever is asked and however many schedulers tell") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  f.finish(f.handed());
  f.add_scheduler(f.other_scheduler);
  const auto own = f.mind.statistics();
  REQUIRE(own.size() == 1);
  const auto stale = of_gateway(f.instance, "m", 1000);  // itself, as a scheduler heard it
  deliver(f.mind, f.scheduler, report{{of_gateway(501, "m", 5), stale}}, f.now);
  deliver(f.mind, f.other_scheduler, report{{of_gateway(501, "m", 5), of_gateway(502, "other", 7)}}, f.now);
  const auto all = f.mind.statistics();
  REQUIRE(all.size() == 2);
  CHECK(all[0].rows == own[0].rows + 5);
  CHECK(all[0].success.count == 2);
  CHECK(all[1].model == "other");
  CHECK(all[1].rows == 7);
}

TEST_CASE("who inquires hears of every service once") {
  fixture f;
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  const service_report worker{"worker", 21, {{"x", 1}}, {}};
  deliver(f.mind, f.scheduler, report{{{"scheduler", 11, {}, {}}, worker}}, f.now);
  deliver(f.mind, f.other_scheduler, report{{{"scheduler", 12, {}, {}}, worker}}, f.now);
  deliver(f.mind, f.client, inquire{}, f.now);
  const auto told = f.link.take<report>(f.client);
  REQUIRE(told);
  std::vector<instance_id> instances;
  for (const auto& each : told->services) instances.push_back(each.instance);
  CHECK(instances == std::vector<instance_id>{f.instance, 11, 21, 12});
}

TEST_CASE("a door's load goes to every scheduler, and its answer back to the door") {
  fixture f;
  f.add_scheduler();
  std::optional<expected<std::vector<worker_answer>>> answer;
  management order{{{}, life_verb::load, "m", 0, true, {}},
                   [&](expected<std::vector<worker_answer>> told) { answer = std::move(told); }};
  f.mind.manage_for_door(order, f.now);
  const auto asked = f.link.take<protocol::manage>(f.scheduler);
  REQUIRE(asked);
  CHECK(asked->key.gateway == f.instance);
  CHECK(asked->time_left > 0us);
  deliver(f.mind, f.scheduler, managed{asked->key, std::vector<worker_answer>{{5, std::string("loaded version 1")}}},
          f.now);
  REQUIRE(answer);
  REQUIRE(*answer);
  CHECK((*answer)->front().worker == 5);
}

TEST_CASE("a door's load of a path is refused without asking anybody") {
  fixture f;
  f.add_scheduler();
  std::optional<expected<std::vector<worker_answer>>> answer;
  management order{{{}, life_verb::load, "../m", 0, true, {}},
                   [&](expected<std::vector<worker_answer>> told) { answer = std::move(told); }};
  f.mind.manage_for_door(order, f.now);
  REQUIRE(answer);
  CHECK(answer->error().code == errc::invalid_argument);
  CHECK(f.link.count<protocol::manage>(f.scheduler) == 0);
}
