#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using fixture = gateway_fixture;

model_spec in_state(model_state state, const char* name = "m") {
  auto spec = matrix_model(name);
  spec.state = state;
  if (state != model_state::ready) {
    spec.inputs.clear();
    spec.outputs.clear();
  }
  if (state == model_state::failed) spec.reason = "broken";
  return spec;
}

std::vector<std::pair<std::string, model_state>> published(const fixture& f) {
  std::vector<std::pair<std::string, model_state>> all;
  for (const auto& spec : f.board->models.load()->models)
    all.emplace_back(spec.name + "/" + std::to_string(spec.version), spec.state);
  return all;
}

using list = std::vector<std::pair<std::string, model_state>>;

}  // namespace

TEST_CASE("the catalogue is the union over the schedulers, ready wherever one is") {
  fixture f;
  f.add_scheduler(f.scheduler, {in_state(model_state::loading), in_state(model_state::failed, "a")});
  CHECK(published(f) == list{{"a/1", model_state::failed}, {"m/1", model_state::loading}});
  f.add_scheduler(f.other_scheduler, {in_state(model_state::ready), matrix_model("m", 2)});
  CHECK(published(f) == list{{"a/1", model_state::failed}, {"m/1", model_state::ready}, {"m/2", model_state::ready}});
}

TEST_CASE("a model that no scheduler lists any more stays known with its shapes; what has failed does not") {
  fixture f;
  f.add_scheduler(f.scheduler,
                  {matrix_model(), in_state(model_state::loading, "coming"), in_state(model_state::failed, "bad")});
  down(f.mind, f.scheduler, f.now);
  CHECK(published(f) == list{{"coming/1", model_state::loading}, {"m/1", model_state::loading}});
  CHECK(f.board->models.load()->models.back().inputs.size() == 1);
  f.ask(f.client, matrix_request(1, 1, 4, "coming"));
  CHECK(f.refusal().retryable);

  f.add_scheduler(f.other_scheduler, {in_state(model_state::loading)});  // its worker is loading it again
  CHECK(published(f) == list{{"coming/1", model_state::loading}, {"m/1", model_state::loading}});
  CHECK(f.board->models.load()->models.back().inputs.size() == 1);

  deliver(f.mind, f.other_scheduler, catalogue{{in_state(model_state::failed)}}, f.now);
  CHECK(published(f) == list{{"coming/1", model_state::loading}, {"m/1", model_state::failed}});
}

TEST_CASE("requests for models that are loading, failed or unknown are told so at once") {
  fixture f;
  f.ask(1);
  const auto early = f.refusal();  // it has just started: nobody has told it what there is
  CHECK(early.code == errc::unavailable);
  CHECK(early.retryable);
  CHECK(early.retry_after > 0ms);
  f.add_scheduler(f.scheduler, {in_state(model_state::loading), in_state(model_state::failed, "bad")});
  f.ask(2);
  const auto loading = f.refusal();
  CHECK(loading.code == errc::unavailable);
  CHECK(loading.retry_after > 0ms);
  f.ask(f.client, matrix_request(3, 1, 4, "bad"));
  const auto failed = f.refusal();
  CHECK_FALSE(failed.retryable);
  CHECK(contains(failed.message, "broken"));
  f.ask(f.client, matrix_request(4, 1, 4, "none"));
  CHECK(f.refusal().code == errc::not_found);
  CHECK(f.figure("shoal_gateway_requests_total{outcome=not_found}") == 1);
  CHECK(f.figure("shoal_gateway_requests_total{outcome=unavailable}") == 3);
}

TEST_CASE("version 0 is resolved before the request is handed on") {
  fixture f;
  auto coming = matrix_model("m", 9);
  coming.state = model_state::loading;
  f.add_scheduler(f.scheduler, {matrix_model("m", 1), matrix_model("m", 4), coming});
  auto request = matrix_request(1);
  request.version = 0;
  f.ask(f.client, request);
  const auto head = f.handed();
  CHECK(head.version == 4);
  f.finish(head);
  CHECK(f.answer().version == 4);
}

TEST_CASE("clients are told the catalogue and the figures of the mesh when they ask") {
  fixture f;
  f.add_scheduler();
  deliver(f.mind, f.client, describe{}, f.now);
  const auto models = f.link.take<catalogue>(f.client);
  REQUIRE(models);
  CHECK(models->models == std::vector{matrix_model()});

  deliver(f.mind, f.scheduler, report{{{"worker", 3, {{"rows", 2}}}, {"scheduler", 2, {}}}}, f.now);
  deliver(f.mind, f.client, inquire{}, f.now);
  const auto figures = f.link.take<report>(f.client);
  REQUIRE(figures);
  REQUIRE(figures->services.size() == 3);
  CHECK(figures->services[0].service == "gateway");
  CHECK(figures->services[0].instance == f.instance);
  CHECK_FALSE(figures->services[0].figures.empty());
  CHECK(figures->services[1] == service_report{"worker", 3, {{"rows", 2}}});

  down(f.mind, f.scheduler, f.now);
  deliver(f.mind, f.client, inquire{}, f.now);
  CHECK(f.link.take<report>(f.client)->services.size() == 1);
}
