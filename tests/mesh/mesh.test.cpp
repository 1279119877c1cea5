// Several services as real processes: answers, deadlines, bounds, and the end of each of them.
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>

#include <doctest/doctest.h>

#include "mesh/services.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

protocol::infer identity_request(std::int64_t rows, std::int64_t width, float first = 0) {
  protocol::infer request;
  request.model = "identity";
  request.inputs = {matrix(rows, width, "x", first)};
  return request;
}

bool is_same(const protocol::outcome& outcome, const protocol::infer& asked) {
  if (!outcome.result || outcome.result->size() != 1) return false;
  const auto& x = asked.inputs.front();
  const auto& y = outcome.result->front();
  return y.name == "y" && y.dims == x.dims && y.data.size() == x.data.size() &&
         std::memcmp(x.data.data(), y.data.data(), x.data.size()) == 0;
}

std::string why(const protocol::outcome& outcome) {
  return outcome.result ? "an answer" : outcome.result.error().message;
}

}  // namespace

TEST_CASE("separate processes answer what was asked, whether the payload rides along, is fetched, or comes in pieces") {
  services mesh;
  mesh.start();
  auto client = mesh.connect();
  for (const auto& [rows, width] : {std::pair{1, 16}, {4, 256}, {16, 16384 / 16 * 16}, {300, 4096}, {1024, 4096}}) {
    const auto request = identity_request(rows, width);
    const auto outcome = client->infer(request, 10s);
    INFO(rows << " x " << width << ": " << why(outcome));
    CHECK(is_same(outcome, request));
  }
}

TEST_CASE("a bad request has its own error and the mesh goes on") {
  services mesh;
  mesh.start();
  auto client = mesh.connect();
  auto request = identity_request(2, 2);
  request.model = "nothing";
  CHECK(client->infer(request, 5s).result.error().code == errc::not_found);
  request = identity_request(2, 2);
  request.inputs[0].name = "z";
  CHECK(client->infer(request, 5s).result.error().code == errc::invalid_argument);
  request = identity_request(2, 2);
  request.inputs[0].type = dtype::int32;
  CHECK(client->infer(request, 5s).result.error().code == errc::invalid_argument);
  request = identity_request(2, 2);
  request.inputs.clear();
  CHECK(client->infer(request, 5s).result.error().code == errc::invalid_argument);
  request = identity_request(2, 2);
  CHECK(is_same(client->infer(request, 5s), request));
}

TEST_CASE("without a worker a request ends at its deadline, not later") {
  services mesh;
  mesh.start();
  auto client = mesh.connect();
  mesh.worker(0).kill();
  const auto begin = steady::now();
  const auto outcome = client->infer(identity_request(1, 4), 500ms);
  const auto took = steady::now() - begin;
  CHECK(outcome.result.error().code == errc::deadline_exceeded);
  CHECK(took >= 500ms);
  CHECK(took <= 750ms);
}

TEST_CASE("requests in flight survive the scheduler: they are handed to it again when it is back") {
  services mesh;
  mesh.start();
  auto client = mesh.connect();
  mesh.scheduler().kill();
  const auto request = identity_request(1, 4);
  std::optional<protocol::outcome> outcome;
  std::mutex mutex;
  std::condition_variable arrived;
  client->submit(request, 10s, [&](protocol::outcome o) {
    std::lock_guard lock(mutex);
    outcome = std::move(o);
    arrived.notify_all();
  });
  mesh.start_scheduler();
  std::unique_lock lock(mutex);
  REQUIRE(arrived.wait_for(lock, 12s, [&] { return outcome.has_value(); }));
  INFO(why(*outcome));
  CHECK(is_same(*outcome, request));
}

TEST_CASE("a service that is asked to end finishes what is in flight and exits with 0") {
  services mesh;
  mesh.start();
  auto client = mesh.connect();
  std::atomic<int> answered{0};
  std::atomic<int> failed_otherwise{0};
  constexpr int count = 200;
  for (int i = 0; i < count; ++i)
    client->submit(identity_request(1, 1024, static_cast<float>(i)), 10s, [&](const protocol::outcome& outcome) {
      if (outcome.result)
        ++answered;
      else if (outcome.result.error().code != errc::unavailable)
        ++failed_otherwise;
    });
  // One answer proves that they have arrived: the SDK's messages keep their order.
  REQUIRE(client->infer(identity_request(1, 4), 10s).result);
  mesh.gateway().signal(SIGTERM);
  CHECK(mesh.gateway().wait(15s) == 0);
  CHECK(answered == count);
  CHECK(failed_otherwise == 0);
  mesh.worker(0).signal(SIGTERM);
  CHECK(mesh.worker(0).wait(15s) == 0);
  mesh.scheduler().signal(SIGTERM);
  CHECK(mesh.scheduler().wait(15s) == 0);
}
