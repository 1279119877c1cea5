#include "core/metrics.hpp"

#include <doctest/doctest.h>

using namespace shoal;

using figures = std::vector<std::pair<std::string, double>>;

TEST_CASE("a snapshot holds counters and gauges by name and label, sorted, without histograms") {
  metrics all;
  all.gauge("shoal_z", "depth").Set(-2.5);
  all.counter("shoal_a_total", "things", {{"outcome", "ok"}}).Increment(3);
  all.counter("shoal_a_total", "things", {{"outcome", "bad"}}).Increment();
  all.seconds("shoal_b_seconds", "time").Observe(0.2);
  CHECK(all.snapshot() ==
        figures{{"shoal_a_total{outcome=bad}", 1}, {"shoal_a_total{outcome=ok}", 3}, {"shoal_z", -2.5}});
}

TEST_CASE("asking for a figure twice gives the same one") {
  metrics all;
  auto& first = all.counter("shoal_a_total", "things");
  auto& second = all.counter("shoal_a_total", "things");
  CHECK(&first == &second);
  second.Increment();
  CHECK(all.snapshot() == figures{{"shoal_a_total", 1}});
}
