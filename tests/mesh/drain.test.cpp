// Services are told to end while a mesh is busy: what is in flight is finished, and who asks next is served by the
// others. Where nobody is left to serve, the refusal says so.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/disturbed_load.hpp"
#include "mesh/http_load.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "mesh/services.hpp"
#include "mesh/wait_until.hpp"
#include "unit/http/raw_client.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

/// Of each load: a machine that is slow for a while shall not be overloaded, which would be refused.
constexpr std::size_t in_flight = 64;

/// With the right answer, and once.
std::size_t answered(const history& all) {
  std::size_t count = 0;
  for (const auto& each : all) count += each.outcomes == 1 && !each.failure && each.is_right ? 1 : 0;
  return count;
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
    auto connected = client::connect(gateways, {.max_in_flight = in_flight});
    REQUIRE(connected);
    return std::move(*connected);
  }
  static disturbed_load::pace pace_of(std::uint64_t seed) {
    // Nothing shall fail for lack of time, however slow the machine.
    return {.between = 10ms, .shortest = 60s, .longest = 60s, .seed = seed, .one_large_in = 25, .one_sentence_in = 5};
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
    CHECK(mesh.is_replaced(name, old, 30s));
    goes_on();
  }
  [[nodiscard]] bool said(const std::string& what) { return mesh.parent().output().find(what) != std::string::npos; }

  /// Every request has one outcome, the right answer. Returns what HTTP clients met on the way.
  http_load::tally all_are_answered() {
    for (auto* each : {&load, &other_load}) {
      const auto all = each->finish();
      CHECK(answered(all) == all.size());
      for (const auto& each : all)
        if (each.failure) FAIL_CHECK(each.said);
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
  busy_mesh busy({"--threads", "1", "--scale", "worker=2"});
  busy.end_in_order("worker-1");
  busy.end_in_order("worker-2");
  nothing_was_noticed(busy.all_are_answered());
}

TEST_CASE("each of two schedulers is told to end under load, and no client notices") {
  busy_mesh busy({"--threads", "1", "--scale", "worker=1", "--scale", "scheduler=2"});
  busy.end_in_order("scheduler-1");
  busy.end_in_order("scheduler-2");
  nothing_was_noticed(busy.all_are_answered());
}

TEST_CASE("each of two gateways is told to end under load, and what it has taken is answered") {
  busy_mesh busy({"--threads", "1", "--scale", "worker=1", "--scale", "gateway=2"});
  busy.end_in_order("gateway-1");
  busy.end_in_order("gateway-2");
  const auto met = busy.all_are_answered();
  // An HTTP client may find the connection that it keeps closed between two requests, or one that it has just opened,
  // once for each gateway.
  CHECK(met.closed_while_idle + met.closed_when_new <= 8);
  CHECK(met.refused == 0);
  CHECK(met.unreachable == 0);
}

TEST_CASE("a gateway that takes long to end draws no new requests: others serve them all meanwhile") {
  mesh_of_processes mesh(
      {"--threads", "1", "--scale", "worker=1", "--scale", "gateway=2", "--set", "gateway.drain_ms=60000"});
  const auto http = http_address(mesh.wait_until_ready());
  auto both = client::connect({mesh.gateway(1), mesh.gateway(2)}, {.max_in_flight = in_flight});
  auto only_one = client::connect(mesh.gateway(1), {.retry_ratio = 0, .retry_reserve = 0});
  REQUIRE(both);
  REQUIRE(only_one);
  const auto known = references(*both, 8);
  disturbed_load load(*both, known, {.between = 2ms, .shortest = 60s, .longest = 60s, .one_sentence_in = 1000});
  const auto gateway = mesh.id_of("gateway-1");

  std::vector<std::future<client::expected<client::result>>> taken;
  const auto of = [&](std::size_t i) -> const reference& { return known[1 + i % (known.size() - 1)]; };
  for (std::size_t i = 0; i < 900; ++i)  // as many as may be in flight at a gateway, and some less
    taken.push_back(only_one->infer_async(of(i).request, {.deadline = 10min}));
  // One answer tells that all of them have arrived: messages keep their order.
  const auto arrived = only_one->infer(known[0].request, {.deadline = 60s, .priority = client::priority::critical});
  REQUIRE_MESSAGE(arrived, arrived.error().message);
  ::kill(gateway, SIGTERM);
  int served = 0, reset = 0;
  while (mesh.id_of("gateway-1") == gateway) {
    raw_client fresh(http);
    const auto reply = fresh.ask("GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n");
    // One that the system had made for the door, but not handed over before it closed, is reset.
    if (reply.status == 0)
      ++reset;
    else
      CHECK_MESSAGE(reply.status == 200, reply.body);
    served += reply.status == 200 ? 1 : 0;
    std::this_thread::sleep_for(5ms);
  }
  CHECK(served > 0);
  CHECK(reset <= 2);
  const auto all = load.finish();
  CHECK(answered(all) == all.size());
  for (const auto& each : all)
    if (each.failure) FAIL_CHECK(each.said);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto came = taken[i].get();
    REQUIRE_MESSAGE(came, came.error().message);
    CHECK(is_equal(*came, of(i).answer));
  }
}

