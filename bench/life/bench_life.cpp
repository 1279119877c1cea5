// Claim: after unload a worker's memory is back, and traffic of ever new shapes does not make it grow. Real processes;
// resident memory as the kernel tells it.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <set>
#include <string>

#include <CLI/CLI.hpp>

#include "mesh/services.hpp"

namespace {

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct memory {
  std::size_t resident = 0;   ///< KiB
  std::size_t anonymous = 0;  ///< of these, not mapped from files
};

memory memory_of(pid_t process) {
  memory seen;
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") status >> seen.resident;
    if (word == "RssAnon:") status >> seen.anonymous;
  }
  return seen;
}

void print(const std::string& what, const memory& seen, const memory& first) {
  std::printf("%-44s %8.1f MiB resident %8.1f MiB anonymous  %+6.2f%%\n", what.c_str(),
              static_cast<double>(seen.resident) / 1024, static_cast<double>(seen.anonymous) / 1024,
              first.resident == 0
                  ? 0.0
                  : 100.0 * (static_cast<double>(seen.resident) / static_cast<double>(first.resident) - 1));
  std::fflush(stdout);
}

void must(const expected<std::vector<protocol::worker_answer>>& answers) {
  if (!answers) throw std::runtime_error(answers.error().message);
  for (const auto& [worker, result] : *answers)
    if (!result) throw std::runtime_error(result.error().message);
}

void manage(link::client& client, protocol::life_verb verb, const std::string& model) {
  protocol::manage request;
  request.verb = verb;
  request.model = model;
  must(client.manage(std::move(request), 60s));
}

/// Ones of a random size in every free dimension, at most `most`; its square if there is but one.
protocol::infer random_request(const protocol::model_spec& spec, std::mt19937& random, std::int64_t most) {
  protocol::infer request;
  request.model = spec.name;
  std::map<std::string, std::int64_t> sizes;
  std::set<std::string> free;
  for (const auto& input : spec.inputs)
    for (const auto& dim : input.dims)
      if (!dim.is_fixed()) free.insert(dim.symbol);
  if (free.size() == 1) most *= most;  // as many different shapes as with two free dimensions
  for (const auto& input : spec.inputs) {
    tensor made{input.name, input.type, {}, {}};
    for (const auto& dim : input.dims) {
      const auto low = std::max<std::int64_t>(dim.min, 1);
      const auto high = std::max(low, std::min(dim.max, most));
      const auto drawn = dim.is_fixed() ? dim.min : std::uniform_int_distribution(low, high)(random);
      made.dims.push_back(dim.symbol.empty() ? drawn : sizes.try_emplace(dim.symbol, drawn).first->second);
    }
    const auto bytes = byte_size(made.type, made.dims).value_or(0);
    made.data = buffer::make(bytes, [&](std::byte* to) {  // all bits but the first of an element zero: 1, or nearly 0
      std::fill_n(to, bytes, std::byte{0});
      for (std::size_t at = 0; at < bytes; at += size_of(made.type)) to[at] = std::byte{1};
    });
    request.inputs.push_back(std::move(made));
  }
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"What a worker's process keeps after unload, and under changing shapes"};
  int rounds = 50;
  int shapes = 2000;
  std::int64_t most = 48;
  std::string only;
  std::vector<std::string> settings;
  app.add_option("--rounds", rounds, "of load and unload")->capture_default_str();
  app.add_option("--shapes", shapes, "random shapes of each model")->capture_default_str();
  app.add_option("--most", most, "largest size of a free dimension")->capture_default_str();
  app.add_option("--only", only, "random shapes of this model only");
  app.add_option("--set", settings, "section.key=value for the worker");
  CLI11_PARSE(app, argc, argv);
  try {
    scratch_folder folder;
    const std::vector<std::string> models{"minilm", "convolutional"};
    for (const auto& [from, name] :
         {std::pair{"models", "identity"}, {"models", "minilm"}, {"graphs", "convolutional"}}) {
      const auto into = folder.path() / name / "1";
      fs::create_directories(into);
      for (const auto& file : fs::directory_iterator(fs::path(models_folder()) / ".." / from / name / "1"))
        if (const auto kind = file.path().filename(); kind == "model.pt2" || kind == "model.toml")
          fs::copy_file(file.path(), into / kind);
    }
    std::vector<std::string> worker{"--set", "worker.models=" + folder.path().string()};
    for (const auto& each : settings) worker.insert(worker.end(), {"--set", each});
    services mesh({{"worker", worker}});
    mesh.start();
    auto client = mesh.connect();
    for (const auto& model : models) mesh.wait_for_model(*client, model);
    const auto worker_process = mesh.worker(0).id();

    std::mt19937 random(20261125);
    const auto round = [&] {
      for (const auto& model : models) manage(*client, protocol::life_verb::unload, model);
      const auto unloaded = memory_of(worker_process);
      for (const auto& model : models) manage(*client, protocol::life_verb::load, model);
      const auto known = client->describe(10s);
      std::mt19937 same(1);  // the shapes of a round are those of every round: what grows is not a cache that fills
      for (const auto& spec : known->models)
        if (auto ran = client->infer(random_request(spec, same, 16), 30s); !ran.result)
          throw std::runtime_error(spec.name + ": " + ran.result.error().message);
      return std::pair(unloaded, memory_of(worker_process));
    };
    const auto [first_unloaded, first_loaded] = round();
    print("unloaded, round 1", first_unloaded, {});
    print("loaded again, round 1", first_loaded, {});
    for (int r = 2; r <= rounds + 1; ++r) {
      const auto [unloaded, loaded] = round();
      if ((r - 1) % 10 != 0 && r != rounds + 1) continue;
      print("unloaded, round " + std::to_string(r), unloaded, first_unloaded);
      print("loaded again, round " + std::to_string(r), loaded, first_loaded);
    }

    const auto known = client->describe(10s);
    if (!known) throw std::runtime_error(known.error().message);
    for (const auto& spec : known->models) {
      if (spec.name == "identity" || (!only.empty() && spec.name != only)) continue;
      memory first;
      int refused = 0;
      for (int i = 1; i <= shapes; ++i) {
        refused += !client->infer(random_request(spec, random, most), 30s).result;
        const auto seen = memory_of(worker_process);
        if (i == shapes / 10) first = seen;
        if (i % std::max(shapes / 10, 1) == 0)
          print(spec.name + ", " + std::to_string(i) + " random shapes", seen, first);
      }
      if (refused > 0) std::printf("%d requests of %s failed\n", refused, spec.name.c_str());
    }
  } catch (const std::exception& wrong) {
    std::fprintf(stderr, "bench_life: %s\n", wrong.what());
    return 1;
  }
  return 0;
}
