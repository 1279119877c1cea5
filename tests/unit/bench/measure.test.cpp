#include <doctest/doctest.h>

#include "services/mesh/bench/bench.hpp"
#include "services/mesh/bench/report.hpp"
#include "unit/bench/fake_target.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

plan planned(std::vector<std::string> rates, const std::string& search = {}) {
  bench_options typed;
  typed.models = {"m"};
  typed.rates = std::move(rates);
  typed.search = search;
  typed.duration = 5;
  typed.warmup = 0;
  auto read = read_plan(typed);
  REQUIRE(read);
  return std::move(*read);
}

}  // namespace

TEST_CASE("each rate is a step, and all send the same requests") {
  fake_target on;
  int steps = 0;
  observer seen;
  seen.step = [&](const measured& all) { CHECK(all.steps.size() == static_cast<std::size_t>(++steps)); };
  const auto all = measure(planned({"10", "20"}), on, seen);
  REQUIRE(all);
  CHECK(steps == 2);
  CHECK(all->steps[1].rate == 20);
  CHECK(all->inputs[0] == "x FP32[1, 2], 1 request");
  CHECK(on.prepared.size() == 1);
}

TEST_CASE("a search finds the rate at which a queue's p99 passes the bound") {
  fake_target on;  // one server of 10 ms: 100/s; a Poisson queue's p99 passes 100 ms at about 80/s
  nanoseconds free_at{};
  on.serves = [&](nanoseconds sent) {
    free_at = std::max(free_at, sent) + 10ms;
    return free_at - sent;
  };
  const auto all = measure(planned({}, "p99<100ms"), on, {});
  REQUIRE(all);
  CHECK(all->highest > 50);
  CHECK(all->highest < 100);
  CHECK(all->borne.size() == all->steps.size());
}

TEST_CASE(
    "a search says on how many answers its percentile stands, and whether the generator was the one that failed") {
  fake_target on;
  on.send_cost = 5ms;  // the generator cannot do 200/s
  const auto all = measure(planned({"100"}, "p99<100ms"), on, {});
  REQUIRE(all);
  REQUIRE(all->last_borne() != nullptr);
  CHECK(all->last_borne()->rate == all->highest);
  CHECK(all->first_not_borne()->rate > all->highest);
  const auto verdict = search_verdict(*all);
  CHECK(verdict.find("its p99 is that of " + std::to_string(all->last_borne()->total().ok) + " answers") !=
        std::string::npos);
  CHECK(verdict.find("the load generator itself was late") != std::string::npos);

  fake_target slow;  // its latency fails, the generator does not
  slow.serves = [](nanoseconds sent) { return sent < 10s ? 1ms : 1s; };
  const auto honest = measure(planned({"100"}, "p99<100ms"), slow, {});
  REQUIRE(honest);
  CHECK(search_verdict(*honest).find("WARNING") == std::string::npos);
}

TEST_CASE("p99.9 is not looked for among fewer than 1000 answers") {
  bench_options typed;
  typed.models = {"m"};
  typed.search = "p99.9<100ms";
  typed.rates = {"199"};
  typed.duration = 5;
  const auto few = read_plan(typed);
  REQUIRE_FALSE(few);
  CHECK(few.error().message.find("1000 answers") != std::string::npos);
  fake_target slow;
  slow.serves = [](nanoseconds) { return 1s; };
  const auto all = measure(planned({"400"}, typed.search), slow, {});
  REQUIRE(all);
  CHECK(all->steps.size() == 2);  // at 400/s and 200/s, but not at 100/s
  CHECK(search_verdict(*all).find("give a longer --duration") != std::string::npos);
}

TEST_CASE("what is wrong with the model is said before load is put on; a refusal is not") {
  fake_target on;
  on.fails = [](nanoseconds) { return errc::invalid_argument; };
  const auto wrong = measure(planned({"10"}), on, {});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == errc::invalid_argument);
  CHECK(wrong.error().message.find("the fake says no") != std::string::npos);
  CHECK(on.sent.size() == 1);

  fake_target silent;
  silent.serves = [](nanoseconds) { return std::nullopt; };
  CHECK(measure(planned({"10"}), silent, {}).error().code == errc::deadline_exceeded);

  fake_target full;
  full.fails = [](nanoseconds) { return errc::overloaded; };
  const auto refused = measure(planned({"10"}), full, {});
  REQUIRE(refused);
  CHECK(refused->steps[0].total().ok == 0);

  fake_target unknown;
  unknown.described = fail(errc::not_found, "there is no model 'm'");
  CHECK(measure(planned({"10"}), unknown, {}).error().code == errc::not_found);
}

TEST_CASE("a server that describes no models is driven with requests from a file, if it is there at all") {
  temporary_folder folder;
  auto with_file = planned({"10"});
  with_file.requests.file = folder.write("requests", "{\"x\": [[1, 2]]}\n");
  for (const auto code : {errc::not_found, errc::invalid_argument, errc::internal, errc::corrupt}) {
    fake_target on;
    on.described = fail(code, "no such page");
    CHECK_FALSE(measure(planned({"10"}), on, {}));
    const auto all = measure(with_file, on, {});
    REQUIRE(all);
    CHECK(all->inputs[0] == "x INT64[1, 2], 1 request");
  }
  fake_target gone;
  gone.described = fail(errc::unavailable, "cannot be reached");
  CHECK(measure(with_file, gone, {}).error().code == errc::unavailable);
}