TEST_CASE("answers larger than what is under way at a time survive the end of their worker and of their gateway") {
  services mesh;
  mesh.start();
  mesh.start_worker();
  auto client = mesh.connect();
  const auto http = word_after(mesh.gateway().wait_for_line_with("HTTP at http://", 5s), "http://");
  std::atomic<int> right{0}, wrong{0};
  protocol::infer large;
  large.model = "identity";
  large.inputs = {matrix(1024, 6 << 10, "x", 3)};  // 24 MiB
  constexpr int count = 3;
  for (int i = 0; i < count; ++i)
    client->submit(large, 60s, [&](const protocol::outcome& outcome) {
      const auto& x = large.inputs.front().data;
      const bool same = outcome.result && outcome.result->front().data.size() == x.size() &&
                        std::memcmp(outcome.result->front().data.data(), x.data(), x.size()) == 0;
      ++(same ? right : wrong);
    });
  const auto arrived = [&] {
    const auto figures = raw_client(http).ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body;
    return right + std::atoi(word_after(figures, "\nshoal_gateway_requests_in_flight ").c_str()) >= count;
  };
  REQUIRE(comes_true(arrived));
  mesh.worker(0).signal(SIGTERM);
  CHECK(mesh.worker(0).wait(20s) == 0);
  mesh.gateway().signal(SIGTERM);
  CHECK(mesh.gateway().wait(20s) == 0);
  CHECK(comes_true([&] { return right + wrong == count; }));
  CHECK(right == count);
}

TEST_CASE("a worker, a scheduler and a gateway that joined a mesh leave it again under load, and no client notices") {
  busy_mesh busy({"--threads", "1", "--scale", "worker=1"});
  const auto run = busy.mesh.run();
  const auto start = [&](const std::string& service, std::vector<std::string> settings) {
    std::vector<std::string> command{executable("shoal-" + service)};
    settings.push_back("metrics=");
    for (const auto& setting : settings) command.insert(command.end(), {"--set", service + "." + setting});
    return process(command, busy.mesh.folder() / (service + ".log"));
  };
  auto scheduler = start("scheduler", {"listen=ipc://" + run + "/scheduler-9", "profiles="});
  auto worker = start("worker", {"models=" + models_folder(), "schedulers=ipc://" + run + "/scheduler-*",
                                 "gateways=ipc://" + run + "/gateway-*"});
  auto gateway = start("gateway", {"listen=ipc://" + run + "/gateway-9", "schedulers=ipc://" + run + "/scheduler-*",
                                   "http=127.0.0.1:0", "grpc="});
  // It serves once it can be asked; by then the others have joined too.
  auto client = client::connect("ipc://" + run + "/gateway-9", {.connect_within = 20s, .max_in_flight = in_flight});
  REQUIRE(client);
  disturbed_load load(*client, references(*client, 8), busy_mesh::pace_of(3));
  const auto joined = [&](const std::string& service) {
    const auto all = client->status();
    return all && std::count_if(all->begin(), all->end(), [&](const auto& each) { return each.kind == service; }) == 2;
  };
  CHECK(comes_true([&] { return joined("worker") && joined("scheduler"); }));
  busy.goes_on();
  for (auto* each : {&worker, &scheduler}) {
    busy.load.burst(50);
    each->signal(SIGTERM);
    CHECK_MESSAGE(each->wait(15s) == 0, each->output());
    busy.goes_on();
  }
  load.burst(50);
  const auto all = load.finish();  // its clients know no other gateway
  gateway.signal(SIGTERM);
  CHECK_MESSAGE(gateway.wait(15s) == 0, gateway.output());
  CHECK(answered(all) == all.size());
  nothing_was_noticed(busy.all_are_answered());
}

