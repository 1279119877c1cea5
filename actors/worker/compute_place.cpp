#include "worker/compute_place.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string_view>

#include <spdlog/spdlog.h>

#include "executor/model.hpp"

namespace shoal::worker {

namespace {

/// Cores' worth of CPU time that the cgroup grants (v2: cpu.max, v1: cpu.cfs_*); 0: no limit, or not known.
double quota() {
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2) {
    std::string most;
    double period = 0;
    if (v2 >> most >> period && most != "max" && period > 0) return std::atof(most.c_str()) / period;
    return 0;
  }
  std::ifstream most_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double most = 0;
  double period = 0;
  return most_file >> most && period_file >> period && most > 0 && period > 0 ? most / period : 0;
}

}  // namespace

std::vector<int> available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  if (const auto paid = quota(); paid > 0 && std::ceil(paid) < static_cast<double>(cores.size()))
    cores.resize(static_cast<std::size_t>(std::ceil(paid)));
  if (cores.empty()) cores.push_back(0);
  return cores;
}

expected<std::vector<int>> parse_cores(const std::string& text) {
  const auto wrong = [&] {
    return fail(errc::invalid_argument, "'" + text + "' is not a list of cores such as 0-3,8 (or auto)");
  };
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  if (text == "auto") return available_cores();
  std::vector<int> cores;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    int first = 0;
    const auto* const end = part.data() + part.size();
    auto read = std::from_chars(part.data(), end, first);
    if (read.ec != std::errc{}) return wrong();
    int last = first;
    if (read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
    if (read.ec != std::errc{} || read.ptr != end || first < 0 || last < first || last >= CPU_SETSIZE) return wrong();
    for (int core = first; core <= last; ++core) {
      if (!CPU_ISSET(core, &allowed))
        return fail(errc::invalid_argument, "this process may not use core " + std::to_string(core));
      cores.push_back(core);
    }
  }
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

std::vector<std::vector<int>> divide(const std::vector<int>& cores, std::size_t workers) {
  std::vector<std::vector<int>> shares(workers);
  if (cores.empty()) return shares;
  for (std::size_t w = 0; w < workers; ++w) {
    const auto first = w * cores.size() / workers;
    const auto last = std::max(first + 1, (w + 1) * cores.size() / workers);
    shares[w].assign(cores.begin() + static_cast<std::ptrdiff_t>(first),
                     cores.begin() + static_cast<std::ptrdiff_t>(last));
  }
  return shares;
}

void take_place(const compute_place& place) {
  if (!place.cores.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const auto core : place.cores) CPU_SET(static_cast<std::size_t>(core), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0)  // 0: the calling thread
      spdlog::warn("a compute thread cannot be bound to its cores: {}", std::strerror(errno));
  }
  executor::set_compute_threads(place.threads);
}

}  // namespace shoal::worker
