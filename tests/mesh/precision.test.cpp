// The precision service in a mesh: plans while it answers, several that agree, and a plan that is given up and mended.
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "link/client.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "mesh/process.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// A model directory with MiniLM in it, whose plans are this test's own.
std::string minilm_directory(const scratch_folder& folder) {
  const fs::path models(folder / "models");
  fs::create_directories(models / "minilm/1");
  const fs::path source(models_folder() + "/minilm/1");
  for (const auto* file : {"model.pt2", "model.toml"})
    fs::create_symlink(fs::absolute(source / file), models / "minilm/1" / file);
  return models.string();
}

fs::path plan_in(const std::string& models) {
  for (const auto& entry : fs::directory_iterator(fs::path(models) / "minilm/1"))
    if (entry.path().filename().string().starts_with("plan.")) return entry.path();
  return {};
}

json read_json(const fs::path& file) {
  std::ifstream stream(file);
  return json::parse(stream, nullptr, false);
}

void write_json(const fs::path& file, const json& content) {
  const auto beside = file.string() + ".new";
  std::ofstream(beside) << content.dump();
  fs::rename(beside, file);
}

tensor integers(const char* name, const std::vector<std::int64_t>& values) {
  return {name,
          dtype::int64,
          {1, static_cast<std::int64_t>(values.size())},
          buffer::copy(std::as_bytes(std::span(values)))};
}

protocol::infer request(int number) {
  std::vector<std::int64_t> ids;
  for (int k = 0; k < 5 + number % 7; ++k) ids.push_back(1000 + (number * 977 + k * 131) % 20000);
  protocol::infer body;
  body.model = "minilm";
  body.time_left = std::chrono::seconds(20);
  body.inputs = {integers("input_ids", ids), integers("attention_mask", std::vector<std::int64_t>(ids.size(), 1))};
  return body;
}

std::vector<float> numbers(const tensor& of) {
  std::vector<float> all(of.data.size() / sizeof(float));
  std::memcpy(all.data(), of.data.bytes().data(), all.size() * sizeof(float));
  return all;
}

/// |a - b| / |a|, as root mean squares.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += a[i] * a[i];
  }
  return std::sqrt(difference / size);
}

/// What `shoal status precision --json` tells of each plan.
std::vector<json> plans(const scratch_folder& folder, const std::string& endpoint) {
  static int looks = 0;
  process asked({executable("shoal"), "status", "precision", "--at", endpoint, "--json"},
                folder / ("status." + std::to_string(looks++)));
  std::vector<json> all;
  if (asked.wait(20s) != 0) return all;
  const auto told = json::parse(asked.output(), nullptr, false);
  if (!told.is_object()) return all;
  for (const auto& service : told["services"])
    for (const auto& plan : service["plans"]) all.push_back(plan);
  return all;
}

/// Asks, again and again, until `wanted` is true of some plan; every answer has to be one. The epochs of all answers.
struct asker {
  link::client& client;
  std::vector<std::vector<float>> exact;  ///< first answers by request, in fp32
  std::set<std::string> epochs;
  std::string last_epoch;
  double furthest = 0;
  int asked = 0;

  void ask() {
    const int number = asked++ % 20;
    const auto answer = client.infer(request(number), 20s);
    REQUIRE_MESSAGE(answer.result, (answer.result ? "" : answer.result.error().message));
    CHECK(!answer.plan.empty());
    last_epoch = answer.plan;
    epochs.insert(answer.plan);
    const auto got = numbers(answer.result->front());
    if (exact.size() < 20) exact.push_back(got);
    furthest = std::max(furthest, distance(exact[static_cast<std::size_t>(number)], got));
  }

  json ask_until(const scratch_folder& folder, const std::string& endpoint,
                 const std::function<bool(const json&)>& wanted, std::chrono::seconds most = 120s) {
    const auto end = std::chrono::steady_clock::now() + most;
    std::vector<json> seen;
    while (std::chrono::steady_clock::now() < end) {
      for (int i = 0; i < 25; ++i) {
        ask();
        std::this_thread::sleep_for(20ms);
      }
      seen = plans(folder, endpoint);
      for (const auto& plan : seen)
        if (wanted(plan)) return plan;
    }
    FAIL("it did not come: " << json(seen).dump(1));
    return {};
  }
};

}  // namespace

TEST_CASE(
    "a mesh plans by itself while it answers: at load, then on its traffic; nothing is lost, results name the plan") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  const std::string endpoint = "ipc://" + (folder / "gateway");
  const std::vector<std::string> up{executable("shoal"),
                                    "up",
                                    "--models",
                                    models,
                                    "--http",
                                    "127.0.0.1:0",
                                    "--grpc",
                                    "127.0.0.1:0",
                                    "--native",
                                    endpoint,
                                    "--workers",
                                    "1",
                                    "--threads",
                                    "1",
                                    "--set",
                                    "precision.policy=measured",
                                    "--set",
                                    "precision.seconds=4",
                                    "--set",
                                    "precision.samples=6"};
  json settled;
  {
    process mesh(up, folder / "up.log");
    REQUIRE_MESSAGE(!mesh.wait_for_line("ready", 60s).empty(), mesh.output());
    auto client = link::client::connect(endpoint, 10s);
    REQUIRE(client);
    asker client_side{**client, {}, {}, {}, 0, 0};
    for (int i = 0; i < 20; ++i) client_side.ask();
    settled = client_side.ask_until(folder, endpoint, [](const json& plan) {
      return plan["calibrated_on"] == "traffic" && plan["state"] == "settled" && plan["following"] == 1;
    });
    CHECK(settled["generation"] == 2);
    for (int i = 0; i < 5; ++i) client_side.ask();
    CHECK(client_side.last_epoch == settled["epoch"]);
    CHECK(client_side.furthest < 0.25);
    mesh.signal(SIGTERM);
    CHECK(mesh.wait(30s) == 0);
  }
  // The plan outlives the mesh, and is not made again.
  const auto written = read_json(plan_in(models));
  REQUIRE(written.is_object());
  CHECK(written["generation"] == 2);
  process again(up, folder / "again.log");
  REQUIRE_MESSAGE(!again.wait_for_line("ready", 60s).empty(), again.output());
  auto client = link::client::connect(endpoint, 10s);
  REQUIRE(client);
  CHECK((*client)->infer(request(1), 20s).plan == settled["epoch"]);
  std::vector<json> known;
  for (int look = 0; look < 50 && known.empty(); ++look) {
    std::this_thread::sleep_for(200ms);  // figures are told once a second
    known = plans(folder, endpoint);
  }
  REQUIRE(known.size() == 1);
  CHECK(known[0]["state"] == "settled");
  again.signal(SIGTERM);
  CHECK(again.wait(30s) == 0);
}

