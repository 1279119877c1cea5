// What the mesh costs beyond moving bytes: an identity model behind Shoal's doors against a bare ZeroMQ relay with the
// same hops, one after another within each round, medians over the rounds. Keys: bench/README.md.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>

#include <sys/resource.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "mesh/services.hpp"
#include "overhead/load.hpp"
#include "overhead/raw_relay.hpp"

namespace {

using namespace shoal;
using namespace std::chrono_literals;
using nlohmann::ordered_json;

constexpr std::size_t small = 4096;
constexpr std::size_t big = std::size_t{1} << 20;

struct series {
  std::vector<double> values;
  [[nodiscard]] double at(double quantile) const {
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(quantile * static_cast<double>(sorted.size() - 1) + 0.5)];
  }
  [[nodiscard]] double median() const { return at(0.5); }
};

using figures = std::map<std::string, series>;

/// Everything once, raw and Shoal in turn.
void round(figures& all, const std::string& mode, const std::string& raw, const std::string& native,
           const std::string& http, const std::string& grpc, double scale) {
  const auto n = [scale](int requests) { return std::max(50, static_cast<int>(requests * scale)); };
  const auto note = [&](const std::string& key, double value) { all[mode + "." + key].values.push_back(value); };
  {
    auto peer = bench::raw_load(raw, small);
    auto ours = bench::native_load(native, small);
    auto door = bench::http_load(http, small);
    auto remote = bench::grpc_load(grpc, small);
    const auto a = peer->one_by_one(n(2000));
    const auto b = ours->one_by_one(n(2000));
    const auto c = door->one_by_one(n(2000));
    const auto d = remote->one_by_one(n(2000));
    note("grpc.4k.p50_us", d.p50);
    note("grpc.4k.p99_us", d.p99);
    note("raw.4k.p50_us", a.p50);
    note("native.4k.p50_us", b.p50);
    note("http.4k.p50_us", c.p50);
    note("raw.4k.p99_us", a.p99);
    note("native.4k.p99_us", b.p99);
    note("http.4k.p99_us", c.p99);
    note("raw.4k.rate", peer->saturated(n(40000), 64));
    note("native.4k.rate", ours->saturated(n(20000), 64));
    note("http.4k.rate", door->saturated(n(10000), 16));
    // What the HTTP door has to reach: 0.3 of the raw relay, or 8,000/s if that is less.
    all[mode + ".wanted.4k.rate"].values.push_back(std::min(8000.0, 0.3 * all[mode + ".raw.4k.rate"].values.back()));
    note("grpc.4k.rate", remote->saturated(n(10000), 64));
  }
  auto peer = bench::raw_load(raw, big);
  auto ours = bench::native_load(native, big);
  auto door = bench::http_load(http, big);
  auto remote = bench::grpc_load(grpc, big);
  const auto a = peer->one_by_one(n(200));
  const auto b = ours->one_by_one(n(200));
  const auto c = door->one_by_one(n(200));
  note("raw.1m.p50_us", a.p50);
  note("native.1m.p50_us", b.p50);
  note("http.1m.p50_us", c.p50);
  note("grpc.1m.p50_us", remote->one_by_one(n(200)).p50);
  const double megabytes = static_cast<double>(big) / 1e6;
  note("raw.1m.mb_per_s", peer->saturated(n(1000), 8) * megabytes);
  note("native.1m.mb_per_s", ours->saturated(n(1000), 8) * megabytes);
  note("http.1m.mb_per_s", door->saturated(n(500), 8) * megabytes);
  note("grpc.1m.mb_per_s", remote->saturated(n(500), 8) * megabytes);
}