TEST_CASE("a mesh of one process is told to end under load: what it has taken is answered, the rest is refused") {
  scratch_folder folder;
  process mesh({executable("shoal"), "up", "--models", models_folder(), "--http", "127.0.0.1:0", "--grpc",
                "127.0.0.1:0", "--native", "ipc://" + folder / "gateway", "--workers", "1", "--threads", "1", "--set",
                "gateway.drain_ms=60000"},
               folder / "up.log");
  const auto ready = mesh.wait_for_line("ready", 60s);
  REQUIRE_MESSAGE(!ready.empty(), mesh.output());
  const auto http = http_address(ready);
  auto sdk = client::connect("ipc://" + folder / "gateway");
  REQUIRE(sdk);
  auto known = references(*sdk, 8);
  // Without retries, so that refusals are seen.
  auto plain =
      client::connect("ipc://" + folder / "gateway",
                      {.wait_for_gateway = false, .retry_ratio = 0, .retry_reserve = 0, .max_in_flight = in_flight});
  REQUIRE(plain);
  std::vector<std::future<client::expected<client::result>>> taken;
  const auto of = [&](std::size_t i) -> const reference& { return known[1 + i % (known.size() - 1)]; };
  for (std::size_t i = 0; i < 900; ++i) taken.push_back(sdk->infer_async(of(i).request, {.deadline = 10min}));
  REQUIRE(sdk->infer(known.front().request, {.deadline = 60s, .priority = client::priority::critical}));
  disturbed_load going_on(*plain, known, {.between = 5ms, .shortest = 60s, .longest = 60s});
  raw_client kept(http);
  const std::string ask = "GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n";
  CHECK(kept.ask(ask).status == 200);
  mesh.signal(SIGTERM);
  std::string refusal;
  CHECK(comes_true([&] {
    const auto reply = kept.ask(identity_post(1));
    if (reply.status == 503) refusal = reply.body;
    return reply.status != 200;
  }));
  CHECK(refusal.find("this gateway is shutting down") != std::string::npos);
  CHECK_MESSAGE(mesh.wait(60s) == 0, mesh.output());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto came = taken[i].get();
    REQUIRE_MESSAGE(came, came.error().message << "\n" << mesh.output());
    CHECK(is_equal(*came, of(i).answer));
  }
  const auto all = going_on.finish();
  std::size_t refused = 0;
  for (const auto& each : all) {
    CHECK(each.outcomes == 1);
    if (!each.failure) {
      CHECK(each.is_right);
      continue;
    }
    INFO(each.said);
    CHECK(*each.failure == errc::unavailable);
    ++refused;
    const bool is_clear = each.said.find("this gateway is shutting down") != std::string::npos ||
                          each.said.find("the gateway is gone") != std::string::npos ||
                          each.said.find("cannot be reached") != std::string::npos;
    CHECK(is_clear);
  }
  CHECK(refused > 0);
}