TEST_CASE("two precision services come to one plan, outlive each other, and take what a person writes") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  mesh_of_processes mesh({"--scale", "precision=2", "--scale", "worker=2", "--set", "precision.policy=measured",
                          "--set", "precision.seconds=4", "--set", "precision.samples=6", "--threads", "1"},
                         models);
  mesh.wait_until_ready();
  const auto endpoint = mesh.gateway();
  auto client = link::client::connect(endpoint, 10s);
  REQUIRE(client);
  asker client_side{**client, {}, {}, {}, 0, 0};
  const auto settled = client_side.ask_until(folder, endpoint, [](const json& plan) {
    return plan["planned_here"] == true && plan["calibrated_on"] == "traffic" && plan["following"] == 2;
  });
  // Figures are told once a second, by each at its own time.
  std::size_t agree = 0;
  for (int look = 0; look < 50 && agree != 2; ++look) {
    std::this_thread::sleep_for(200ms);
    agree = 0;
    for (const auto& plan : plans(folder, endpoint)) agree += plan["epoch"] == settled["epoch"] ? 1 : 0;
  }
  CHECK(agree == 2);
  // One dies: whoever plans now knows the same.
  const auto first = mesh.id_of("precision-1");
  REQUIRE(first > 0);
  ::kill(first, SIGKILL);
  CHECK(mesh.is_replaced("precision-1", first));
  client_side.ask_until(folder, endpoint, [&](const json& plan) {
    return plan["planned_here"] == true && plan["generation"] == settled["generation"] && plan["following"] == 2;
  });
  CHECK(client_side.last_epoch == settled["epoch"]);
  // Written by hand, without a generation: it is meant.
  auto by_hand = read_json(plan_in(models));
  by_hand.erase("generation");
  by_hand["nodes"] = json::object();
  by_hand["policy"] = "by hand";
  by_hand["calibrated_on"] = "data";
  write_json(plan_in(models), by_hand);
  if (settled["epoch"] == "fp32") return;  // this machine gains nothing: it is the same plan
  const auto taken = client_side.ask_until(
      folder, endpoint, [](const json& plan) { return plan["policy"] == "by hand" && plan["following"] == 2; });
  CHECK(taken["epoch"] == "fp32");
  for (int i = 0; i < 5; ++i) client_side.ask();
  CHECK(client_side.last_epoch == "fp32");
}

TEST_CASE(
    "a plan that errs more than it promised is given up everywhere, mended, and made anew, and no request is lost") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  process tuned({executable("shoal"), "tune", "minilm", "--models", models, "--seconds", "2", "--json"},
                folder / "tune.log");
  REQUIRE(tuned.wait(120s) == 0);
  const auto told = json::parse(tuned.output(), nullptr, false);
  REQUIRE(told.is_object());
  auto plan = read_json(plan_in(models));
  plan["nodes"] = json::object();
  for (const auto& node : told["nodes"])
    if (node["inner"] > 0) plan["nodes"][node["name"].get<std::string>()] = {{"precision", "int8"}};
  REQUIRE(plan["nodes"].size() == 36);
  plan["measured"]["budget"] = 0.0005;  // which no plan in int8 keeps
  write_json(plan_in(models), plan);

  const std::string endpoint = "ipc://" + (folder / "gateway");
  process mesh({executable("shoal"),
                "up",
                "--models",
                models,
                "--http",
                "127.0.0.1:0",
                "--grpc",
                "127.0.0.1:0",
                "--native",
                endpoint,
                "--workers",
                "1",
                "--threads",
                "1",
                "--set",
                "precision.policy=measured",
                "--set",
                "precision.seconds=4",
                "--set",
                "precision.samples=6",
                "--set",
                "worker.shadow_percent=50"},
               folder / "up.log");
  REQUIRE_MESSAGE(!mesh.wait_for_line("ready", 60s).empty(), mesh.output());
  auto client = link::client::connect(endpoint, 10s);
  REQUIRE(client);
  asker client_side{**client, {}, {}, {}, 0, 0};
  const auto renewed = client_side.ask_until(folder, endpoint, [](const json& each) {
    return each["breaches"] == 1 && each["calibrated_on"] == "traffic" && each["state"] == "settled";
  });
  CHECK(renewed["generation"] >= 3);  // fp32, mended, renewed
  CHECK(client_side.epochs.contains("fp32"));
  CHECK(client_side.epochs.size() >= 2);
  CHECK(!mesh.wait_for_line_with("back in fp32", 1s).empty());
  mesh.signal(SIGTERM);
  CHECK(mesh.wait(30s) == 0);
}
