// The C++ SDK against gateways that do as they are told: what a request can meet, and that it ends once with a typed
// error.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "fake_gateway.hpp"

namespace shoal::test {
namespace {

using client::call;
using sdk_errc = client::errc;

TEST_CASE("an inference comes back with its outputs, over every transport") {
  for (const std::string transport : {"ipc", "tcp"}) {
    CAPTURE(transport);
    fake_gateway gateway(transport);
    auto mesh = mesh_of(quick_options(), gateway);
    CHECK(mesh.connected());
    const auto answer = mesh.infer(ask("identity", 5));
    REQUIRE(answer);
    CHECK(answer->model == "identity");
    CHECK(answer->version == 3);
    CHECK(answer->request_id != 0);
    CHECK(answer->retries == 0);
    const auto y = answer->view<float>("y");
    REQUIRE(y);
    CHECK(std::vector(y->begin(), y->end()) == std::vector<float>{5, 6, 7, 8});
    CHECK(answer->view<float>("z").error().code == sdk_errc::not_found);
    CHECK(answer->view<double>("y").error().code == sdk_errc::invalid_argument);
  }
}

TEST_CASE("tensors of many megabytes go and come in pieces, without a copy on the way out") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::vector<float> values(3 << 20);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const auto answer = mesh.infer({"identity", {client::tensor("x", {3 << 20}, values)}}, {30s});
  REQUIRE(answer);
  CHECK(answer->outputs.at(0).values<float>() == values);
}

TEST_CASE("futures and callbacks; callbacks run on one thread of the mesh's own, and may throw") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  auto future = mesh.infer_async(ask("identity"));
  REQUIRE(future.get());

  std::promise<std::thread::id> good, bad;
  mesh.infer_async(ask("identity"), [&](const client::expected<client::result>& came) {
    CHECK(came);
    good.set_value(std::this_thread::get_id());
    throw std::runtime_error("a callback that throws");
  });
  client::request wrong{"identity", {client::tensor("x", {2, 4}, {1.f})}};
  mesh.infer_async(wrong, [&](const client::expected<client::result>& came) {
    CHECK(came.error().code == sdk_errc::invalid_argument);
    bad.set_value(std::this_thread::get_id());
  });
  const auto on = good.get_future().get();
  CHECK(on != std::this_thread::get_id());
  CHECK(bad.get_future().get() == on);
  CHECK(mesh.infer(ask("identity")));
  CHECK(figure(mesh, "client_thrown") == 1);
}

TEST_CASE("in a callback a request may be made, and a blocking call fails instead of waiting for itself") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::promise<sdk_errc> blocking, models, mapped;
  std::promise<bool> nested;
  mesh.infer_async(ask("identity"), [&](const client::expected<client::result>&) {
    blocking.set_value(mesh.infer(ask("identity")).error().code);
    models.set_value(mesh.models().error().code);
    auto results = mesh.map(std::vector{ask("identity")});
    mapped.set_value(results.next()->error().code);
    CHECK_FALSE(results.next());
    mesh.infer_async(ask("identity"), [&](const client::expected<client::result>& came) { nested.set_value(!!came); });
  });
  CHECK(blocking.get_future().get() == sdk_errc::invalid_argument);
  CHECK(models.get_future().get() == sdk_errc::invalid_argument);
  CHECK(mapped.get_future().get() == sdk_errc::invalid_argument);
  CHECK(nested.get_future().get());
}

TEST_CASE("an error tells its class, whether a retry can help and when, and of which request it is") {
  fake_gateway gateway;
  auto with = quick_options();
  with.retry_ratio = 0;
  with.retry_reserve = 0;
  auto mesh = mesh_of(with, gateway);
  const auto poisoned = mesh.infer(ask("poisoned"));
  REQUIRE_FALSE(poisoned);
  CHECK(poisoned.error().code == sdk_errc::poisoned);
  CHECK(poisoned.error().message == "it ended two workers");
  CHECK_FALSE(poisoned.error().retryable);
  CHECK(poisoned.error().request_id != 0);
  const auto busy = mesh.infer(ask("busy"));
  REQUIRE_FALSE(busy);
  CHECK(busy.error().code == sdk_errc::overloaded);
  CHECK(busy.error().retryable);
  CHECK(busy.error().retry_after == 10ms);
  CHECK(name_of(busy.error().code) == "overloaded");
}

