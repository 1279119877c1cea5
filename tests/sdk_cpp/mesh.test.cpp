// The C++ SDK against real services: two gateways, which are killed and frozen while requests are in flight. Each
// request has one outcome, right and in time.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/process.hpp"
#include "shoal/client.hpp"

using namespace std::chrono_literals;
namespace client = shoal::client;

namespace shoal::test {
namespace {

using steady = std::chrono::steady_clock;

/// A scheduler, a worker and two gateways over ipc.
class two_gateways {
 public:
  two_gateways() {
    services_.push_back(launch("scheduler", {"listen=" + at("scheduler"), "metrics="}));
    for (int i = 0; i < 2; ++i) start(i);
    services_.push_back(
        launch("worker", {"schedulers=" + at("scheduler"), "gateways=" + endpoints()[0] + "," + endpoints()[1],
                          "metrics=", "models=" + models_folder()}));
  }

  void start(int index) {
    gateways_[index] = launch(
        "gateway", {"listen=" + endpoints()[index], "schedulers=" + at("scheduler"), "http=127.0.0.1:0", "grpc="});
  }
  process& gateway(int index) { return *gateways_[index]; }
  [[nodiscard]] std::vector<std::string> endpoints() const { return {at("gateway.0"), at("gateway.1")}; }

  /// A client of both gateways, once `identity` is served.
  client::mesh connect(const client::options& with = {}) {
    auto made = client::connect(endpoints(), with);
    if (!made) throw std::runtime_error(made.error().message);
    const auto until = steady::now() + 30s;
    while (steady::now() < until) {
      const auto figures = made->figures();
      const bool both = std::any_of(figures.begin(), figures.end(),
                                    [](const auto& each) { return each.name == "link_peers" && each.value == 2; });
      if (const auto models = made->models(2s); both && models)
        for (const auto& model : *models)
          if (model.name == "identity" && model.state == client::model_state::ready) return std::move(*made);
      std::this_thread::sleep_for(20ms);
    }
    throw std::runtime_error("the model identity does not become ready:\n" + services_.back()->output());
  }

 private:
  [[nodiscard]] std::string at(const std::string& name) const { return "ipc://" + (folder_ / name); }
  std::unique_ptr<process> launch(const std::string& kind, const std::vector<std::string>& settings) {
    std::vector<std::string> command{executable("shoal-" + kind), "--set", "log.level=info"};
    for (const auto& setting : settings) command.insert(command.end(), {"--set", kind + "." + setting});
    return std::make_unique<process>(std::move(command), folder_ / (kind + "." + std::to_string(launched_++) + ".log"));
  }

  scratch_folder folder_;
  int launched_ = 0;
  std::vector<std::unique_ptr<process>> services_;
  std::unique_ptr<process> gateways_[2];
};

/// x of [rows, width] whose elements are all `value`; one in ten is large, and fetched rather than carried along.
client::request ask(int i) {
  const std::int64_t rows = i % 10 == 0 ? 64 : 1 + i % 3;
  const std::int64_t width = i % 10 == 0 ? 1024 : 64;
  return {"identity",
          {client::tensor("x", {rows, width},
                          std::vector<float>(static_cast<std::size_t>(rows * width), static_cast<float>(i)))}};
}

bool is_right(const client::result& came, int i) {
  const auto asked = ask(i);
  const auto* y = came.find("y");
  return y != nullptr && y->dims() == asked.inputs[0].dims() && y->values<float>() == asked.inputs[0].values<float>();
}

std::uint64_t seed() {
  const char* given = std::getenv("SHOAL_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 20261125;
}

struct record {
  steady::time_point asked;
  steady::time_point ended;
  int outcomes = 0;
  bool right = false;
  std::string error;
};

TEST_CASE("gateways killed under load: each request has one outcome, right and in time") {
  constexpr auto deadline = 8s;
  constexpr int total = 400;
  MESSAGE("seed " << seed() << " (set SHOAL_SEED to replay)");
  std::mt19937_64 random(seed());
  two_gateways services;
  client::options with;
  with.max_in_flight = 24;
  auto mesh = services.connect(with);

  std::mutex mutex;
  std::vector<record> history(total);
  std::atomic<int> open = 0;
  std::atomic<bool> done = false;
  int kills = 0;
  std::thread killer([&] {
    while (!done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200 + random() % 300));
      const int victim = static_cast<int>(random() % 2);
      services.gateway(victim).kill();
      services.start(victim);
      ++kills;
    }
  });
  for (int i = 0; i < total; ++i) {
    auto& entry = history[static_cast<std::size_t>(i)];
    entry.asked = steady::now();
    ++open;
    mesh.infer_async(ask(i),
                     [&, i](const client::expected<client::result>& came) {
                       std::lock_guard lock(mutex);
                       ++entry.outcomes;
                       entry.ended = steady::now();
                       entry.right = came && is_right(*came, i);
                       if (!came) entry.error = std::string(name_of(came.error().code)) + ": " + came.error().message;
                       --open;
                       open.notify_all();
                     },
                     {deadline});
    std::this_thread::sleep_for(5ms);
  }
  for (int left = open; left > 0; left = open) open.wait(left);
  done = true;
  killer.join();

