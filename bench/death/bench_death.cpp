// How long answers stay away when a service of a mesh of processes is killed (SIGKILL) or frozen (SIGSTOP), and how
// soon a worker that was killed serves MiniLM again. Requests go through the C++ SDK at a steady rate; the gap is the
// longest time without an answer from the signal on, the requests' own spacing included. Keys: bench/README.md.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "mesh/disturbed_load.hpp"
#include "mesh/mesh_of_processes.hpp"

namespace {

using namespace shoal;
using namespace std::chrono_literals;
using nlohmann::ordered_json;

client::mesh connect(const test::mesh_of_processes& mesh, int gateways) {
  std::vector<std::string> endpoints;
  for (int n = 1; n <= gateways; ++n) endpoints.push_back(mesh.gateway(n));
  auto made = client::connect(endpoints, {.max_in_flight = 100'000});
  if (!made) throw std::runtime_error(made.error().message);
  return std::move(*made);
}

void strike(const test::mesh_of_processes& mesh, const std::string& name, int signal) {
  const auto pid = mesh.id_of(name);
  if (pid <= 0) throw std::runtime_error(name + " is not there");
  if (::kill(pid, signal) != 0) throw std::runtime_error("cannot signal " + name);
}

struct figures {
  std::vector<double> seconds;
  [[nodiscard]] ordered_json summary(double limit) const {
    auto sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[sorted.size() / 2];
    return {{"median", median}, {"min", sorted.front()},         {"max", sorted.back()},
            {"limit", limit},   {"met", sorted.back() <= limit}, {"trials", sorted.size()}};
  }
};

/// What one strike did.
struct damage {
  double gap = 0;      ///< seconds without an answer
  double slowest = 0;  ///< seconds of the slowest request that was answered
  int failed = 0;      ///< requests, once their retries or the budget for them were spent
};

damage measure(test::mesh_of_processes& mesh, client::mesh& sdk, const std::vector<test::reference>& known,
               const std::string& name, int signal, milliseconds watched) {
  const auto old = mesh.id_of(name);
  test::disturbed_load load(sdk, known, {.between = 10ms, .shortest = 10s, .longest = 10s, .seed = 1});
  std::this_thread::sleep_for(500ms);
  const auto from = steady::now();
  strike(mesh, name, signal);
  std::this_thread::sleep_for(watched);
  const auto to = steady::now();
  const auto history = load.finish();
  for (const auto& broken : test::broken_promises(history))
    throw std::runtime_error(std::string(name).append(": ").append(broken));
  damage done;
  done.gap = std::chrono::duration<double>(test::longest_gap(history, from, to)).count();
  for (const auto& each : history) {
    if (each.failure)
      ++done.failed;
    else
      done.slowest = std::max(done.slowest, std::chrono::duration<double>(each.ended - each.sent).count());
  }
  if (!mesh.is_replaced(name, old)) throw std::runtime_error(name + " was not started again");
  std::this_thread::sleep_for(2100ms);  // it has lived long enough to be started again at once
  return done;
}

/// One for each trial; of two copies each is struck in turn, and the worse counts: a model has one scheduler, and which
/// is not seen from here.
struct trials_of {
  figures gaps, slowest;
  int failed = 0;
};
trials_of strikes(const std::string& service, int signal, int copies, int trials, milliseconds watched) {
  test::mesh_of_processes mesh(copies > 1 ? test::two_of_each()
                                          : std::vector<std::string>{"--scale", "cache=1", "--scale", "worker=1"});
  mesh.wait_until_ready();
  auto sdk = connect(mesh, copies);
  const auto known = test::references(sdk, 0);
  trials_of all;
  for (int trial = 0; trial < trials; ++trial) {
    damage worst;
    for (int copy = 1; copy <= copies; ++copy) {
      const auto done = measure(mesh, sdk, known, service + "-" + std::to_string(copy), signal, watched);
      worst.gap = std::max(worst.gap, done.gap);
      worst.slowest = std::max(worst.slowest, done.slowest);
      all.failed += done.failed;
    }
    all.gaps.seconds.push_back(worst.gap);
    all.slowest.seconds.push_back(worst.slowest);
  }
  return all;
}

/// Seconds from the death of the only worker to the next answer of MiniLM.
figures until_minilm(bool with_cache, int trials) {
  std::vector<std::string> scale{"--scale", "worker=1"};
  if (with_cache) scale.insert(scale.end(), {"--scale", "cache=1"});
  test::mesh_of_processes mesh(scale);
  mesh.wait_until_ready();
  auto sdk = connect(mesh, 1);
  const auto known = test::references(sdk, 1);
  if (known.size() < 2) throw std::runtime_error("the fixtures have no minilm");
  figures all;
  for (int trial = 0; trial < trials; ++trial) {
    const auto old = mesh.id_of("worker-1");
    const auto begin = steady::now();
    strike(mesh, "worker-1", SIGKILL);
    if (!mesh.is_replaced("worker-1", old)) throw std::runtime_error("the worker was not started again");
    const auto answer = sdk.infer(known[1].request, {.deadline = 10s});
    if (!answer) throw std::runtime_error(answer.error().message);
    if (!test::is_equal(*answer, known[1].answer)) throw std::runtime_error("a wrong answer");
    all.seconds.push_back(std::chrono::duration<double>(steady::now() - begin).count());
    std::this_thread::sleep_for(2500ms);
  }
  return all;
}

void show(const std::string& name, const ordered_json& row) {
  std::printf("%-36s %8.3f %8.3f %8.3f %9.3f %7d   <= %.1f  %s\n", name.c_str(), row["median"].get<double>(),
              row["min"].get<double>(), row["max"].get<double>(),
              row.value("slowest_request", row["max"].get<double>()), row.value("failed", 0),
              row["limit"].get<double>(), row["met"].get<bool>() ? "met" : "MISSED");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"bench_death: how long answers stay away when a service dies or freezes"};
  std::string file;
  int trials = 6;
  app.add_option("--json", file, "write the figures here");
  app.add_option("--trials", trials, "deaths of each kind; half as many are frozen")->check(CLI::Range(2, 100));
  CLI11_PARSE(app, argc, argv);
  ordered_json json;
  std::printf("%-36s %8s %8s %8s %9s %7s   %s\n", "seconds without an answer", "median", "min", "max", "slowest",
              "failed", "limit");
  try {
    for (const int copies : {1, 2})
      for (const std::string service : {"worker", "scheduler", "cache", "gateway"}) {
        const auto of = service + (copies == 1 ? ", the only one" : ", one of two");
        const auto row = [&](const std::string& what, int signal, int count, milliseconds watched, double limit) {
          const auto all = strikes(service, signal, copies, count, watched);
          auto& told = json["gaps"][of + what] = all.gaps.summary(limit);
          told["slowest_request"] = all.slowest.summary(limit)["max"];
          told["failed"] = all.failed;
          show(of + what, told);
        };
        row(", killed", SIGKILL, trials, 1500ms, 1);
        row(", frozen", SIGSTOP, std::max(2, trials / 2), 5000ms, 4);
      }
    for (const bool with_cache : {true, false}) {
      const std::string name = with_cache ? "MiniLM again, with a cache" : "MiniLM again, without";
      show(name, json["gaps"][name] = until_minilm(with_cache, trials).summary(1));
    }
  } catch (const std::exception& problem) {
    std::cerr << "bench_death: " << problem.what() << "\n";
    return 1;
  }
  if (!file.empty()) std::ofstream(file) << json.dump(2) << "\n";
  return 0;
}