TEST_CASE("what is wrong with a request is told before it is sent") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  const auto code = [&](client::tensor x) { return mesh.infer({"identity", {std::move(x)}}).error().code; };
  CHECK(code(client::tensor("x", {2, 2}, {1, 2, 3})) == sdk_errc::invalid_argument);
  CHECK(code(client::tensor("x", {-1}, {1})) == sdk_errc::invalid_argument);
  CHECK(code(client::tensor("x", {std::int64_t{1} << 40, std::int64_t{1} << 40}, {1})) == sdk_errc::invalid_argument);
  CHECK(code(client::tensor("x", client::dtype::bytes, {1}, {}, {})) == sdk_errc::unsupported);
  CHECK(code(client::tensor("x", static_cast<client::dtype>(99), {1}, {}, {})) == sdk_errc::invalid_argument);
  CHECK(gateway.requests().empty());
}

TEST_CASE("a request that no outcome comes for ends by the client's own timer, in time, and is taken back") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  const auto since = std::chrono::steady_clock::now();
  const auto answer = mesh.infer(ask("silent"), {100ms});
  const auto took = std::chrono::steady_clock::now() - since;
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == sdk_errc::deadline_exceeded);
  CHECK(took >= 100ms);
  CHECK(took < 100ms + 250ms);
  REQUIRE(gateway.link().wait_for_messages(2));
  CHECK(gateway.requests().at(0).time_left <= 100ms);
  CHECK(gateway.cancels().size() == 1);
}

TEST_CASE("behind a frozen gateway a request ends in time") {
  fake_gateway gateway;
  gateway.freezes = true;
  auto mesh = mesh_of(quick_options(), gateway);
  const auto since = std::chrono::steady_clock::now();
  auto first = mesh.infer_async(ask("freeze"), {150ms});
  auto second = mesh.infer_async(ask("identity"), {500ms});  // it is taken for lost meanwhile
  CHECK(first.get().error().code == sdk_errc::deadline_exceeded);
  CHECK(std::chrono::steady_clock::now() - since < 150ms + 250ms);
  CHECK(second.get().error().code == sdk_errc::deadline_exceeded);
  CHECK(std::chrono::steady_clock::now() - since < 500ms + 250ms);
}

TEST_CASE("what is stuck at a frozen gateway goes on at another one") {
  fake_gateway frozen, living;
  frozen.freezes = true;
  auto with = quick_options();
  with.retry_reserve = 100;  // on a slow machine the living one may be taken for lost, too
  auto mesh = mesh_of(with, frozen, living);
  std::vector<std::future<client::expected<client::result>>> all;
  for (int i = 0; i < 8; ++i) all.push_back(mesh.infer_async(ask("freeze"), {30s}));
  for (auto& each : all) CHECK(each.get());
  CHECK(mesh.infer(ask("identity")));
}