  int wrong = 0, late = 0, failed = 0;
  for (const auto& entry : history) {
    CHECK(entry.outcomes == 1);
    late += entry.ended - entry.asked > deadline + 250ms;
    failed += !entry.error.empty();
    wrong += entry.error.empty() && !entry.right;
    if (!entry.error.empty()) MESSAGE(entry.error);
  }
  MESSAGE(kills << " gateways killed");
  CHECK(kills > 2);
  CHECK(wrong == 0);
  CHECK(late == 0);
  CHECK(failed <= total / 100);
}

TEST_CASE("a frozen gateway: requests end by their deadlines, and those with time left at the other gateway") {
  two_gateways services;
  // Of two requests at once each gateway gets one; of more, the one that answers gets most: of many, some get stuck.
  auto hurried = services.connect();
  auto mesh = services.connect();
  services.gateway(0).signal(SIGSTOP);
  const auto since = steady::now();
  std::vector<std::future<client::expected<client::result>>> hasty, patient;
  for (int i = 0; i < 32; ++i) hasty.push_back(hurried.infer_async(ask(i), {1s}));
  for (int i = 0; i < 8; ++i) patient.push_back(mesh.infer_async(ask(i), {20s}));
  int stuck = 0;
  for (auto& each : hasty) {
    const auto came = each.get();
    if (came) continue;
    ++stuck;
    CHECK(came.error().code == client::errc::deadline_exceeded);
  }
  CHECK(steady::now() - since < 1s + 250ms);
  CHECK(stuck > 0);
  std::uint32_t retried = 0;
  for (int i = 0; i < 8; ++i) {
    const auto came = patient[static_cast<std::size_t>(i)].get();
    REQUIRE(came);
    CHECK(is_right(*came, i));
    retried += came->retries;
  }
  CHECK(retried > 0);
  CHECK(steady::now() - since < 20s);
  services.gateway(0).signal(SIGCONT);
}

TEST_CASE("with all gateways gone requests wait until one is back") {
  two_gateways services;
  auto mesh = services.connect();
  for (int i = 0; i < 2; ++i) services.gateway(i).kill();
  std::vector<std::future<client::expected<client::result>>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(mesh.infer_async(ask(i), {20s}));
  services.start(1);
  for (int i = 0; i < 8; ++i) {
    const auto came = waiting[static_cast<std::size_t>(i)].get();
    INFO(std::string(came ? "" : came.error().message));
    REQUIRE(came);
    CHECK(is_right(*came, i));
  }
}

TEST_CASE("models, status, unload and load, map and stream on a real mesh") {
  two_gateways services;
  auto mesh = services.connect();
  const auto status = mesh.status();
  REQUIRE(status);
  CHECK(status->at(0).kind == "gateway");  // the others report as their figures change
  auto all = std::views::iota(0, 200) | std::views::transform(ask);
  int i = 0;
  for (auto& each : mesh.map(all, {10s}, 16)) {
    REQUIRE(each);
    CHECK(is_right(*each, i++));
  }
  CHECK(i == 200);
  std::vector<bool> seen(200);
  for (auto& each : mesh.stream(all, {10s}, 16)) {
    REQUIRE(each.result);
    CHECK(is_right(*each.result, static_cast<int>(each.index)));
    seen.at(each.index) = true;
  }
  CHECK(std::count(seen.begin(), seen.end(), true) == 200);
  const auto unloaded = mesh.unload("identity");
  REQUIRE(unloaded);
  CHECK(unloaded->at(0).said);
  const auto none = mesh.infer(ask(1), {2s});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == client::errc::not_found);
  CHECK(none.error().request_id != 0);
  REQUIRE(mesh.load("identity"));
  CHECK(mesh.infer(ask(1)));
}

}  // namespace
}  // namespace shoal::test
