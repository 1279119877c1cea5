#include "unit/simulation/world.hpp"

#include <algorithm>

#include <spdlog/fmt/fmt.h>

namespace shoal::test {

namespace {

using protocol::priority;

world draw(timeline& chance) {
  world drawn;
  const auto some = [&](std::size_t least, std::size_t most) { return least + chance.below(most - least + 1); };
  drawn.clients = some(1, 3);
  drawn.gateways = some(1, 3);
  drawn.schedulers = some(1, 3);
  drawn.workers = some(1, 5);
  drawn.caches = chance.chance(0.5) ? some(1, 3) : 0;
  drawn.cache_pages = some(1, 12);
  drawn.planners = chance.chance(0.4) ? some(1, 2) : 0;
  drawn.models.clear();
  const std::vector<priority> all{priority::critical, priority::standard, priority::batch};
  for (std::size_t i = 0; i < some(1, 3); ++i) {
    world::traffic of;
    of.model = "model" + std::to_string(i);
    of.rate = chance.between(10, 150);
    of.at_doors = chance.chance(0.2) ? 0 : chance.between(0, 1);
    if (chance.chance(0.6)) of.classes = all;
    drawn.models.push_back(std::move(of));
  }
  drawn.seconds = chance.between(0.3, 2.5);
  drawn.most_time = milliseconds(some(50, 2000));
  drawn.most_rows = static_cast<std::int64_t>(some(1, 4));
  if (chance.chance(0.3)) drawn.given_up = chance.between(0, 0.3);
  if (chance.chance(0.2)) drawn.poison = chance.between(0, 0.02);
  if (chance.chance(0.15)) drawn.managed = chance.between(0.5, 6);
  if (chance.chance(0.3)) drawn.fixed_cost = microseconds(some(300, 30'000));
  if (chance.chance(0.15)) drawn.slow_worker = chance.between(1, 30);
  if (chance.chance(0.3)) drawn.inline_bytes = 64 * some(1, 8);
  if (chance.chance(0.15)) drawn.credit_messages = static_cast<std::uint32_t>(some(1, 32));
  if (chance.chance(0.15)) drawn.max_requests = some(1, 32);
  if (chance.chance(0.15)) drawn.max_queue = some(1, 32);
  if (chance.chance(0.3)) drawn.wires.most_delay = microseconds(some(200, 20'000));
  if (chance.chance(0.3)) drawn.wires.slow = chance.between(0, 0.05);
  if (chance.chance(0.1)) drawn.wires.max_queued = some(8, 64);

  const auto often = [&](double part, double most) { return chance.chance(part) ? chance.between(0.1, most) : 0; };
  drawn.breaks = often(0.4, 10);
  drawn.wires.late_breaks = chance.chance(0.5) ? chance.between(0, 1) : 0;
  drawn.silences = often(0.4, 10);
  drawn.pauses = often(0.4, 5);
  drawn.client_deaths = often(0.2, 2);
  drawn.gateway_deaths = often(0.3, 3);
  drawn.scheduler_deaths = often(0.3, 3);
  drawn.worker_deaths = often(0.4, 5);
  drawn.cache_deaths = drawn.caches > 0 ? often(0.5, 5) : 0;
  drawn.memory_losses = drawn.caches > 0 ? often(0.2, 3) : 0;
  drawn.disk_errors = drawn.caches > 0 && chance.chance(0.2) ? chance.between(0, 0.5) : 0;
  drawn.planner_deaths = drawn.planners > 0 ? often(0.5, 3) : 0;
  drawn.breaches = drawn.planners > 0 && chance.chance(0.5) ? chance.between(0, 0.1) : 0;
  drawn.power_losses = chance.chance(0.3) ? chance.between(0, 1) : 0;
  drawn.orderly_ends = chance.chance(0.3) ? chance.between(0, 1) : 0;
  drawn.failures = chance.chance(0.1) ? chance.between(0, 0.1) : 0;
  return drawn;
}

}  // namespace

std::string to_text(const world& of) {
  std::string text =
      fmt::format("{} client(s), {} gateway(s), {} scheduler(s), {} worker(s), {} cache(s), {} precision service(s);",
                  of.clients, of.gateways, of.schedulers, of.workers, of.caches, of.planners);
  for (const auto& each : of.models) text += fmt::format(" {}: {:.0f}/s", each.model, each.rate);
  text += fmt::format(
      "; up to {} ms left, batches take {} us and more, {} requests at a gateway, {} in a queue, {} by credit",
      of.most_time.count(), of.fixed_cost.count(), of.max_requests, of.max_queue, of.credit_messages);
  text += fmt::format("; delays up to {} us, {} wait", of.wires.most_delay.count(), of.wires.max_queued);
  const auto rate = [&](const char* name, double value) {
    if (value > 0) text += fmt::format("; {} {:.3g}", name, value);
  };
  rate("slow messages", of.wires.slow);
  rate("given up", of.given_up);
  rate("poison", of.poison);
  rate("loads and unloads", of.managed);
  rate("a slow worker", of.slow_worker);
  rate("breaks", of.breaks);
  rate("of them late", of.wires.late_breaks);
  rate("silences", of.silences);
  rate("pauses", of.pauses);
  rate("deaths of clients", of.client_deaths);
  rate("of gateways", of.gateway_deaths);
  rate("of schedulers", of.scheduler_deaths);
  rate("of workers", of.worker_deaths);
  rate("of caches", of.cache_deaths);
  rate("of precision services", of.planner_deaths);
  rate("power losses", of.power_losses);
  rate("orderly", of.orderly_ends);
  rate("memory losses", of.memory_losses);
  rate("disk errors", of.disk_errors);
  rate("failures", of.failures);
  rate("breaches", of.breaches);
  rate("calm", of.calm_rate);
  return text;
}

world draw_for_safety(std::uint64_t seed) {
  timeline chance(seed);
  return draw(chance);
}

world draw_for_liveness(std::uint64_t seed) {
  timeline chance(seed);
  auto drawn = draw(chance);
  drawn.calm_seconds = 1;
  // Room for a fifth of what the workers can do, whatever the faults were about.
  const auto request_us = static_cast<double>(drawn.fixed_cost.count()) + drawn.per_token_us * 34 * 2.5;
  drawn.calm_rate =
      0.2 * static_cast<double>(drawn.workers) * 1e6 / request_us / static_cast<double>(drawn.models.size());
  drawn.calm_rate = std::min(drawn.calm_rate, 25.0);
  drawn.max_requests = std::max<std::size_t>(drawn.max_requests, 256);
  drawn.max_queue = std::max<std::size_t>(drawn.max_queue, 256);
  drawn.credit_messages = std::max<std::uint32_t>(drawn.credit_messages, 256);
  drawn.wires.max_queued = std::max<std::size_t>(drawn.wires.max_queued, 256);
  // What one worker alone has been measured at while it was slow is unlearnt by traffic only, size by size: that takes
  // longer than the time to recover that is given here.
  if (drawn.workers == 1) drawn.slow_worker = 0;
  return drawn;
}

}  // namespace shoal::test
