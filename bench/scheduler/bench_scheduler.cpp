// What a decision of the scheduler costs, and how that grows with the number of workers. scheduler_state runs under a
// virtual clock against workers that do nothing but take the time a profile says; only the time inside it counts, one
// core. A decision is a request from its arrival to its completion or refusal: admission, queue, batch, dispatch, what
// is learnt.
//
// Load: a part of what the workers can do, Poisson, sentences of 4 to 64 tokens, three classes; every worker's time for
// a batch is 300 us + 20 us a token, with 10% of noise.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iostream>
#include <random>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "overhead/spread.hpp"
#include "scheduler/scheduler_state.hpp"
#include "unit/scheduler/simulated_workers.hpp"

namespace {

using namespace shoal;
using namespace std::chrono_literals;

constexpr protocol::peer_id gateway = 1;
constexpr protocol::peer_id first_worker = 10;

struct figures_of_run {
  double decisions_per_second = 0;
  double nanoseconds = 0;
  double batch = 0;
};

figures_of_run run(std::size_t count, double load, std::size_t requests, std::uint64_t seed) {
  test::simulated_workers link(seed);
  metrics figures;
  scheduler::scheduler_options options;
  options.max_queue = 100'000;
  scheduler::scheduler_state mind(options, link, figures);
  std::mt19937_64 random(seed);
  double inside = 0;
  const auto tell = [&](protocol::link_event event) {
    const auto begin = steady::now();
    mind.on(event, link.now);
    // As the actor does after every event, to set its timer.
    const auto wake = mind.next_wake();
    if (wake && *wake <= link.now) mind.on_wake(link.now);
    inside += std::chrono::duration<double>(steady::now() - begin).count();
  };
  tell(protocol::peer_up{gateway, protocol::service_kind::gateway, 7, 1, {}});
  for (std::size_t w = 0; w < count; ++w) {
    tell(protocol::peer_up{first_worker + w, protocol::service_kind::worker, 1000 + w, 1, {"device=cpu"}});
    tell(protocol::delivery{first_worker + w, protocol::catalogue{{test::sentence_model()}}});
    for (protocol::offer_id offer = 0; offer < 2; ++offer)
      tell(protocol::delivery{first_worker + w, protocol::offer{2 * w + offer + 1}});
  }
  // Of one worker at batches of four.
  const double rate = load * static_cast<double>(count) * 1e6 / (300 / 4.0 + 20 * 34);
  std::exponential_distribution<double> gap(rate);
  std::uniform_int_distribution<std::int64_t> length(4, 64);
  const std::array names{protocol::priority::critical, protocol::priority::standard, protocol::priority::batch};
  const auto bytes = buffer::make(64 * 8, [](std::byte* to) { std::fill_n(to, 64 * 8, std::byte{0}); });
  auto arrives = link.now;
  std::size_t asked = 0, over = 0, batches = 0;
  std::size_t counted_from = 0;
  while (over + link.refused < requests) {
    if (asked == requests / 10 && counted_from == 0) {  // the workers are warm
      inside = 0;
      counted_from = over + link.refused;
      batches = 0;
    }
    const auto completes = link.next();
    if (asked < requests && (!completes || arrives <= *completes)) {
      link.now = arrives;
      protocol::infer request;
      request.id = ++asked;
      request.time_left = 2s;
      request.model = "sentences";
      request.version = 1;
      request.priority = names[random() % 3];
      const auto tokens = length(random);
      request.inputs = {{"tokens", dtype::int64, {1, tokens}, bytes.slice(0, static_cast<std::size_t>(tokens) * 8)}};
      tell(protocol::delivery{gateway, std::move(request)});
      arrives += std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(gap(random)));
    } else if (completes) {
      link.now = *completes;
      auto done = *link.pop();
      over += done.told.finished.size();
      batches += !done.told.finished.empty();
      tell(protocol::delivery{done.worker, std::move(done.told)});
    } else {
      break;  // what is left has waited longer than its deadline
    }
    if (const auto wake = mind.next_wake(); wake && *wake <= link.now) {
      const auto begin = steady::now();
      mind.on_wake(link.now);
      inside += std::chrono::duration<double>(steady::now() - begin).count();
    }
  }
  const auto counted = static_cast<double>(over + link.refused - counted_from);
  return {counted / inside, inside / counted * 1e9, counted / static_cast<double>(batches)};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Cost of a scheduler's decision against the number of workers"};
  std::size_t requests = 200'000;
  int rounds = 5;
  std::vector<double> loads{0.8, 1.3};
  std::string json_file;
  std::vector<std::size_t> counts{10, 100, 1000, 10'000};
  app.add_option("--requests", requests, "of each run, a tenth of them to warm up");
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 100));
  app.add_option("--load", loads, "of what the workers can do");
  app.add_option("--workers", counts, "numbers of workers; growth is that of the last over the first");
  app.add_option("--json", json_file);
  CLI11_PARSE(app, argc, argv);
  std::map<std::string, std::vector<double>> found;
  for (int round = 0; round < rounds; ++round)
    for (const auto load : loads) {
      const auto of_load = "load " + std::to_string(std::lround(load * 100)) + "%, ";
      std::map<std::size_t, double> cost;
      for (const auto count : counts) {
        const auto got =
            run(count, load, std::max<std::size_t>(requests, 20 * count), static_cast<std::uint64_t>(round) + 1);
        const auto name = of_load + std::to_string(count) + " workers: ";
        found[name + "decisions per s"].push_back(got.decisions_per_second);
        found[name + "ns per decision"].push_back(got.nanoseconds);
        found[name + "requests per batch"].push_back(got.batch);
        cost[count] = got.nanoseconds;
      }
      found[of_load + "growth of the cost, last over first"].push_back(cost[counts.back()] / cost[counts.front()]);
    }
  nlohmann::ordered_json document;
  for (const auto& [name, values] : found) {
    const auto spread = bench::spread::of(values);
    auto& entry = document["figures"][name];
    entry = {{"median", spread.median}, {"min", spread.low}, {"max", spread.high}};
    if (name.ends_with("decisions per s")) entry.update({{"limit", 200'000}, {"met", spread.median >= 200'000}});
    if (name.ends_with("last over first")) entry.update({{"limit", 2}, {"met", spread.median < 2}});
    std::cout << name << "  " << spread.median << "  (" << spread.low << " to " << spread.high << ")\n";
  }
  if (!json_file.empty()) std::ofstream(json_file) << document.dump(1) << "\n";
}
