#include "services/mesh/bench/search.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

/// A server of one queue whose latency grows as it fills: 5 ms / (1 - rate / capacity).
struct queueing {
  double capacity;
  std::vector<double> tried;
  std::optional<bool> operator()(double rate) {
    tried.push_back(rate);
    return rate < capacity && 5 / (1 - rate / capacity) < 100;
  }
};

}  // namespace

TEST_CASE("the highest rate that is borne is found within 5%, from below and from above") {
  for (const auto first : {1.0, 10.0, 94.9, 5000.0}) {
    queueing server{100, {}};
    const auto found = find_highest(first, std::ref(server));
    CHECK(found <= 95);
    CHECK(found >= 95 / 1.05);
    CHECK(server.tried.size() < 20);
    CHECK(server.tried.front() == first);
  }
}

TEST_CASE("a server that bears nothing is found out, and one that bears all") {
  CHECK(find_highest(10, [](double) { return false; }) == 0);
  CHECK(find_highest(10, [](double) { return true; }) > 5e5);
}

TEST_CASE("a search that is stopped has the best so far") {
  int tries = 0;
  const auto found = find_highest(10, [&](double) -> std::optional<bool> {
    if (++tries > 3) return std::nullopt;
    return true;
  });
  CHECK(found == 40);
}

TEST_CASE("a run bears its rate if its latency is below the bound and fewer than 1% failed") {
  const auto wanted = *read_bound("p99<200ms");
  result ran;
  ran.streams.resize(1);
  auto& count = ran.streams[0];
  CHECK_FALSE(bears(ran, wanted));  // nothing was answered
  for (int i = 0; i < 1000; ++i) count.latency.record(i < 985 ? 10ms : 199ms);
  count.sent = count.ok = 1000;
  CHECK(bears(ran, wanted));
  CHECK(bears(ran, *read_bound("mean<13ms")));
  CHECK_FALSE(bears(ran, *read_bound("p99<199ms")));
  count.sent = 1010;
  count.no_outcome = 10;
  CHECK(bears(ran, wanted));
  count.sent = 1011;
  count.fail(errc::overloaded, "full");
  CHECK_FALSE(bears(ran, wanted));
}