TEST_CASE("what is in flight at a gateway that is lost goes on at another one; an answer is told once") {
  auto lost = std::make_unique<fake_gateway>();
  auto with = quick_options();
  auto mesh = mesh_of(with, *lost);
  std::atomic<int> told = 0;
  std::vector<std::promise<client::expected<client::result>>> ended(8);
  for (auto& each : ended)
    mesh.infer_async(ask("held"),
                     [&](client::expected<client::result> came) {
                       ++told;
                       each.set_value(std::move(came));
                     },
                     {30s});
  REQUIRE(lost->link().wait_for_messages(8));
  const auto endpoint = lost->endpoint();
  lost.reset();
  // None is there, so they wait for one that listens at the same address.
  CHECK(told == 0);
  auto own = quick(protocol::service_kind::gateway);
  own.bind = {endpoint};
  recorder fresh(own, [](recorder& self, const protocol::link_event& event) {
    const auto* came = std::get_if<protocol::delivery>(&event);
    if (came == nullptr) return;
    if (const auto* request = std::get_if<protocol::infer>(&came->body))
      static_cast<void>(self.link.send(came->from, protocol::outcome{request->id, 0, request->inputs, "held", 1}));
  });
  for (auto& each : ended) {
    const auto came = each.get_future().get();
    REQUIRE(came);
    CHECK(came->retries == 1);
  }
  CHECK(told == 8);
}

TEST_CASE("more than the retry budget allows is not tried again") {
  auto lost = std::make_unique<fake_gateway>();
  auto with = quick_options();
  with.retry_ratio = 0;
  with.retry_reserve = 3;
  fake_gateway other;
  auto mesh = mesh_of(with, *lost);
  std::vector<std::future<client::expected<client::result>>> all;
  for (int i = 0; i < 10; ++i) all.push_back(mesh.infer_async(ask("silent"), {400ms}));
  REQUIRE(lost->link().wait_for_messages(10));
  lost.reset();
  int unavailable = 0, late = 0;
  for (auto& each : all) {
    const auto came = each.get();
    REQUIRE_FALSE(came);
    unavailable += came.error().code == sdk_errc::unavailable;
    late += came.error().code == sdk_errc::deadline_exceeded;
  }
  CHECK(unavailable == 7);
  CHECK(late == 3);
  CHECK(figure(mesh, "client_retries_refused") == 7);
}

TEST_CASE("overloaded is tried again after the time it names; unavailable elsewhere") {
  fake_gateway first, second;
  auto mesh = mesh_of(quick_options(), first, second);
  const auto busy = mesh.infer(ask("busy once"), {30s});
  REQUIRE(busy);
  CHECK(busy->retries >= 1);
  const auto always = mesh.infer(ask("busy"), {25ms});
  REQUIRE_FALSE(always);
  CHECK((always.error().code == sdk_errc::overloaded || always.error().code == sdk_errc::deadline_exceeded));
  CHECK(mesh.infer(ask("leaving"), {40ms}).error().code == sdk_errc::unavailable);
}

TEST_CASE("without a gateway: wait for one, or fail at once") {
  auto with = quick_options();
  with.connect_within = {};
  const auto endpoint = fresh_address("ipc");
  auto waiting = client::connect(endpoint, with);
  REQUIRE(waiting);
  CHECK_FALSE(waiting->connected());
  const auto late = waiting->infer(ask("identity"), {50ms});
  CHECK(late.error().code == sdk_errc::deadline_exceeded);
  CHECK(late.error().retryable);
  auto future = waiting->infer_async(ask("identity"), {30s});
  auto models = std::async(std::launch::async, [&] { return waiting->models(30s); });
  with.wait_for_gateway = false;
  auto hasty = client::connect(endpoint, with);
  REQUIRE(hasty);
  CHECK(hasty->infer(ask("identity")).error().code == sdk_errc::unavailable);
  CHECK(hasty->models().error().code == sdk_errc::unavailable);
  auto own = quick(protocol::service_kind::gateway);
  own.bind = {endpoint};
  recorder gateway(own, [](recorder& self, const protocol::link_event& event) {
    const auto* came = std::get_if<protocol::delivery>(&event);
    if (came == nullptr) return;
    if (const auto* request = std::get_if<protocol::infer>(&came->body))
      static_cast<void>(self.link.send(came->from, protocol::outcome{request->id, 0, request->inputs, "m", 1}));
    if (std::holds_alternative<protocol::describe>(came->body))
      static_cast<void>(self.link.send(came->from, protocol::catalogue{}));
  });
  CHECK(future.get());
  CHECK(models.get());
}

