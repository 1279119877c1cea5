#include "mesh/mesh_of_processes.hpp"

#include <fstream>
#include <stdexcept>
#include <thread>

#include <nlohmann/json.hpp>

namespace shoal::test {

using namespace std::chrono_literals;

mesh_of_processes::mesh_of_processes(std::vector<std::string> more, std::string models)
    : process_(command(std::move(more), std::move(models)), folder_ / "up.log") {}

std::vector<std::string> mesh_of_processes::command(std::vector<std::string> more, std::string models) const {
  std::vector<std::string> all{executable("shoal"),
                               "up",
                               "--processes",
                               "--models",
                               std::move(models),
                               "--http",
                               "127.0.0.1:0",
                               "--grpc",
                               "127.0.0.1:0",
                               "--native",
                               "tcp://127.0.0.1:0",
                               "--set",
                               "cache.ssd=" + folder_ / "disk",
                               "--set",
                               "cache.dram=" + folder_ / "memory",
                               "--set",
                               "mesh.run_directory=" + run(),
                               "--set",
                               "precision.policy=fp32"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string mesh_of_processes::wait_until_ready() {
  auto line = process_.wait_for_line("ready", 30s);
  if (line.empty()) throw std::runtime_error(process_.output());
  return line;
}

std::string mesh_of_processes::gateway(int number) const {
  return "ipc://" + run() + "/gateway-" + std::to_string(number);
}

std::vector<std::pair<std::string, pid_t>> mesh_of_processes::ids() const {
  std::ifstream file(run() + "/mesh.json");
  const auto all = nlohmann::json::parse(file, nullptr, false);
  std::vector<std::pair<std::string, pid_t>> found;
  if (all.is_discarded()) return found;
  for (const auto& one : all["services"])
    found.emplace_back(one["service"].get<std::string>() + "-" + std::to_string(one["number"].get<int>()),
                       one["pid"].get<pid_t>());
  return found;
}

pid_t mesh_of_processes::id_of(const std::string& name) const {
  for (const auto& [each, pid] : ids())
    if (each == name) return pid;
  return -1;
}

bool mesh_of_processes::is_replaced(const std::string& name, pid_t old, milliseconds most) const {
  const auto until = steady::now() + most;
  while (steady::now() < until) {
    if (const auto pid = id_of(name); pid > 0 && pid != old) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

const std::vector<std::string>& two_of_each() {
  static const std::vector<std::string> arguments{"--scale", "gateway=2", "--scale", "scheduler=2",
                                                  "--scale", "worker=2",  "--scale", "cache=2"};
  return arguments;
}

}  // namespace shoal::test
