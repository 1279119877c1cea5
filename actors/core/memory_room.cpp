#include "core/memory_room.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace shoal {

namespace {

constexpr auto unbounded = std::numeric_limits<std::uint64_t>::max();

/// MemAvailable of /proc/meminfo: free, or freed for whoever asks.
std::uint64_t free_on_the_machine() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kibibytes = 0;
  for (std::string rest; file >> key >> kibibytes; std::getline(file, rest))
    if (key == "MemAvailable:") return kibibytes * 1024;
  return unbounded;
}

std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;  // "max" is no number: no limit
}

/// The second version of control groups (Documentation/admin-guide/cgroup-v2.rst): the file's line is 0::<path>.
std::uint64_t left_in_the_group() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  auto least = unbounded;
  while (std::getline(file, line)) {
    if (!line.starts_with("0::/")) continue;
    // Every group above it has its limit, too; a container sees its own as the root.
    for (auto path = line.substr(3); !path.empty(); path.erase(path.rfind('/'))) {
      const auto folder = "/sys/fs/cgroup" + path;
      const auto limit = number_in(folder + "/memory.max");
      const auto used = number_in(folder + "/memory.current");
      if (limit && used) least = std::min(least, *limit - std::min(*limit, *used));
    }
  }
  return least;
}

}  // namespace

std::uint64_t available_memory() { return std::min(free_on_the_machine(), left_in_the_group()); }

}  // namespace shoal
