#include "worker/calibration.hpp"

#include <algorithm>
#include <barrier>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>
#include <thread>

#include <spdlog/fmt/fmt.h>

#include "worker/compute_place.hpp"
#include "worker/served_model.hpp"

namespace shoal::worker {

namespace {

constexpr std::size_t most_models = 3;

std::uintmax_t size_of_archive(const protocol::load& model) {
  std::error_code problem;
  const auto bytes = std::filesystem::file_size(model.folder / "model.pt2", problem);
  return problem ? 0 : bytes;
}

/// One worker's models, kept from candidate to candidate: loading them takes longer than measuring.
using instance = std::vector<std::unique_ptr<served_model>>;

/// One worker of a candidate: rows a second of each model, each for `slice`, all workers at the same time. Empty if a
/// model cannot be run.
std::vector<double> run_worker(const std::vector<protocol::load>& models, instance& mine, const compute_place& place,
                               std::barrier<>& together, milliseconds slice) {
  take_place(place);
  for (auto m = mine.size(); m < models.size(); ++m) {
    auto prepared = served_model::prepare(models[m]);
    if (!prepared) break;
    mine.push_back(std::move(*prepared));
  }
  bool runs = mine.size() == models.size();
  for (auto& model : mine) runs = runs && model->make_ready();
  std::vector<double> rates;
  for (std::size_t m = 0; m < models.size(); ++m) {
    together.arrive_and_wait();
    if (!runs) continue;
    protocol::compute batch;
    batch.members.push_back({{}, mine[m]->sample_inputs(), {}});
    double rows = 0;
    const auto begin = steady::now();
    do {
      const auto ran = mine[m]->run(batch);
      if (!ran.results.front()) break;
      rows += ran.rows;
    } while (steady::now() - begin < slice);
    rates.push_back(rows / std::chrono::duration<double>(steady::now() - begin).count());
  }
  return rates;
}

double measure(const split& candidate, const std::vector<protocol::load>& models, std::vector<instance>& instances,
               const std::vector<int>& cores, milliseconds slice) {
  const auto shares = divide(cores, candidate.workers);
  if (instances.size() < candidate.workers) instances.resize(candidate.workers);
  std::vector<std::vector<double>> rates(candidate.workers);
  std::barrier together(static_cast<std::ptrdiff_t>(candidate.workers));
  {
    std::vector<std::jthread> threads;
    for (std::size_t w = 0; w < candidate.workers; ++w)
      threads.emplace_back([&, w] {
        try {
          rates[w] = run_worker(models, instances[w], {candidate.threads, shares[w]}, together, slice);
        } catch (const std::exception&) {  // memory that is not there: this candidate counts as not measured
          together.arrive_and_drop();
        }
      });
  }
  double logarithms = 0;
  for (std::size_t m = 0; m < models.size(); ++m) {
    double rows = 0;
    for (const auto& worker : rates) {
      if (worker.size() != models.size()) return 0;
      rows += worker[m];
    }
    if (rows <= 0) return 0;
    logarithms += std::log(rows);
  }
  return std::exp(logarithms / static_cast<double>(models.size()));
}

std::string name_of(const split& each) {
  return fmt::format("{} worker{} x {} thread{}", each.workers, each.workers == 1 ? "" : "s", each.threads,
                     each.threads == 1 ? "" : "s");
}

}  // namespace

std::vector<split> candidates(std::size_t cores, std::size_t workers, int threads) {
  if (workers != 0 && threads != 0) return {{workers, threads, 0}};
  cores = std::max<std::size_t>(cores, 1);
  const auto powers_up_to = [](std::size_t most) {
    std::set<std::size_t> numbers{most};
    for (std::size_t n = 1; n < most; n *= 2) numbers.insert(n);
    return numbers;
  };
  std::vector<split> all;
  if (workers != 0) {
    for (const auto t : powers_up_to(std::max<std::size_t>(cores / workers, 1)))
      all.push_back({workers, static_cast<int>(t), 0});
  } else if (threads != 0) {
    for (const auto w : powers_up_to(std::max<std::size_t>(cores / static_cast<std::size_t>(threads), 1)))
      all.push_back({w, threads, 0});
  } else {
    for (const auto w : powers_up_to(cores)) all.push_back({w, static_cast<int>(cores / w), 0});
  }
  return all;
}

calibration calibrate(std::vector<protocol::load> models, const std::vector<int>& cores, std::size_t workers,
                      int threads, milliseconds budget) {
  calibration result;
  const auto choices = candidates(cores.size(), workers, threads);
  result.chosen = choices.front();
  if (choices.size() == 1) {
    result.sentence =
        name_of(result.chosen) + (workers != 0 && threads != 0 ? " as asked for" : ": there is no choice");
    return result;
  }
  std::sort(models.begin(), models.end(),
            [](const auto& a, const auto& b) { return size_of_archive(a) > size_of_archive(b); });
  if (models.size() > most_models) models.resize(most_models);
  const auto begin = steady::now();
  // What cannot be loaded is the workers' to report; a model that is slow to load must not hold up the start.
  std::vector<protocol::load> usable;
  std::vector<instance> instances(1);
  // On a thread of its own: LibTorch's team of the calling thread would stay for as long as that thread.
  std::jthread([&] {
    executor::set_compute_threads(1);
    for (const auto& model : models) {
      if (!usable.empty() && steady::now() - begin > budget / 4) break;
      try {
        auto prepared = served_model::prepare(model);
        if (!prepared || !(*prepared)->make_ready()) continue;
        instances[0].push_back(std::move(*prepared));
        usable.push_back(model);
      } catch (const std::exception&) {  // the workers' to report, too
      }
    }
  }).join();
  if (usable.empty()) {
    result.sentence = name_of(result.chosen) + ": no model could be run to measure another split";
    return result;
  }
  const auto slices = static_cast<std::int64_t>(choices.size() * usable.size());
  const auto slice = std::clamp(budget / 2 / slices, milliseconds(10), milliseconds(150));
  for (auto choice : choices) {
    // One figure alone would choose nothing: two are measured whatever they take.
    if (result.measured.size() > 1 && steady::now() - begin > budget) break;
    choice.rows_per_second = measure(choice, usable, instances, cores, slice);
    if (choice.rows_per_second > 0) result.measured.push_back(choice);
  }
  for (const auto& each : result.measured)
    if (each.rows_per_second > result.chosen.rows_per_second) result.chosen = each;
  if (result.measured.empty()) {
    result.sentence = name_of(result.chosen) + ": no split could be measured";
    return result;
  }
  result.sentence = "measured:";
  for (const auto& each : result.measured)
    result.sentence += fmt::format(" {} {:.0f} rows/s,", name_of(each), each.rows_per_second);
  result.sentence += fmt::format(
      " in {:.2f} s on {} core(s), {} model(s){}: chosen {}",
      std::chrono::duration<double>(steady::now() - begin).count(), cores.size(), usable.size(),
      result.measured.size() < choices.size() ? ", not every split for lack of time" : "", name_of(result.chosen));
  return result;
}

}  // namespace shoal::worker
