#include "services/mesh/bench/plan.hpp"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

bench_options typed() {
  bench_options options;
  options.models = {"m"};
  options.rates = {"10"};
  return options;
}

std::string refusal(const bench_options& options) {
  const auto read = read_plan(options);
  REQUIRE_FALSE(read);
  return read.error().message;
}

bool names(const std::string& message, const char* what) { return message.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("rates are numbers above 0, or a row of them") {
  CHECK(*read_rates({"10", "20.5"}) == std::vector{10.0, 20.5});
  CHECK(*read_rates({"10:40:4"}) == std::vector{10.0, 20.0, 30.0, 40.0});
  for (const auto* bad :
       {"0", "-1", "nan", "inf", "1e9", "", "10x", "1:2", "1:2:1", "1:2:1.5", "0:2:3", "1:2:3:4", "1:2:1000"}) {
    CAPTURE(bad);
    const auto read = read_rates({bad});
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
    CHECK(names(read.error().message, "--rate"));
  }
}

TEST_CASE("a bound names a latency and a time") {
  const auto p99 = read_bound("p99<200ms");
  REQUIRE(p99);
  CHECK(p99->p == 99);
  CHECK(p99->us == 200'000);
  CHECK(read_bound("p99.9<1.5s")->us == 1'500'000);
  CHECK(read_bound("mean<80us")->of == "mean");
  for (const auto* bad : {"", "p99", "p98<1s", "p99<", "p99<0ms", "p99<-1ms", "p99<nanms", "p99<200", "p99>200ms"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_bound(bad));
  }
}

TEST_CASE("a plan that makes no sense is refused with the option's name") {
  auto options = typed();
  options.models.clear();
  CHECK(names(refusal(options), "--model"));
  options = typed();
  options.rates.clear();
  CHECK(names(refusal(options), "--rate"));
  options = typed();
  options.closed = 8;
  CHECK(names(refusal(options), "--closed"));
  for (const auto wrong : {std::int64_t{-1}, std::int64_t{100'001}}) {
    options = typed();
    options.rates.clear();
    options.closed = wrong;
    CHECK(names(refusal(options), "from 1 to 100000"));
  }
  options = typed();
  options.seed = -1;
  CHECK(names(refusal(options), "--seed"));
  options = typed();
  options.rates = {"1", "2"};
  options.search = "p99<1s";
  CHECK(names(refusal(options), "--search"));
  options = typed();
  options.requests.file = "a";
  options.requests.lengths = "b";
  CHECK(names(refusal(options), "--requests"));
  options = typed();
  options.arrivals = "/nowhere/at/all";
  CHECK(names(refusal(options), "--arrivals"));
  CHECK(read_plan(options).error().code == errc::not_found);
  for (const auto wrong : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e12}) {
    options = typed();
    options.duration = wrong;
    CHECK(names(refusal(options), "--duration"));
    if (wrong == 0) continue;
    options = typed();
    options.warmup = wrong;
    CHECK(names(refusal(options), "--warmup"));
    options = typed();
    options.drain = wrong;
    CHECK(names(refusal(options), "--drain"));
    options = typed();
    options.deadline_ms = wrong;
    CHECK(names(refusal(options), "--deadline"));
  }
}

TEST_CASE("a plan has what was typed, and a search begins at 10/s if nothing else is said") {
  auto options = typed();
  options.deadline_ms = 1.5;
  options.warmup = 0;
  const auto plain = read_plan(options);
  REQUIRE(plain);
  CHECK(plain->deadline == 1500us);
  CHECK(plain->warmup == 0s);
  CHECK(plain->duration == 10s);
  CHECK(plain->arrivals_at(10)->next().has_value());
  options = typed();
  options.rates.clear();
  options.search = "p99<200ms";
  const auto search = read_plan(options);
  REQUIRE(search);
  CHECK(search->rates == std::vector{10.0});
}
