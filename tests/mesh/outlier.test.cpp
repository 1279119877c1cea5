// A worker that is much slower than its like is given no work for a while, tried with one batch, and back when it is
// as fast as they are.
#include <atomic>
#include <csignal>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/disturbed_load.hpp"
#include "mesh/services.hpp"
#include "mesh/wait_until.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

/// Lets a process run for a tenth of the time, until it is destroyed.
class slowed {
 public:
  explicit slowed(process& which) : which_(which) {
    thread_ = std::thread([this] {
      while (!ends_) {
        which_.signal(SIGSTOP);
        std::this_thread::sleep_for(180ms);
        which_.signal(SIGCONT);
        std::this_thread::sleep_for(20ms);
      }
    });
  }
  ~slowed() {
    ends_ = true;
    thread_.join();
  }

 private:
  process& which_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

double figure_at(const std::string& address, const std::string& name) {
  const auto all = raw_client(address).ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body;
  const auto value = word_after(all, "\n" + name + " ");
  return value.empty() ? -1 : std::stod(value);
}

}  // namespace

TEST_CASE("a slow worker loses its traffic and has it again when it has recovered") {
  services mesh({{"worker", {"--set", "worker.metrics=127.0.0.1:0", "--set", "worker.threads=1"}},
                 {"scheduler", {"--set", "scheduler.metrics=127.0.0.1:0"}}});
  mesh.start();
  mesh.start_worker();
  const auto address_of = [](process& service) {
    return word_after(service.wait_for_line_with("metrics and health at http://", 10s), "http://");
  };
  const auto slow = address_of(mesh.worker(0));
  const auto other = address_of(mesh.worker(1));
  const auto scheduler = address_of(mesh.scheduler());
  const auto batches = [](const std::string& of) { return figure_at(of, "shoal_worker_batches_total"); };
  const auto ejections = [&] { return figure_at(scheduler, "shoal_scheduler_ejections_total"); };

  auto client = client::connect(mesh.endpoint());
  REQUIRE(client);
  const auto known = references(*client, 8);
  std::atomic<bool> ends{false};
  std::atomic<int> failed{0};
  std::vector<std::thread> askers;
  // As many at a time as keep both workers busy.
  for (std::size_t t = 0; t < 12; ++t)
    askers.emplace_back([&, t] {
      for (std::size_t i = t; !ends; ++i) {
        const auto& one = known[1 + i % (known.size() - 1)];
        const auto came = client->infer(one.request, {.deadline = 60s});
        failed += came && is_equal(*came, one.answer) ? 0 : 1;
      }
    });
  const auto gains = [&](const std::string& of, double more) {
    return comes_true([&, before = batches(of)] { return batches(of) >= before + more; }, 60s);
  };
  // Both have been measured at their usual pace.
  CHECK(gains(slow, 100));
  CHECK(gains(other, 100));
  {
    const slowed slowly(mesh.worker(0));
    CHECK(comes_true([&] { return ejections() >= 1; }, 60s));
  }
  CHECK(mesh.scheduler().output().find("is given no work for a while: it is much slower") != std::string::npos);
  // A second in which it was given nothing, though the other was.
  CHECK(comes_true([&] {
    const auto before = std::pair(batches(slow), batches(other));
    std::this_thread::sleep_for(1s);
    return batches(slow) == before.first && batches(other) > before.second;
  }));
  CHECK(!mesh.scheduler().wait_for_line_with("is tried again", 60s).empty());
  CHECK(gains(slow, 50));
  CHECK(gains(other, 50));
  ends = true;
  for (auto& each : askers) each.join();
  CHECK(failed == 0);
}
