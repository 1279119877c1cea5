// `shoal bench` on a mesh that runs: over every door, and what it says when something is wrong.
#include <csignal>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mesh/process.hpp"

using namespace shoal::test;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

struct result {
  int code;
  std::string output;
};

result bench(const scratch_folder& folder, std::vector<std::string> arguments) {
  static int runs = 0;
  arguments.insert(arguments.begin(), {executable("shoal"), "bench"});
  process started(std::move(arguments), folder / ("bench." + std::to_string(runs++) + ".log"));
  const auto code = started.wait(60s);
  return {code.value_or(-1), started.output()};
}

bool says(const result& ran, const std::string& text) { return ran.output.find(text) != std::string::npos; }

json read_json(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file, nullptr, false);
}

/// A mesh of the exported models at free ports.
struct running_mesh {
  scratch_folder folder;
  process mesh{{executable("shoal"), "up", "--models", models_folder(), "--http", "127.0.0.1:0", "--grpc",
                "127.0.0.1:0", "--native", "ipc://" + folder / "gateway", "--workers", "1", "--threads", "1"},
               folder / "up.log"};
  std::string native, http, grpc;

  running_mesh() {
    const auto ready = mesh.wait_for_line("ready", 60s);
    REQUIRE_MESSAGE(!ready.empty(), mesh.output());
    native = word_after(ready, "native=");
    http = "http://" + word_after(ready, "http=");
    grpc = "grpc://" + word_after(ready, "grpc=");
  }
};

void check_outcomes(const json& of) {
  CHECK(of["sent"].get<int>() > 0);
  CHECK(of["ok"] == of["sent"]);
  CHECK(of["failed"] == 0);
  CHECK(of["no_outcome"] == 0);
  CHECK(of["latency"]["count"] == of["ok"]);
}

}  // namespace

TEST_CASE("load over each door: every request has an outcome, and the answers are as large as they say") {
  running_mesh up;
  const auto& folder = up.folder;
  std::ofstream(folder / "requests") << "{\"x\": [[1, 2, 3]]}\n{\"x\": [[1], [2]]}\n";
  std::ofstream(folder / "lengths") << "5\n9\n30\n";
  for (const auto& at : {up.native, up.http, up.grpc}) {
    CAPTURE(at);
    const auto file = folder / "report.json";
    const auto page = folder / "report.html";
    auto ran = bench(folder, {"--at",
                              at,
                              "--model",
                              "identity:3@critical",
                              "--model",
                              "minilm/1",
                              "--rate",
                              "40",
                              "--duration",
                              "1",
                              "--warmup",
                              "0.2",
                              "--check",
                              "--lengths",
                              folder / "lengths",
                              "--deadline",
                              "30000",
                              "--json",
                              file,
                              "--html",
                              page});
    REQUIRE_MESSAGE(ran.code == 0, ran.output);
    CHECK(says(ran, "identity@critical"));
    const auto report = read_json(file);
    REQUIRE(report["steps"].size() == 1);
    check_outcomes(report["steps"][0]["all"]);
    CHECK(report["steps"][0]["streams"].size() == 2);
    CHECK(std::filesystem::file_size(page) > 1000);

    ran = bench(folder, {"--at", at, "--model", "identity", "--requests", folder / "requests", "--closed", "4",
                         "--duration", "0.5", "--warmup", "0.1", "--check", "--json", file});
    REQUIRE_MESSAGE(ran.code == 0, ran.output);
    CHECK(read_json(file)["loop"] == "closed");
    check_outcomes(read_json(file)["steps"][0]["all"]);
  }
  const auto file = folder / "report.json";
  auto ran =
      bench(folder, {"--at", up.http, "--model", "identity", "--json-tensors", "--check", "--rate", "50", "--duration",
                     "1", "--warmup", "0", "--connections", "1", "--arrivals", "constant", "--json", file});
  REQUIRE_MESSAGE(ran.code == 0, ran.output);
  check_outcomes(read_json(file)["steps"][0]["all"]);

  ran = bench(folder, {"--at", up.native, "--model", "identity", "--search", "p99<2s", "--rate", "400", "--duration",
                       "0.1", "--warmup", "0", "--json", "-"});
  const auto searched = json::parse(ran.output, nullptr, false);
  REQUIRE_MESSAGE(!searched.is_discarded(), ran.output);
  CHECK(searched["search"]["borne"].size() == searched["steps"].size());
}

