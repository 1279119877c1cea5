// The blocking client: every request ends once, whatever the gateway does.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

#include "link/client.hpp"
#include "unit/link/recorder.hpp"

namespace shoal::test {
namespace {

using protocol::service_kind;

link::options gateway_at(const std::string& address) {
  auto own = quick(service_kind::gateway);
  own.bind = {address};
  return own;
}

/// Answers each request with its own inputs, `describe` and `inquire` with one entry, and `silent` models not at all.
void echo(recorder& self, const protocol::link_event& event) {
  const auto* came = std::get_if<protocol::delivery>(&event);
  if (came == nullptr) return;
  protocol::message answer;
  if (const auto* body = std::get_if<protocol::infer>(&came->body)) {
    if (body->model == "silent") return;
    answer = protocol::outcome{body->id, 0, body->inputs, body->model, 3};
  } else if (std::holds_alternative<protocol::describe>(came->body)) {
    answer = protocol::catalogue{{protocol::model_spec{"identity", 3}}};
  } else if (std::holds_alternative<protocol::inquire>(came->body)) {
    answer = protocol::report{{{"gateway", 1, {{"requests", 2}}}}};
  } else {
    return;
  }
  CHECK(self.link.send(came->from, answer));
}

std::unique_ptr<link::client> client_of(recorder& gateway) {
  auto made = link::client::connect(gateway.link.endpoints().front(), 10s, quick(service_kind::client));
  REQUIRE(made);
  return std::move(*made);
}

TEST_CASE("a request comes back with its outcome") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    recorder gateway(gateway_at(fresh_address(transport)), echo);
    auto client = client_of(gateway);
    const auto outcome = client->infer(request(0, 100), 10s);
    REQUIRE(outcome.result);
    CHECK(outcome.version == 3);
    CHECK(outcome.result->at(0).data.size() == 400);
    REQUIRE(client->describe(10s));
    CHECK(client->describe(10s)->models.at(0).name == "identity");
    CHECK(client->inquire(10s)->services.at(0).figures.at(0).value == 2);
  }
}

TEST_CASE("thousands of requests in flight each end once") {
  recorder gateway(gateway_at(fresh_address("ipc")), echo);
  auto client = client_of(gateway);
  constexpr int n = 5000;
  std::atomic<int> answered = 0, refused = 0;
  std::promise<void> all;
  for (int i = 0; i < n; ++i)
    client->submit(request(0), 20s, [&](const protocol::outcome& outcome) {
      ++(outcome.result ? answered : refused);
      if (outcome.result) return;
      CHECK(outcome.result.error().code == errc::overloaded);  // above the gateway's grant of 1024
    });
  const auto last = client->infer(request(0), 20s);
  for (int tries = 0; tries < 1000 && answered + refused < n; ++tries) static_cast<void>(client->describe(10s));
  CHECK(answered + refused == n);
  CHECK(answered >= 1024);
}

TEST_CASE("a request whose outcome does not come ends by its own timer, in time") {
  recorder gateway(gateway_at(fresh_address("ipc")), echo);
  auto client = client_of(gateway);
  auto silent = request(0);
  silent.model = "silent";
  const auto since = std::chrono::steady_clock::now();
  const auto outcome = client->infer(silent, 80ms);
  const auto took = std::chrono::steady_clock::now() - since;
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == errc::deadline_exceeded);
  CHECK(took >= 80ms);
  CHECK(took < 80ms + 250ms);
  // The gateway is told, and got the time as it was.
  REQUIRE(gateway.wait_for_messages(2));
  const auto messages = gateway.messages();
  CHECK(std::get<protocol::infer>(messages[0].body).time_left == 80ms);
  CHECK(std::get<protocol::cancel>(messages[1].body).key.id == outcome.id);
}

