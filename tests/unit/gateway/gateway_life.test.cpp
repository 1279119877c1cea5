// Models that are loaded and unloaded while requests for them are on their way.
#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using fixture = gateway_fixture;

infer any_version(request_id id) {
  auto request = matrix_request(id);
  request.version = 0;
  return request;
}

manage load_order(const std::string& model) { return {{0, 31}, life_verb::load, model, 0, false, 2s}; }

}  // namespace

TEST_CASE("a model that its scheduler does not list any more is forgotten; requests for it are told so") {
  fixture f;
  f.add_scheduler(f.scheduler, {matrix_model("m", 1), matrix_model("other", 1)});
  deliver(f.mind, f.scheduler, catalogue{{matrix_model("other", 1)}}, f.now);
  CHECK(f.board->models.load()->models.size() == 1);
  f.ask(1);
  const auto refused = f.refusal();
  CHECK(refused.code == errc::not_found);
  CHECK(contains(refused.message, "there is no model 'm'"));
}

TEST_CASE("a model that another scheduler still lists is not forgotten") {
  fixture f;
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  deliver(f.mind, f.scheduler, catalogue{}, f.now);
  CHECK(f.board->models.load()->models.front().state == model_state::ready);
}

TEST_CASE("a model that was lost with its scheduler is forgotten after a while, not at once") {
  fixture f({.forget_after = 60s});
  f.add_scheduler();
  down(f.mind, f.scheduler, f.now);
  f.wait(59s);
  CHECK(f.board->models.load()->models.size() == 1);
  f.wait(2s);
  CHECK(f.board->models.load()->models.empty());
}

TEST_CASE("a request for the highest version moves to the one that took over; one for that very version does not") {
  fixture f;
  f.add_scheduler();
  f.ask(f.client, any_version(1));
  f.ask(f.client, matrix_request(2));
  const auto any = f.handed();
  const auto exact = f.handed();
  CHECK(any.version == 1);
  deliver(f.mind, f.scheduler, catalogue{{matrix_model("m", 2)}}, f.now);
  f.fail_with(any, {errc::not_found, "version 1 was unloaded"});
  f.fail_with(exact, {errc::not_found, "version 1 was unloaded"});
  const auto again = f.handed();
  CHECK(again.id == any.id);
  CHECK(again.version == 2);
  CHECK(again.attempt == any.attempt + 1);
  CHECK(again.inputs.front().data.size() == any.inputs.front().data.size());
  CHECK(f.refusal().code == errc::not_found);
  f.finish(again);
  CHECK(f.answer().version == 2);
}

TEST_CASE("the version that was unloaded answers after all: its answer is not told as that of the one that took over") {
  fixture f;
  f.add_scheduler();
  auto request = matrix_request(1);
  request.version = 0;
  f.ask(f.client, request);
  const auto head = f.handed();
  CHECK(head.version == 1);
  deliver(f.mind, f.scheduler, catalogue{{matrix_model("m", 2)}}, f.now);
  f.fail_with(head, {errc::not_found, "unloaded"});
  CHECK(f.handed().version == 2);
  outcome late;
  late.id = head.id;
  late.attempt = head.attempt;
  late.version = 1;
  late.result = std::vector<tensor>{matrix(1, 4, "y")};
  deliver(f.mind, f.worker, std::move(late), f.now);
  const auto told = f.answer();
  CHECK(told.result);
  CHECK(told.version == 1);
}

TEST_CASE("a scheduler that refuses what it lists is not asked for ever") {
  fixture f;
  f.add_scheduler();
  f.ask(f.client, any_version(1));
  int asked = 0;
  while (auto head = f.link.take<infer>(f.scheduler)) {
    REQUIRE(++asked < 20);
    f.fail_with(*head, {errc::not_found, "no"});
  }
  CHECK(f.refusal().code == errc::not_found);
  CHECK(f.in_flight() == 0);
}

TEST_CASE("an order goes to every scheduler under a key of the gateway's own, and the answers come back as one") {
  fixture f;
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  deliver(f.mind, f.client, load_order("m"), f.now);
  const auto first = f.link.take<manage>(f.scheduler);
  const auto second = f.link.take<manage>(f.other_scheduler);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->key.gateway == f.instance);
  CHECK(first->key == second->key);
  CHECK(first->time_left == 2s);
  deliver(f.mind, f.scheduler, managed{first->key, std::vector<worker_answer>{{81, std::string("loaded")}}}, f.now);
  CHECK_FALSE(f.link.take<managed>(f.client));
  down(f.mind, f.other_scheduler, f.now);
  const auto told = f.link.take<managed>(f.client);
  REQUIRE(told);
  CHECK(told->key == request_key{0, 31});
  CHECK(told->result->size() == 2);
}

TEST_CASE("an order for what is no model's name, without a scheduler, or late, is answered with an error") {
  fixture f;
  const auto refusal = [&] {
    auto told = f.link.take<managed>(f.client);
    REQUIRE(told);
    REQUIRE_FALSE(told->result);
    return told->result.error().code;
  };
  deliver(f.mind, f.client, load_order("../m"), f.now);
  CHECK(refusal() == errc::invalid_argument);
  deliver(f.mind, f.client, load_order("m"), f.now);
  CHECK(refusal() == errc::unavailable);
  f.add_scheduler();
  deliver(f.mind, f.client, load_order("m"), f.now);
  f.wait(3s);
  const auto late = f.link.take<managed>(f.client);
  REQUIRE(late);
  CHECK(late->result->front().result.error().code == errc::deadline_exceeded);
  for (int i = 0; i < 64; ++i) deliver(f.mind, f.client, load_order("m"), f.now);
  CHECK_FALSE(f.link.take<managed>(f.client));
  deliver(f.mind, f.client, load_order("m"), f.now);
  CHECK(refusal() == errc::overloaded);
  const auto before = f.unexpected();
  deliver(f.mind, f.worker, load_order("m"), f.now);  // no client
  CHECK(f.unexpected() == before + 1);
}
