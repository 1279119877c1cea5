#include "services/mesh/bench/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <doctest/doctest.h>

using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

std::vector<std::uint64_t> latencies(std::size_t count) {
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> values;
  for (std::size_t i = 0; i < count; ++i) {  // over the whole range, evenly in the logarithm
    const auto u = static_cast<double>(random() >> 11) * 0x1p-53;
    values.push_back(static_cast<std::uint64_t>(std::exp(u * std::log(3.6e9))));
  }
  return values;
}

}  // namespace

TEST_CASE("percentiles are those of the sorted values to three digits, over the whole range") {
  auto values = latencies(20'000);
  histogram counted;
  for (const auto each : values) counted.record_us(each);
  std::sort(values.begin(), values.end());
  for (const auto p : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    CAPTURE(p);
    const auto exact = values[static_cast<std::size_t>(std::ceil(p / 100 * 20'000 - 1e-6)) - 1];
    CHECK(counted.percentile(p) >= exact);
    CHECK(static_cast<double>(counted.percentile(p)) <= static_cast<double>(exact) * 1.001);
  }
  CHECK(counted.percentile(100) == values.back());
  CHECK(counted.max() == values.back());
  CHECK(counted.min() == values.front());
  CHECK(counted.count() == 20'000);
}

TEST_CASE("every value falls into a bucket that begins at or before it and is no wider than a thousandth of it") {
  for (std::uint64_t value = 1; value < 3'000'000'000; value = value + value / 7 + 1) {
    for (const auto each : {value, value ^ 1}) {
      if (each == 0) continue;
      histogram one;
      one.record_us(each);
      const auto buckets = one.buckets();
      REQUIRE(buckets.size() == 1);
      CHECK(buckets[0].first <= each);
      CHECK(each - buckets[0].first <= each / 1000);
    }
  }
}

TEST_CASE("up to 2 ms a microsecond is a microsecond") {
  for (std::uint64_t value = 1; value < 2048; ++value) {
    histogram one;
    one.record_us(value);
    CHECK(one.buckets().front() == std::pair(value, std::uint64_t{1}));
  }
}

TEST_CASE("two histograms merged are the one of all values") {
  const auto values = latencies(5'000);
  histogram all, left, right;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.record_us(values[i]);
    (i % 3 == 0 ? left : right).record_us(values[i]);
  }
  left.merge(right);
  left.merge(histogram{});
  CHECK(left.buckets() == all.buckets());
  CHECK(left.count() == all.count());
  CHECK(left.mean() == doctest::Approx(all.mean()));
  CHECK(left.min() == all.min());
  CHECK(left.max() == all.max());
  histogram empty;
  empty.merge(all);
  CHECK(empty.min() == all.min());
}

TEST_CASE("what is outside of the range counts at its end, and nothing is zero") {
  histogram counted;
  CHECK(counted.percentile(99) == 0);
  CHECK(counted.mean() == 0);
  counted.record(0ns);
  CHECK(counted.max() == 1);
  counted.record(-5ms);
  CHECK(counted.max() == 1);
  counted.record(48h);
  CHECK(counted.max() == histogram::highest);
  counted.clear();
  CHECK(counted.count() == 0);
  CHECK(counted.buckets().empty());
}
