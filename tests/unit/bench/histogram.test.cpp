#include "services/mesh/bench/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace shoal;
using services::bench::histogram;
using namespace std::chrono_literals;

TEST_CASE("percentiles are right to 0.8%, whatever the distribution, and merging is adding") {
  std::mt19937_64 random(3);
  std::lognormal_distribution<double> latency(8, 2);
  histogram whole, one, other;
  std::vector<std::int64_t> exact;
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::min<std::int64_t>(static_cast<std::int64_t>(latency(random)), 3'600'000'000);
    exact.push_back(value);
    whole.add(microseconds(value));
    (i % 3 == 0 ? one : other).add(microseconds(value));
  }
  std::sort(exact.begin(), exact.end());
  one.merge(other);
  CHECK(one.count() == whole.count());
  for (const auto q : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    CAPTURE(q);
    const auto rank = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(q * 100'000)));
    const auto truth = static_cast<double>(exact[rank - 1]);
    const auto told = static_cast<double>(whole.quantile(q).count());
    CHECK(told >= truth);
    CHECK(told <= truth * 1.008 + 1);
    CHECK(one.quantile(q) == whole.quantile(q));
  }
  CHECK(whole.largest().count() == exact.back());
}

TEST_CASE("nothing, one value, and values out of range") {
  histogram times;
  CHECK(times.quantile(0.99) == 0us);
  CHECK(times.mean_us() == 0);
  times.add(-5us);
  CHECK(times.quantile(1) == 0us);
  times.add(100h);
  CHECK(times.largest() == 1h);
  CHECK(times.quantile(0.5) == 0us);
  CHECK(times.quantile(1) == 1h);
}
