// Services are told to end while a mesh is busy: what is in flight is finished, and who asks next is served by the
// others. Where nobody is left to serve, the refusal says so.
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/disturbed_load.hpp"
#include "mesh/http_load.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "mesh/services.hpp"
#include "unit/http/raw_client.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

template <class Condition>
bool comes_true(Condition condition, milliseconds most = 20s) {
  const auto until = steady::now() + most;
  while (steady::now() < until) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return condition();
}

/// A mesh of processes under a load through all its doors: two C++ clients and, over HTTP, four.
struct busy_mesh {
  explicit busy_mesh(std::vector<std::string> scale)
      : mesh(std::move(scale)),
        http(http_address(mesh.wait_until_ready())),
        first(connect()),
        second(connect()),
        load(first, references(first, 8), pace_of(1)),
        other_load(second, references(second, 8), pace_of(2)),
        door(http, 4) {
    goes_on();
  }

  [[nodiscard]] client::mesh connect() const {
    std::vector<std::string> gateways{mesh.gateway(1)};
    if (mesh.id_of("gateway-2") > 0) gateways.push_back(mesh.gateway(2));
    auto connected = client::connect(gateways, {.max_in_flight = 100'000});
    REQUIRE(connected);
    return std::move(*connected);
  }
  static disturbed_load::pace pace_of(std::uint64_t seed) {
    // Nothing shall fail for lack of time, however slow the machine.
    return {.between = 10ms, .shortest = 60s, .longest = 60s, .seed = seed, .one_large_in = 25, .one_sentence_in = 5};
  }

  static std::size_t answered(const history& all) {
    std::size_t count = 0;
    for (const auto& each : all) count += each.outcomes > 0 && !each.failure ? 1 : 0;
    return count;
  }
  /// Waits until some more requests, sent from now on, have been answered through every door.
  void goes_on() {
    const auto sent = std::pair(load.so_far().size(), other_load.so_far().size());
    const auto over_http = door.so_far().answered;
    CHECK(comes_true([&] {
      return answered(load.so_far()) > sent.first + 50 && answered(other_load.so_far()) > sent.second + 50 &&
             door.so_far().answered > over_http + 50;
    }));
  }

  /// SIGTERM in the middle of real work: it ends with 0, and is started again.
  void end_in_order(const std::string& name) {
    INFO(name);
    const auto old = mesh.id_of(name);
    REQUIRE(old > 0);
    load.burst(50);
    other_load.burst(50);
    ::kill(old, SIGTERM);
    CHECK(comes_true([&] { return said(name + " (process " + std::to_string(old) + ") ended with exit code 0"); }));
    CHECK(mesh.is_replaced(name, old));
    goes_on();
  }
  [[nodiscard]] bool said(const std::string& what) { return mesh.parent().output().find(what) != std::string::npos; }

  /// Every request has one outcome, the right answer. Returns what HTTP clients met on the way.
  http_load::tally all_are_answered() {
    for (auto* each : {&load, &other_load}) {
      const auto all = each->finish();
      CHECK(answered(all) == all.size());
      for (std::size_t i = 0; i < all.size(); ++i) {
        INFO("request " << i << ": " << all[i].said);
        if (all[i].outcomes != 1 || all[i].failure || !all[i].is_right) FAIL_CHECK("not one right answer");
      }
      MESSAGE(all.size() << " requests of a C++ client");
    }
    const auto met = door.finish();
    MESSAGE(met.sent << " over HTTP; closed while idle " << met.closed_while_idle << ", when new "
                     << met.closed_when_new << ", refused " << met.refused << ", unreachable " << met.unreachable << " "
                     << met.refusal);
    CHECK(met.answered == met.sent);
    for (const auto& each : met.wrong) FAIL_CHECK(each);
    return met;
  }

  mesh_of_processes mesh;
  std::string http;
  client::mesh first, second;
  disturbed_load load, other_load;
  http_load door;
};

void nothing_was_noticed(const http_load::tally& met) {
  CHECK(met.closed_while_idle == 0);
  CHECK(met.closed_when_new == 0);
  CHECK(met.refused == 0);
  CHECK(met.unreachable == 0);
}

}  // namespace

TEST_CASE("each of two workers is told to end under load, and no client notices") {
  busy_mesh busy({"--scale", "worker=2"});
  busy.end_in_order("worker-1");
  busy.end_in_order("worker-2");
  nothing_was_noticed(busy.all_are_answered());
}

TEST_CASE("each of two schedulers is told to end under load, and no client notices") {
  busy_mesh busy({"--scale", "worker=1", "--scale", "scheduler=2"});
  busy.end_in_order("scheduler-1");
  busy.end_in_order("scheduler-2");
  nothing_was_noticed(busy.all_are_answered());
}

TEST_CASE("each of two gateways is told to end under load, and what it has taken is answered") {
  busy_mesh busy({"--scale", "worker=1", "--scale", "gateway=2"});
  busy.end_in_order("gateway-1");
  busy.end_in_order("gateway-2");
  const auto met = busy.all_are_answered();
  // An HTTP client finds the connection that it keeps closed between two requests, once for each gateway at most.
  CHECK(met.closed_while_idle <= 8);
  CHECK(met.closed_when_new == 0);
  CHECK(met.refused == 0);
  CHECK(met.unreachable == 0);
}

TEST_CASE("a gateway that takes long to end draws no new requests: others serve them all meanwhile") {
  mesh_of_processes mesh({"--scale", "worker=1", "--scale", "gateway=2", "--set", "gateway.drain_ms=60000"});
  const auto http = http_address(mesh.wait_until_ready());
  std::atomic<int> left{900}, failed{0};  // as many as may be in flight at a gateway
  auto both = client::connect({mesh.gateway(1), mesh.gateway(2)}, {.max_in_flight = 100'000});
  auto only_one = client::connect(mesh.gateway(1), {.retry_ratio = 0, .retry_reserve = 0, .max_in_flight = 100'000});
  REQUIRE(both);
  REQUIRE(only_one);
  const auto known = references(*both, 8);
  disturbed_load load(*both, known, {.between = 2ms, .shortest = 60s, .longest = 60s, .one_sentence_in = 1000});
  const auto gateway = mesh.id_of("gateway-1");

  for (int i = left; i > 0; --i)
    only_one->infer_async(
        known[1 + static_cast<std::size_t>(i) % 8].request,
        [&](const client::expected<client::result>& came) {
          if (!came) ++failed;
          --left;
        },
        {.deadline = 60s, .priority = client::priority::batch});
  // One answer tells that all of them have arrived: messages keep their order.
  const auto arrived = only_one->infer(known[0].request, {.deadline = 60s, .priority = client::priority::critical});
  REQUIRE_MESSAGE(arrived, arrived.error().message);
  ::kill(gateway, SIGTERM);
  std::size_t refused = 0, answered = 0;
  while (mesh.id_of("gateway-1") == gateway && left > 0) {
    raw_client fresh(http);
    const auto reply = fresh.ask("GET /v2/health/ready HTTP/1.1\r\n\r\n");
    (reply.status == 200 ? answered : refused) += 1;
    std::this_thread::sleep_for(5ms);
  }
  const auto all = load.finish();
  std::size_t bad = 0;
  std::string said;
  for (const auto& each : all)
    if (each.failure) ++bad, said = each.said;
  std::string figures;
  for (const auto& each : both->figures())
    if (each.name.starts_with("client_")) figures += " " + each.name + "=" + std::to_string(each.value);
  MESSAGE(all.size() << " bad " << bad << " " << said << " left " << left << " failed " << failed << figures << " fresh "
                     << answered << " refused " << refused);
  CHECK(bad == 0);
  CHECK(refused == 0);
  CHECK(comes_true([&] { return left == 0; }, 60s));
  CHECK(failed == 0);
}
