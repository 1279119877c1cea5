#include "mesh/services.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace shoal::test {

using namespace std::chrono_literals;

std::unique_ptr<process> services::launch(const std::string& kind, std::vector<std::string> settings) {
  std::vector<std::string> command{executable("shoal-" + kind), "--set", "log.level=info"};
  for (auto& setting : settings) {
    command.emplace_back("--set");
    command.push_back(kind + "." + setting);
  }
  for (const auto& argument : more_[kind]) command.push_back(argument);
  return std::make_unique<process>(std::move(command), folder_ / (kind + "." + std::to_string(launched_++) + ".log"));
}

void services::start_gateway() {
  gateway_ = launch("gateway", {"listen=" + endpoint(), "schedulers=ipc://" + folder_ / "scheduler", "http=127.0.0.1:0",
                                "grpc=127.0.0.1:0"});
}

void services::start_scheduler() {
  scheduler_ = launch("scheduler",
                      {"listen=ipc://" + folder_ / "scheduler", "metrics=", "profiles=" + folder_ / "profiles.json"});
}

void services::start_cache() {
  cache_ = launch("cache", {"listen=ipc://" + folder_ / "cache", "schedulers=ipc://" + folder_ / "scheduler",
                            "ssd=" + folder_ / "disk", "dram=" + cache_memory(), "metrics="});
  auto& worker = more_["worker"];
  for (const auto& setting : {"worker.caches=ipc://" + folder_ / "cache", "worker.dram=" + cache_memory()}) {
    if (std::find(worker.begin(), worker.end(), setting) != worker.end()) continue;
    worker.emplace_back("--set");
    worker.push_back(setting);
  }
}

std::size_t services::start_worker() {
  workers_.push_back(launch("worker", {"schedulers=ipc://" + folder_ / "scheduler", "gateways=" + endpoint(),
                                       "metrics=", "models=" + models_folder()}));
  return workers_.size() - 1;
}

void services::start() {
  start_scheduler();
  start_gateway();
  start_worker();
  auto client = connect();
  wait_for_model(*client, "identity");
}

std::unique_ptr<link::client> services::connect() const {
  auto client = link::client::connect(endpoint(), 10s);
  if (!client) throw std::runtime_error(client.error().message + "\n" + gateway_->output());
  return std::move(*client);
}

void services::wait_for_model(link::client& client, const std::string& name) const {
  const auto until = steady::now() + 30s;
  while (steady::now() < until) {
    if (const auto models = client.describe(2s))
      for (const auto& model : models->models)
        if (model.name == name && model.state == protocol::model_state::ready) return;
    std::this_thread::sleep_for(20ms);
  }
  std::string logs;
  for (const auto& worker : workers_) logs += worker->output();
  throw std::runtime_error("model " + name + " does not become ready:\n" + logs);
}

}  // namespace shoal::test
