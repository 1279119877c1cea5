// `shoal tune`: what it prints and leaves behind, the exit codes that scripts rely on, and that workers use its plans.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <sys/stat.h>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mesh/process.hpp"

using namespace shoal::test;
using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct result {
  int code;
  std::string output;

  [[nodiscard]] bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
};

result tune(const scratch_folder& folder, std::vector<std::string> arguments) {
  static int runs = 0;
  arguments.insert(arguments.begin(), {executable("shoal"), "tune"});
  process started(std::move(arguments), folder / ("tune." + std::to_string(runs++) + ".log"));
  const auto code = started.wait(120s);
  return {code.value_or(-1), started.output()};
}

/// A model directory with MiniLM in it, whose plans are this test's own.
std::string minilm_directory(const scratch_folder& folder) {
  const fs::path models(folder / "models");
  fs::create_directories(models / "minilm/1");
  const fs::path source(models_folder() + "/minilm/1");
  for (const auto* file : {"model.pt2", "model.toml"})
    fs::create_symlink(fs::absolute(source / file), models / "minilm/1" / file);
  return models.string();
}

std::string write(const scratch_folder& folder, const std::string& name, const std::string& text, bool runs = false) {
  const std::string file = folder / name;
  std::ofstream(file) << text;
  if (runs) ::chmod(file.c_str(), 0755);
  return file;
}

std::string requests() {
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    json ids = json::array();
    json mask = json::array();
    for (int k = 0; k < 6 + i % 9; ++k) {
      ids.push_back(1000 + (i * 977 + k * 131) % 20000);
      mask.push_back(1);
    }
    lines += json{{"input_ids", {ids}}, {"attention_mask", {mask}}}.dump() + "\n";
  }
  return lines;
}

}  // namespace

TEST_CASE("shoal tune plans a model with requests and a script, shows what speed costs, and leaves a plan") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  const auto data = write(folder, "data.jsonl", requests());
  // The mean of all numbers, rounded so coarsely that no plan changes it.
  const auto metric =
      write(folder, "score.py",
            "#!/usr/bin/env python3\nimport json, sys\nrows = [json.loads(l) for l in open(sys.argv[1])]\n"
            "assert len(rows) == 40, len(rows)\nprint('scored')\nprint(len(rows[0][0]['data']) / 384)\n",
            true);
  const auto page = folder / "page.html";
  const auto tuned = tune(folder, {"minilm", "--models", models, "--data", data, "--metric", metric, "--seconds", "12",
                                   "--html", page, "--json"});
  REQUIRE_MESSAGE(tuned.code == 0, tuned.output);
  const auto told = json::parse(tuned.output, nullptr, false);
  REQUIRE_MESSAGE(told.is_object(), tuned.output);
  CHECK(told["nodes"].size() == 42);
  CHECK(told["curve"].size() >= 1);
  CHECK(told["curve"][0]["epoch"] == "fp32");
  CHECK(told["plan"]["speedup"] >= 0);
  const fs::path plan(told["file"].get<std::string>());
  CHECK(plan.parent_path() == fs::path(models) / "minilm/1");
  REQUIRE(fs::exists(plan));
  std::ifstream stream(plan);
  const auto written = json::parse(stream, nullptr, false);
  CHECK(written["shoal_plan"] == 1);
  CHECK(written["policy"] == "measured");
  std::ifstream drawn(page);
  const std::string html{std::istreambuf_iterator<char>(drawn), {}};
  CHECK(html.find("<svg") != std::string::npos);

  // A worker computes by it, or says why not.
  const std::vector<std::string> up{executable("shoal"), "up",     "--models",    models,     "--http",
                                    "127.0.0.1:0",       "--grpc", "127.0.0.1:0", "--native", "tcp://127.0.0.1:0",
                                    "--workers",         "1",      "--threads",   "1"};
  const auto logged = [&](const std::string& name, const std::string& text) {
    process mesh(up, folder / name);
    const bool said = !mesh.wait_for_line_with(text, 60s).empty();
    mesh.signal(SIGTERM);
    mesh.wait(30s);
    return said;
  };
  if (told["plan"]["epoch"] != "fp32") {
    CHECK(logged("planned.log", "computes by the plan " + told["plan"]["epoch"].get<std::string>()));
    auto other = written;
    other["model"] = std::string(64, '0');
    std::ofstream(plan) << other.dump();
    CHECK(logged("other.log", "computes in fp32: "));
  }
  std::ofstream(plan) << "{";
  CHECK(logged("damaged.log", "computes in fp32: "));
}

TEST_CASE("shoal tune without a place to write to or with --dry-run leaves nothing behind") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  const auto tuned = tune(folder, {models + "/minilm/1/model.pt2", "--dry-run", "--seconds", "2"});
  CHECK_MESSAGE(tuned.code == 0, tuned.output);
  CHECK(tuned.says("fp32"));
  CHECK(std::distance(fs::directory_iterator(fs::path(models) / "minilm/1"), {}) == 2);
}

TEST_CASE("shoal tune refuses models, data, budgets and scripts that are wrong, with a sentence and an exit code") {
  scratch_folder folder;
  const auto models = minilm_directory(folder);
  const auto data = write(folder, "data.jsonl", requests());
  const auto refused = [&](std::vector<std::string> more, int code, const std::string& sentence) {
    std::vector<std::string> arguments{"minilm", "--models", models, "--seconds", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto tuned = tune(folder, arguments);
    CHECK_MESSAGE(tuned.code == code, tuned.output);
    CHECK_MESSAGE(tuned.says(sentence), tuned.output);
  };
  CHECK(tune(folder, {"nobody", "--models", models}).code == 3);
  CHECK(tune(folder, {"minilm/x", "--models", models}).code == 2);
  CHECK(tune(folder, {folder / "missing.pt2"}).code == 3);
  refused({"--data", folder / "missing.jsonl"}, 3, "missing.jsonl");
  refused({"--data", write(folder, "empty.jsonl", "")}, 2, "empty.jsonl");
  refused({"--data", write(folder, "part.jsonl", "{\"input_ids\": [[1, 2]]}\n")}, 2, "attention_mask");
  refused({"--data", write(folder, "other.jsonl", "{\"image\": [[1, 2]]}\n")}, 2, "image");
  refused({"--data", write(folder, "long.jsonl", "{\"input_ids\": [[1, 2]], \"attention_mask\": [[1]]}\n")}, 2,
          "must be equal");
  refused({"--budget", "0"}, 2, "budget");
  refused({"--budget", "2"}, 2, "budget");
  refused({"--metric", "score.py"}, 2, "--data");
  refused({"--data", data, "--metric", folder / "no-script"}, 2, "no-script");
  refused({"--data", data, "--metric", write(folder, "fails.sh", "#!/bin/sh\nexit 3\n", true)}, 2, "fails.sh failed");
  refused({"--data", data, "--metric", write(folder, "words.sh", "#!/bin/sh\necho good\n", true)}, 2, "no number");
}