TEST_CASE("a signal ends the load with the figures so far") {
  running_mesh up;
  const auto file = up.folder / "report.json";
  process started({executable("shoal"), "bench", "--at", up.http, "--model", "identity", "--rate", "50", "--warmup",
                   "0", "--duration", "600", "--json", file},
                  up.folder / "bench.log");
  REQUIRE(!started.wait_for_line("RATE/s", 10s).empty());
  std::this_thread::sleep_for(1s);  // so that there are figures
  started.signal(SIGINT);
  CHECK(started.wait(10s) == 0);
  const auto report = read_json(file);
  CHECK(report["steps"][0]["interrupted"] == true);
  CHECK(report["steps"][0]["all"]["ok"].get<int>() > 0);
}

TEST_CASE("what is wrong is said before any load, with an exit code that means it") {
  running_mesh up;
  const auto& folder = up.folder;
  for (const auto& at : {up.native, up.http, up.grpc}) {
    CAPTURE(at);
    const auto unknown = bench(folder, {"--at", at, "--model", "nobody", "--rate", "10"});
    CHECK_MESSAGE(unknown.code == 3, unknown.output);
    CHECK(says(unknown, "nobody"));
    std::ofstream(folder / "bad") << "{\"x\": [[1]]}\n{\"x\": [[1]}\n";
    const auto line = bench(folder, {"--at", at, "--model", "identity", "--rate", "10", "--requests", folder / "bad"});
    CHECK_MESSAGE(line.code == 2, line.output);
    CHECK(says(line, "bad:2: "));
  }
  for (const auto* at : {"tcp://127.0.0.1:9", "http://127.0.0.1:9", "grpc://127.0.0.1:9"}) {
    CAPTURE(at);
    const auto nobody = bench(folder, {"--at", at, "--model", "identity", "--rate", "10", "--timeout", "1"});
    CHECK_MESSAGE(nobody.code == 4, nobody.output);
    CHECK(says(nobody, "cannot be reached"));
  }
  const auto code = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--at", up.http, "--model", "identity"});
    return bench(folder, std::move(arguments)).code;
  };
  for (const auto* rate : {"0", "-1", "nan", "many"}) CHECK(code({"--rate", rate}) == 2);
  CHECK(code({}) == 2);
  CHECK(code({"--rate", "1", "--duration", "nan"}) == 2);
  CHECK(code({"--rate", "1", "--requests", folder / "missing"}) == 3);
  CHECK(code({"--rate", "1", "--arrivals", folder / "missing"}) == 3);
  CHECK(code({"--rate", "1", "--json", folder / "no/such/folder"}) == 2);
  CHECK(code({"--rate", "1", "--html", "-"}) == 2);
  CHECK_FALSE(std::filesystem::exists("-"));
  for (const auto* wrong : {"nan", "1"}) {  // a plan that is none, a server that is not there
    const auto report = folder / "not-begun.json";
    CHECK(bench(folder, {"--at", "http://127.0.0.1:9", "--model", "identity", "--rate", wrong, "--timeout", "1",
                         "--json", report})
              .code != 0);
    CHECK_FALSE(std::filesystem::exists(report));
  }
  CHECK(code({"--closed", "-1"}) == 2);
  CHECK(code({"--rate", "1", "--seed", "-1"}) == 2);
  CHECK(code({"--search", "p99"}) == 2);
  const auto as_json = bench(folder, {"--at", up.http, "--model", "nobody", "--rate", "1", "--json", "-"});
  CHECK(json::parse(as_json.output)["error"]["code"] == "not_found");
}
