#include "services/mesh/bench/arrivals.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

std::vector<nanoseconds> take(arrivals& from, std::size_t count) {
  std::vector<nanoseconds> all;
  while (all.size() < count) {
    const auto next = from.next();
    if (!next) break;
    all.push_back(*next);
  }
  return all;
}

}  // namespace

TEST_CASE("Poisson arrivals have the rate's mean gap, and gaps spread like an exponential's") {
  const auto due = take(*poisson_arrivals(200, 1), 50'000);
  double sum = 0, squares = 0;
  for (std::size_t i = 1; i < due.size(); ++i) {
    CHECK_MESSAGE(due[i] >= due[i - 1], i);
    const auto gap = std::chrono::duration<double>(due[i] - due[i - 1]).count();
    sum += gap;
    squares += gap * gap;
  }
  const auto mean = sum / static_cast<double>(due.size() - 1);
  CHECK(mean == doctest::Approx(1.0 / 200).epsilon(0.02));
  const auto deviation = std::sqrt(squares / static_cast<double>(due.size() - 1) - mean * mean);
  CHECK(deviation / mean == doctest::Approx(1).epsilon(0.03));
}

TEST_CASE("a seed is a schedule: the same again, and another for another") {
  CHECK(take(*poisson_arrivals(50, 3), 1000) == take(*poisson_arrivals(50, 3), 1000));
  CHECK(take(*poisson_arrivals(50, 3), 1000) != take(*poisson_arrivals(50, 4), 1000));
  // The first of the standard's mt19937_64 with seed 1 is 2469588189546311528: u = 0.133877, -ln(1 - u) = 0.143727.
  CHECK(take(*poisson_arrivals(1, 1), 1)[0].count() / 1000 == 143'727);
}

TEST_CASE("constant arrivals do not drift") {
  const auto due = take(*constant_arrivals(3), 3001);
  CHECK(due[0] == 0ns);
  CHECK(due[3] == 1s);
  CHECK(due[3000] == 1000s);
}

TEST_CASE("a trace is played at its own times, or stretched to a rate") {
  const auto trace = std::make_shared<const std::vector<nanoseconds>>(std::vector<nanoseconds>{0s, 1s, 2s, 4s});
  CHECK(mean_rate(*trace) == doctest::Approx(0.75));
  CHECK(take(*recorded_arrivals(trace, 0), 9) == *trace);
  CHECK(take(*recorded_arrivals(trace, 7.5), 9) == std::vector<nanoseconds>{0ms, 100ms, 200ms, 400ms});
}

TEST_CASE("a trace is read from seconds per line, or from wall times in a column TIMESTAMP") {
  test::temporary_folder folder;
  const auto plain = folder.write("plain", "0\n0.5\r\n\n1e1\n");
  const auto seconds = read_arrivals(plain);
  REQUIRE(seconds);
  CHECK(*seconds == std::vector<nanoseconds>{0s, 500ms, 10s});
  const auto csv = folder.write("trace.csv",
                                "TIMESTAMP,ContextTokens\n2023-11-16 23:59:59.9799600,4808\n2023-11-17 "
                                "00:00:00.0319600,3180\n2023-11-17T00:00:01+00:00,1\n");
  const auto walls = read_arrivals(csv);
  REQUIRE_MESSAGE(walls, (walls ? "" : walls.error().message));
  CHECK(*walls == std::vector<nanoseconds>{0s, 52ms, 1020040us});
}

TEST_CASE("a trace that is none is refused with its line") {
  test::temporary_folder folder;
  CHECK(read_arrivals(folder.path() / "missing").error().code == errc::not_found);
  for (const auto& [text, line] : {std::pair("0\nsoon\n", ":2:"), std::pair("0\n2\n1\n", ":3:"),
                                   std::pair("-1\n", ":1:"), std::pair("nan\n", ":1:"), std::pair("inf\n", ":1:"),
                                   std::pair("A,TIMESTAMP\n1,2023-13-40 00:00:00\n", ":2:")}) {
    CAPTURE(text);
    const auto read = read_arrivals(folder.write("trace", text));
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
    CHECK(read.error().message.find(line) != std::string::npos);
  }
  CHECK_FALSE(read_arrivals(folder.write("empty", "")));
}
