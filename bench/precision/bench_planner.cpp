// The planner alone, for machines that have none of Shoal but this (gpu_check):
//
//   bench_planner ARCHIVE THREADS DEVICE SECONDS BUDGET PLAN      DEVICE: cpu | aten | cuda:N
//
// plans with seeded inputs, within BUDGET, for about SECONDS, writes the plan to the file PLAN and one JSON object to
// standard output: the verdict, the plan's speed and error, those of the other policies, and the seconds it took.
// `aten` is the CPU with ATen's kernels alone, as GPUs have them. An error goes to standard error and ends it with 1.
#include <chrono>
#include <iostream>

#include <nlohmann/json.hpp>

#include "executor/model.hpp"
#include "precision/planner.hpp"

namespace {

using namespace shoal;

int refuse(const std::string& what) {
  std::cerr << "bench_planner: " << what << '\n';
  return 1;
}

nlohmann::json described(const executor::precision_plan& plan, std::size_t nodes) {
  std::map<std::string, std::size_t> counts{{"fp32", nodes - plan.nodes.size()}};
  for (const auto& [name, node] : plan.nodes) ++counts[std::string(name_of(node.as))];
  return {{"epoch", plan.epoch()}, {"speedup", plan.speedup}, {"error", plan.error}, {"nodes", counts}};
}

}  // namespace

int main(int count, char** values) {
  if (count != 7) return refuse("usage: bench_planner ARCHIVE THREADS DEVICE SECONDS BUDGET PLAN");
  executor::set_compute_threads(std::stoi(values[2]));
  const std::string where = values[3];
  precision::planning how;
  how.own_kernels = where != "aten";
  const auto device = executor::device::parse(how.own_kernels ? where : "cpu");
  if (!device) return refuse(device.error().message);
  if (auto ready = executor::prepare_device(*device); !ready) return refuse(ready.error().message);
  how.on = *device;
  how.seconds = std::stod(values[4]);
  how.budget = std::stod(values[5]);
  how.draws_curve = true;
  const auto begin = std::chrono::steady_clock::now();
  const auto found = precision::plan_precision(values[1], how);
  if (!found) return refuse(found.error().message);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  if (auto written = executor::write_plan(values[6], found->plan); !written) return refuse(written.error().message);
  nlohmann::json all{{"verdict", found->verdict},
                     {"device", found->plan.device},
                     {"plan", described(found->plan, found->nodes.size())},
                     {"seconds", took.count()}};
  for (const auto& other : found->policies) all["policies"][other.policy] = described(other, found->nodes.size());
  std::cout << all.dump() << std::endl;
  return 0;
}
