// Models that come and go in a mesh of processes, under load.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/services.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// A model directory of the test's own.
class own_models {
 public:
  /// Version `version` appears whole, as `shoal import` makes it.
  void add(const std::string& fixture, std::uint64_t version) const {
    const auto model = folder_.path() / fixture;
    const auto incoming = model / ".incoming";
    fs::create_directories(incoming);
    auto archive = fs::path(models_folder()) / fixture / "1" / "model.pt2";
    if (!fs::exists(archive)) archive = fs::path(models_folder()) / "../graphs" / fixture / "1" / "model.pt2";
    fs::copy_file(archive, incoming / "model.pt2");
    fs::rename(incoming, model / std::to_string(version));
  }
  [[nodiscard]] test::services::extras extras() const {
    return {{"worker", {"--set", "worker.models=" + folder_.path().string()}}};
  }
  [[nodiscard]] const fs::path& path() const { return folder_.path(); }

 private:
  scratch_folder folder_;
};

protocol::manage order(protocol::life_verb verb, const std::string& model, std::uint64_t version = 0,
                       bool replace = false) {
  protocol::manage request;
  request.verb = verb;
  request.model = model;
  request.version = version;
  request.replace = replace;
  return request;
}

using protocol::life_verb;

std::string said(const expected<std::vector<protocol::worker_answer>>& answers) {
  if (!answers) return answers.error().message;
  std::string text;
  for (const auto& [worker, result] : *answers) text += (result ? *result : result.error().message) + "; ";
  return text;
}

bool all_did(const expected<std::vector<protocol::worker_answer>>& answers, std::size_t workers) {
  return answers && answers->size() == workers &&
         std::all_of(answers->begin(), answers->end(), [](const auto& each) { return each.result.has_value(); });
}

protocol::infer identity(float first) {
  protocol::infer request;
  request.model = "identity";
  request.inputs = {matrix(1, 16, "x", first)};
  return request;
}

std::size_t resident_kib(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string word; status >> word;)
    if (word == "VmRSS:") {
      std::size_t kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

}  // namespace

TEST_CASE("a new version takes over under load, on two workers, and no request is lost") {
  own_models models;
  models.add("identity", 1);
  services mesh(models.extras());
  mesh.start();
  mesh.start_worker();
  auto client = mesh.connect();
  const auto both_are_there = [&] {
    const auto report = client->inquire(5s);
    return report && std::count_if(report->services.begin(), report->services.end(),
                                   [](const auto& service) { return service.service == "worker"; }) == 2;
  };
  for (int i = 0; i < 500 && !both_are_there(); ++i) std::this_thread::sleep_for(20ms);

  std::atomic<bool> stop{false};
  std::atomic<int> sent{0}, right{0}, of_first{0}, of_second{0};
  std::mutex mutex;
  std::vector<std::string> errors;
  std::thread load([&] {
    auto busy = mesh.connect();
    std::atomic<int> in_flight{0};
    for (int i = 0; !stop; ++i) {
      while (in_flight >= 16) std::this_thread::sleep_for(200us);
      ++sent;
      ++in_flight;
      auto request = identity(static_cast<float>(i));
      const auto asked = request.inputs.front();
      busy->submit(std::move(request), 10s, [&, asked](const protocol::outcome& outcome) {
        if (!outcome.result) {
          std::lock_guard lock(mutex);
          errors.push_back(outcome.result.error().message);
        } else {
          ++(outcome.version == 1 ? of_first : of_second);
          right += std::memcmp(outcome.result->front().data.data(), asked.data.data(), asked.data.size()) == 0;
        }
        --in_flight;
      });
    }
    while (in_flight > 0) std::this_thread::sleep_for(1ms);
  });
  while (of_first < 100) std::this_thread::sleep_for(1ms);
  models.add("identity", 2);
  const auto answers = client->manage(order(life_verb::load, "identity", 0, true), 30s);
  INFO(said(answers));
  CHECK(all_did(answers, 2));
  const auto then = of_second.load();
  while (of_second < then + 100) std::this_thread::sleep_for(1ms);
  stop = true;
  load.join();
  for (const auto& each : errors) MESSAGE(each);
  CHECK(errors.empty());
  CHECK(right == sent);
  CHECK(of_first > 0);
  const auto listed = client->describe(5s);
  REQUIRE(listed);
  REQUIRE(listed->models.size() == 1);  // the first is forgotten by scheduler and gateway
  CHECK(listed->models.front().version == 2);
  auto old = identity(0);
  old.version = 1;
  CHECK(client->infer(old, 5s).result.error().code == errc::not_found);
}

TEST_CASE("what is loaded, what is not there and what is no name are refused with a sentence of each worker") {
  own_models models;
  models.add("identity", 1);
  services mesh(models.extras());
  mesh.start();
  auto client = mesh.connect();
  const auto code_of = [&](const protocol::manage& request) {
    const auto answers = client->manage(request, 10s);
    if (!answers) return answers.error().code;
    REQUIRE(answers->size() == 1);
    REQUIRE_FALSE(answers->front().result);
    return answers->front().result.error().code;
  };
  CHECK(code_of(order(life_verb::load, "identity")) == errc::invalid_argument);
  CHECK(code_of(order(life_verb::load, "identity", 3)) == errc::not_found);
  CHECK(code_of(order(life_verb::load, "nothing")) == errc::not_found);
  CHECK(code_of(order(life_verb::unload, "nothing")) == errc::not_found);
  CHECK(code_of(order(life_verb::load, "../../etc")) == errc::invalid_argument);
  fs::create_directories(models.path() / "broken" / "1");
  std::ofstream(models.path() / "broken" / "1" / "model.pt2") << "PK";
  CHECK(code_of(order(life_verb::load, "broken")) == errc::invalid_argument);
  CHECK(client->infer(identity(1), 5s).result);

  CHECK(all_did(client->manage(order(life_verb::unload, "identity"), 10s), 1));
  CHECK(client->infer(identity(1), 5s).result.error().code == errc::not_found);
  CHECK(all_did(client->manage(order(life_verb::load, "identity"), 10s), 1));
  CHECK(client->infer(identity(1), 5s).result);
  mesh.worker(0).kill();
  while (client->manage(order(life_verb::load, "identity"), 10s)) std::this_thread::sleep_for(10ms);
  CHECK(code_of(order(life_verb::load, "identity")) == errc::unavailable);
}

TEST_CASE("a model that is loaded and unloaded again and again leaves no memory behind") {
  own_models models;
  models.add("identity", 1);
  models.add("convolutional", 1);
  services mesh(models.extras());
  mesh.start();
  auto client = mesh.connect();
  mesh.wait_for_model(*client, "convolutional");
  const auto round = [&] {
    const auto gone = client->manage(order(life_verb::unload, "convolutional"), 20s);
    INFO(said(gone));
    REQUIRE(all_did(gone, 1));
    REQUIRE(all_did(client->manage(order(life_verb::load, "convolutional"), 20s), 1));
  };
  for (int i = 0; i < 3; ++i) round();
  const auto before = resident_kib(mesh.worker(0).id());
  for (int i = 0; i < 10; ++i) round();
  const auto after = resident_kib(mesh.worker(0).id());
  MESSAGE("resident: " << before << " KiB before, " << after << " KiB after 10 rounds");
  CHECK(after <= before + before / 10);
}