double cpu_seconds(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct embedded {
  explicit embedded(const std::string& folder, const std::string& models)
      : process(
            {test::executable("shoal"), "up", "--models", models, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
             "--native", "ipc://" + folder + "/native", "--set", "log.level=warning", "--set", "precision.policy=fp32"},
            folder + "/up.log") {
    ready = process.wait_for_line("ready", 60s);
    if (ready.empty()) throw std::runtime_error(process.output());
  }
  [[nodiscard]] std::string word(const std::string& key) const {
    const auto begin = ready.find(key) + key.size();
    return ready.substr(begin, ready.find(' ', begin) - begin);
  }
  test::process process;
  std::string ready;
};

/// Seconds from the start of `shoal up` with every fixture model to the first answer.
double start_to_first_answer(const std::string& folder, const std::string& models) {
  const auto begin = steady::now();
  embedded mesh(folder, models);
  bench::native_load(mesh.word("native="), small)->one_by_one(1);
  return std::chrono::duration<double>(steady::now() - begin).count();
}

/// The address that a gateway's log names after `words`.
std::string address_of(const test::process& gateway, const std::string& words) {
  const auto text = gateway.output();
  const auto begin = text.find(words) + words.size();
  return text.substr(begin, text.find('\n', begin) - begin);
}

struct claim {
  std::string name;
  std::string numerator, denominator;
  double limit;
  bool at_most;
};

void print(const figures& all, ordered_json& json) {
  std::printf("\n%-40s %12s %12s %12s\n", "figure", "median", "min", "max");
  for (const auto& [key, values] : all) {
    std::printf("%-40s %12.1f %12.1f %12.1f\n", key.c_str(), values.median(), values.at(0), values.at(1));
    json["figures"][key] = {{"median", values.median()}, {"min", values.at(0)}, {"max", values.at(1)}};
  }
}

void judge(const figures& all, const std::vector<claim>& claims, ordered_json& json) {
  std::printf("\n%-40s %8s %8s %8s   %s\n", "ratio in the same round", "median", "min", "max", "limit");
  for (const auto& claim : claims) {
    const auto above = all.find(claim.numerator);
    const auto below = all.find(claim.denominator);
    if (above == all.end() || below == all.end()) continue;
    series ratios;
    for (std::size_t i = 0; i < above->second.values.size(); ++i)
      ratios.values.push_back(above->second.values[i] / below->second.values[i]);
    const double value = ratios.median();
    const bool met = claim.at_most ? value <= claim.limit : value >= claim.limit;
    std::printf("%-40s %8.2f %8.2f %8.2f   %s %.2f  %s\n", claim.name.c_str(), value, ratios.at(0), ratios.at(1),
                claim.at_most ? "<=" : ">=", claim.limit, met ? "met" : "MISSED");
    json["ratios"][claim.name] = {
        {"median", value}, {"min", ratios.at(0)}, {"max", ratios.at(1)}, {"limit", claim.limit}, {"met", met}};
  }
}

std::vector<claim> claims() {
  std::vector<claim> all;
  for (const std::string mode : {"processes", "embedded"}) {
    all.push_back({mode + ".native_p50_4k/raw", mode + ".native.4k.p50_us", mode + ".raw.4k.p50_us", 2, true});
    all.push_back({mode + ".native_rate_4k/raw", mode + ".native.4k.rate", mode + ".raw.4k.rate", 0.4, false});
    all.push_back({mode + ".native_1m/raw", mode + ".native.1m.mb_per_s", mode + ".raw.1m.mb_per_s", 0.8, false});
    all.push_back({mode + ".http_p50_4k/native", mode + ".http.4k.p50_us", mode + ".native.4k.p50_us", 2, true});
    all.push_back({mode + ".grpc_p50_4k/native", mode + ".grpc.4k.p50_us", mode + ".native.4k.p50_us", 2, true});
    all.push_back({mode + ".http_rate_4k/wanted", mode + ".http.4k.rate", mode + ".wanted.4k.rate", 1, false});
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"bench_overhead: the mesh against a bare ZeroMQ relay with the same hops"};
  std::string file, stage, relay_folder;
  int rounds = 5;
  double scale = 1;
  app.add_option("--json", file, "write the figures here");
  app.add_option("--rounds", rounds, "rounds; medians are taken over them")->check(CLI::Range(1, 100));
  app.add_option("--scale", scale, "more or fewer requests per round");
  app.add_option("--relay-stage", stage, "(internal) run one stage of the raw relay");
  app.add_option("--relay-folder", relay_folder, "(internal) where its sockets are");
  CLI11_PARSE(app, argc, argv);
  if (!stage.empty()) {
    bench::run_relay(stage, relay_folder);
    return 0;
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto models = test::models_folder();
  figures all;
  ordered_json json;
  try {
    for (int i = 0; i < rounds; ++i) {
      std::cerr << "round " << i + 1 << " of " << rounds << ": separate processes over ipc" << std::endl;
      test::scratch_folder folder;
      const auto relay = [&](const std::string& name) {
        return test::process({self, "--relay-stage", name, "--relay-folder", folder.path()}, folder / (name + ".log"));
      };
      {
        auto scheduler = relay("scheduler"), gateway = relay("gateway"), worker = relay("worker");
        test::services mesh;
        mesh.start();
        round(all, "processes", bench::relay_endpoint(folder.path()), mesh.endpoint(),
              address_of(mesh.gateway(), "HTTP at http://"), address_of(mesh.gateway(), "gRPC at "), scale);
      }
      std::cerr << "round " << i + 1 << " of " << rounds << ": embedded" << std::endl;
      auto stages = relay("all");
      embedded mesh(folder.path(), models);
      round(all, "embedded", bench::relay_endpoint(folder.path()), mesh.word("native="), mesh.word("http="),
            mesh.word("grpc="), scale);
      const auto before = cpu_seconds(mesh.process.id());
      const auto begin = steady::now();
      std::this_thread::sleep_for(5s);
      const auto idle = (cpu_seconds(mesh.process.id()) - before) /
                        std::chrono::duration<double>(steady::now() - begin).count() * 100;
      all["embedded.idle_cpu_percent"].values.push_back(idle);
      test::scratch_folder fresh;
      all["embedded.start_to_first_answer_s"].values.push_back(start_to_first_answer(fresh.path(), models));
    }
  } catch (const std::exception& problem) {
    std::cerr << "bench_overhead: " << problem.what() << "\n";
    return 1;
  }
  json["rounds"] = rounds;
  print(all, json);
  judge(all, claims(), json);
  if (!file.empty()) std::ofstream(file) << json.dump(2) << "\n";
  return 0;
}