TEST_CASE("connecting: nobody there, no endpoint, options out of range") {
  auto with = quick_options();
  with.connect_within = 50ms;
  const auto nobody = client::connect(fresh_address("ipc"), with);
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code == sdk_errc::unavailable);
  CHECK(nobody.error().retryable);
  CHECK(client::connect("http://somewhere", with).error().code == sdk_errc::invalid_argument);
  CHECK(client::connect(std::vector<std::string>{}, with).error().code == sdk_errc::invalid_argument);
  with.max_in_flight = 0;
  CHECK(client::connect(fresh_address("ipc"), with).error().code == sdk_errc::invalid_argument);
}

TEST_CASE("a full window refuses, or lets the caller wait for room") {
  fake_gateway gateway;
  auto with = quick_options();
  with.max_in_flight = 2;
  with.wait_for_room = false;
  auto mesh = mesh_of(with, gateway);
  auto first = mesh.infer_async(ask("held"), {30s});
  auto second = mesh.infer_async(ask("held"), {30s});
  const auto refused = mesh.infer(ask("identity"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == sdk_errc::overloaded);
  CHECK(refused.error().retryable);
  std::promise<sdk_errc> told;
  mesh.infer_async(ask("identity"),
                   [&](const client::expected<client::result>& came) { told.set_value(came.error().code); });
  CHECK(told.get_future().get() == sdk_errc::overloaded);
  REQUIRE(gateway.link().wait_for_messages(2));
  gateway.let_go();
  CHECK(first.get());
  CHECK(second.get());
  CHECK(mesh.infer(ask("identity")));

  with.wait_for_room = true;
  auto patient = mesh_of(with, gateway);
  first = patient.infer_async(ask("held"), {30s});
  second = patient.infer_async(ask("held"), {30s});
  CHECK(patient.infer(ask("identity"), {50ms}).error().code == sdk_errc::deadline_exceeded);
  std::stop_source stop;
  auto stopped = std::async(std::launch::async, [&] {
    return patient.infer(ask("identity"), {30s, stop.get_token()});
  });
  auto third = std::async(std::launch::async, [&] { return patient.infer(ask("identity"), {30s}); });
  stop.request_stop();
  CHECK(stopped.get().error().code == sdk_errc::cancelled);
  REQUIRE(gateway.link().wait_for_messages(5));
  gateway.let_go();
  CHECK(third.get());
}

TEST_CASE("the window counts bytes, too, and a request alone always fits") {
  fake_gateway gateway;
  auto with = quick_options();
  with.max_in_flight_bytes = 100;
  with.wait_for_room = false;
  auto mesh = mesh_of(with, gateway);
  CHECK(mesh.infer({"identity", {client::tensor("x", {100}, std::vector<float>(100))}}));
  auto first = mesh.infer_async({"held", {client::tensor("x", {20}, std::vector<float>(20))}}, {30s});
  CHECK(mesh.infer({"identity", {client::tensor("x", {6}, std::vector<float>(6))}}).error().code ==
        sdk_errc::overloaded);
  CHECK(mesh.infer({"identity", {client::tensor("x", {5}, std::vector<float>(5))}}));
  gateway.let_go();
  CHECK(first.get());
}

TEST_CASE("without credit at the gateway requests wait here") {
  fake_gateway gateway("ipc", 2);
  auto mesh = mesh_of(quick_options(), gateway);
  std::vector<std::future<client::expected<client::result>>> all;
  for (int i = 0; i < 10; ++i) all.push_back(mesh.infer_async(ask("held"), {30s}));
  for (auto& each : all) {
    while (each.wait_for(5ms) != std::future_status::ready) gateway.let_go();
    const auto came = each.get();
    REQUIRE(came);
    CHECK(came->retries == 0);
  }
}

TEST_CASE("a stop token ends a request, wherever it is, and the gateway is told") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::stop_source stop;
  auto future = mesh.infer_async(ask("silent"), {30s, stop.get_token()});
  REQUIRE(gateway.link().wait_for_messages(1));
  stop.request_stop();
  CHECK(future.get().error().code == sdk_errc::cancelled);
  REQUIRE(gateway.link().wait_for_messages(2));
  CHECK(gateway.cancels().at(0).key.id == gateway.requests().at(0).id);
  CHECK(mesh.infer(ask("identity"), {30s, stop.get_token()}).error().code == sdk_errc::cancelled);
  CHECK(gateway.requests().size() == 1);
}

