#include "services/mesh/bench/report.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "services/mesh/bench/chart.hpp"
#include "unit/bench/fake_target.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

measured some(std::vector<std::string> rates) {
  fake_target on;
  on.fails = [](nanoseconds sent) { return sent < 100ms ? std::optional(errc::overloaded) : std::nullopt; };
  bench_options typed;
  typed.at.endpoint = "tcp://<here>";
  typed.models = {"a:3", "b@batch"};
  typed.rates = std::move(rates);
  typed.duration = 3;
  typed.warmup = 0;
  typed.arrivals = "constant";
  auto all = measure(*read_plan(typed), on, {});
  REQUIRE(all);
  return std::move(*all);
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("in the JSON every request has an outcome, and buckets add up") {
  const auto json = to_json(some({"100"}));
  CHECK(json["format"] == "shoal-bench/1");
  const auto& step = json["steps"][0];
  const auto& all = step["all"];
  CHECK(all["sent"] == 300);
  CHECK(all["ok"].get<int>() + all["failed"].get<int>() + all["no_outcome"].get<int>() == 300);
  CHECK(all["failures"]["overloaded"]["first_said"] == "the fake says no");
  std::uint64_t sum = 0;
  for (const auto& bucket : all["latency"]["buckets"]) sum += bucket[1].get<std::uint64_t>();
  CHECK(sum == all["ok"]);
  CHECK(step["streams"].size() == 2);
  CHECK(step["streams"][0]["throughput_per_second"].get<double>() +
            step["streams"][1]["throughput_per_second"].get<double>() ==
        doctest::Approx(step["throughput_per_second"].get<double>()));
  CHECK(step["streams"][1]["priority"] == "batch");
  CHECK(step["timeline"].size() == 3);
  CHECK(all["latency"]["p99_ms"].get<double>() == doctest::Approx(1));
}

TEST_CASE("the table has a line for each stream and one for all, and says what failed") {
  const auto all = some({"100"});
  const auto rows = table_rows(all, 0);
  CHECK(rows.find(" a ") != std::string::npos);
  CHECK(rows.find(" b@batch ") != std::string::npos);
  CHECK(rows.find(" all ") != std::string::npos);
  CHECK(rows.find("overloaded: the fake says no") != std::string::npos);
  CHECK(rows.find("WARNING") == std::string::npos);
}

TEST_CASE("names of models are not cut, columns stay in line, and a closed loop is not called open") {
  fake_target on;
  bench_options typed;
  typed.models = {"a-model-with-quite-a-long-name@critical", "a-model-with-quite-a-long-name@batch"};
  typed.closed = 1000;
  typed.duration = 0.01;
  typed.warmup = 0;
  const auto all = measure(*read_plan(typed), on, {});
  REQUIRE(all);
  const auto rows = table_rows(*all, 0);
  for (const auto& model : typed.models) CHECK(rows.find(" " + model + " ") != std::string::npos);
  CHECK(rows.starts_with("closed 1000 "));
  CHECK(rows.find("open") == std::string::npos);
  CHECK(rows.find('\n') + 1 == table_header(*all).size());
}

TEST_CASE("requests that were sent a second time are told of in the table and in the JSON") {
  fake_target on;
  on.second_tries = true;
  bench_options typed;
  typed.models = {"m"};
  typed.rates = {"10"};
  typed.duration = 1;
  const auto all = measure(*read_plan(typed), on, {});
  REQUIRE(all);
  const auto json = to_json(*all);
  const auto& step = json["steps"][0];
  CHECK(step["all"]["second_tries"] == step["all"]["sent"]);
  CHECK(table_rows(*all, 0).find("sent a second time") != std::string::npos);
  CHECK(table_rows(some({"100"}), 0).find("sent a second time") == std::string::npos);
}

TEST_CASE("a generator that was late is warned of in every report") {
  auto all = some({"100"});
  for (int i = 0; i < 10; ++i) all.steps[0].lag.record(20ms);
  CHECK(table_rows(all, 0).find("WARNING") != std::string::npos);
  CHECK(to_html(all).find("class=\"warning\"") != std::string::npos);
  CHECK(to_json(all)["steps"][0]["generator"]["late"] == true);
}

TEST_CASE("the HTML report is whole, draws its charts and refers to nothing outside") {
  const auto one = to_html(some({"100"}));
  CHECK(count_of(one, "<svg") == 4);
  CHECK(count_of(one, "<svg") == count_of(one, "</svg>"));
  CHECK(one.find("tcp://&lt;here&gt;") != std::string::npos);
  CHECK(one.find("latency, ms") != std::string::npos);
  const auto several = to_html(some({"100", "200"}));
  CHECK(several.find("Throughput against the offered rate") != std::string::npos);
  CHECK(count_of(several, "<details>") == 2);
  for (const auto* outside : {"src=", "href=", "http", "<script", "@import", "url("})
    CHECK_MESSAGE(several.find(outside) == std::string::npos, outside);
  CHECK(several.find("nan") == std::string::npos);
  CHECK(several.find("inf\"") == std::string::npos);
}

TEST_CASE("a chart of nothing, of one point and of equal values can be drawn") {
  const axis logarithmic{"y", true, {}};
  CHECK(to_svg({"t", {"x", false, {}}, logarithmic, {{"a", {{1, 0}}}}}).find("nothing was measured") !=
        std::string::npos);
  for (const auto& points :
       {std::vector<std::pair<double, double>>{{1, 5}}, std::vector<std::pair<double, double>>{{1, 5}, {2, 5}}}) {
    const auto svg = to_svg({"t", {"x", false, {}}, logarithmic, {{"a", points}}});
    CHECK(svg.find("<path fill") != std::string::npos);
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
  }
}