TEST_CASE("a request in flight ends when its gateway goes") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    recorder gateway(gateway_at(fresh_address(transport)), echo);
    auto client = client_of(gateway);
    std::promise<protocol::outcome> ended;
    auto silent = request(0);
    silent.model = "silent";
    client->submit(silent, 60s, [&](protocol::outcome outcome) { ended.set_value(std::move(outcome)); });
    REQUIRE(gateway.wait_for_messages(1));
    gateway.link.stop();
    auto outcome = ended.get_future();
    REQUIRE(outcome.wait_for(10s) == std::future_status::ready);
    CHECK(outcome.get().result.error().code == errc::unavailable);
    CHECK(client->infer(request(0), 10s).result.error().code == errc::unavailable);
    CHECK(client->describe(10s).error().code == errc::unavailable);
  }
}

TEST_CASE("a request that is taken back ends with that") {
  recorder gateway(gateway_at(fresh_address("ipc")), echo);
  auto client = client_of(gateway);
  std::promise<protocol::outcome> ended;
  auto silent = request(0);
  silent.model = "silent";
  const auto id = client->submit(silent, 60s, [&](protocol::outcome outcome) { ended.set_value(std::move(outcome)); });
  client->cancel(id);
  client->cancel(id);
  CHECK(ended.get_future().get().result.error().code == errc::cancelled);
  REQUIRE(gateway.wait_for_messages(2));
}

TEST_CASE("no gateway there: connecting says so when its time is over") {
  const auto made = link::client::connect(fresh_address("ipc"), 50ms, quick(service_kind::client));
  REQUIRE_FALSE(made);
  CHECK(made.error().code == errc::unavailable);
  CHECK(link::client::connect("http://somewhere", 50ms).error().code == errc::invalid_argument);
}

TEST_CASE("a client that cannot connect tells what the link has found there") {
  auto own = quick(service_kind::scheduler);
  own.bind = {fresh_address("ipc")};
  recorder scheduler(own);
  const auto made = link::client::connect(scheduler.link.endpoints().front(), 2s, quick(service_kind::client));
  REQUIRE_FALSE(made);
  CHECK(made.error().message.find("is a scheduler, not a gateway") != std::string::npos);
}

TEST_CASE("callbacks run on the client's own thread, may throw, and may not wait") {
  recorder gateway(gateway_at(fresh_address("ipc")), echo);
  auto client = client_of(gateway);
  std::promise<std::thread::id> first, second;
  std::promise<errc> inside;
  client->submit(request(0), 10s, [&](const protocol::outcome&) {
    first.set_value(std::this_thread::get_id());
    inside.set_value(client->infer(request(0), 10s).result.error().code);
    throw std::runtime_error("thrown");
  });
  client->post([&] { second.set_value(std::this_thread::get_id()); });
  CHECK(first.get_future().get() == second.get_future().get());
  CHECK(inside.get_future().get() == errc::invalid_argument);
  CHECK(client->infer(request(0), 10s).result);
}

TEST_CASE("a client of two gateways goes on when one is lost") {
  auto first = std::make_unique<recorder>(gateway_at(fresh_address("ipc")), echo);
  recorder second(gateway_at(fresh_address("ipc")), echo);
  link::client_policy policy;
  policy.waits = policy.retries = true;
  auto made = link::client::connect({first->link.endpoints().front(), second.link.endpoints().front()}, 10s, policy,
                                    quick(service_kind::client));
  REQUIRE(made);
  REQUIRE(first->wait_for_up(1));
  REQUIRE(second.wait_for_up(1));
  auto& client = **made;
  std::vector<std::promise<protocol::outcome>> ended(10);
  for (auto& each : ended)
    client.submit(request(0), 30s, [&](protocol::outcome outcome) { each.set_value(std::move(outcome)); });
  first.reset();
  for (auto& each : ended) CHECK(each.get_future().get().result);
  CHECK(client.infer(request(0), 10s).result);
}

TEST_CASE("a client that is closed ends what is in flight") {
  recorder gateway(gateway_at(fresh_address("ipc")), echo);
  auto client = client_of(gateway);
  std::promise<protocol::outcome> ended;
  auto silent = request(0);
  silent.model = "silent";
  client->submit(silent, 60s, [&](protocol::outcome outcome) { ended.set_value(std::move(outcome)); });
  client.reset();
  CHECK(ended.get_future().get().result.error().code == errc::cancelled);
}

}  // namespace
}  // namespace shoal::test