TEST_CASE("stop tokens that race with answers and callbacks do no harm") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  for (int round = 0; round < 50; ++round) {
    std::stop_source stop;
    std::atomic<int> told = 0;
    for (int i = 0; i < 10; ++i)
      mesh.infer_async(ask("identity"),
                       [&, i](const client::expected<client::result>& came) {
                         CHECK((came || came.error().code == sdk_errc::cancelled));
                         if (i == 5) stop.request_stop();
                         told.fetch_add(1);
                         told.notify_all();
                       },
                       {30s, stop.get_token()});
    stop.request_stop();
    for (int seen = told; seen < 10; seen = told) told.wait(seen);
  }
}

TEST_CASE("an outcome that is said twice is told once") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::atomic<int> told = 0;
  std::promise<void> once;
  mesh.infer_async(ask("twice"), [&](const client::expected<client::result>&) {
    if (++told == 1) once.set_value();
  });
  once.get_future().get();
  CHECK(mesh.infer(ask("identity")));
  CHECK(told == 1);
  CHECK(figure(mesh, "client_unexpected") == 1);
}

TEST_CASE("models, status, load and unload") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  const auto models = mesh.models();
  REQUIRE(models);
  REQUIRE(models->size() == 1);
  const auto& model = models->front();
  CHECK(model.name == "identity");
  CHECK(model.state == client::model_state::ready);
  CHECK(model.inputs.at(0) == client::tensor_spec{"x", client::dtype::fp32, {{1, 8, "batch"}, {4, 4, ""}}});
  const auto status = mesh.status();
  REQUIRE(status);
  CHECK(status->at(0).kind == "gateway");
  CHECK(status->at(0).figures.at(0).value == 2);
  const auto loaded = mesh.load("identity", 2, true);
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 2);
  CHECK(loaded->at(0).said == "done");
  CHECK(loaded->at(1).said.error().code == sdk_errc::not_found);
  const auto change = std::get<protocol::manage>(gateway.link().messages().back().body);
  CHECK(change.model == "identity");
  CHECK(change.version == 2);
  CHECK(change.replace);
  CHECK(mesh.unload("identity"));
}

TEST_CASE("a mesh that is destroyed ends what is in flight, also in a callback of its own") {
  fake_gateway gateway;
  auto mesh = std::make_unique<client::mesh>(mesh_of(quick_options(), gateway));
  auto future = mesh->infer_async(ask("silent"), {30s});
  mesh.reset();
  CHECK(future.get().error().code == sdk_errc::cancelled);

  mesh = std::make_unique<client::mesh>(mesh_of(quick_options(), gateway));
  future = mesh->infer_async(ask("silent"), {30s});
  mesh->infer_async(ask("identity"), [&](const client::expected<client::result>&) { mesh.reset(); });
  CHECK(future.get().error().code == sdk_errc::cancelled);
}

TEST_CASE("a mesh may be used by many threads, and moved") {
  fake_gateway gateway;
  auto first = mesh_of(quick_options(), gateway);
  auto mesh = std::move(first);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const auto value = static_cast<float>(t * 1000 + i);
        const auto came = mesh.infer(ask("identity", value), {30s});
        if (came && (*came->view<float>("y"))[0] == value) ++right;
      }
    });
  for (auto& each : threads) each.join();
  CHECK(right == 400);
}

}  // namespace
}  // namespace shoal::test
