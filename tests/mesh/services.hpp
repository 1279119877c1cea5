// Gateway, scheduler and workers as processes of their own over ipc, as a test needs them.
#pragma once

#include <map>
#include <memory>

#include "link/client.hpp"
#include "mesh/process.hpp"

namespace shoal::test {

class services {
 public:
  /// Extra arguments for every process of a kind, such as {"gateway", {"--set", "gateway.max_requests=8"}}.
  using extras = std::map<std::string, std::vector<std::string>>;

  explicit services(extras more = {}) : more_(std::move(more)) {}

  void start_gateway();
  void start_scheduler();
  /// Workers that are started after it use it; started again, it finds what it had.
  void start_cache();
  /// Returns its index, for `worker`.
  std::size_t start_worker();

  /// All three, and `identity` is served.
  void start();

  [[nodiscard]] process& gateway() { return *gateway_; }
  [[nodiscard]] process& scheduler() { return *scheduler_; }
  [[nodiscard]] process& cache() { return *cache_; }
  [[nodiscard]] std::string cache_memory() const { return folder_ / "memory"; }
  [[nodiscard]] process& worker(std::size_t index) { return *workers_.at(index); }
  [[nodiscard]] std::string endpoint() const { return "ipc://" + folder_ / "gateway"; }

  /// A client that is connected; throws what is wrong after ten seconds.
  [[nodiscard]] std::unique_ptr<link::client> connect() const;
  /// Waits until model `name` is ready there.
  void wait_for_model(link::client& client, const std::string& name) const;

 private:
  std::unique_ptr<process> launch(const std::string& kind, std::vector<std::string> settings);

  scratch_folder folder_;
  extras more_;
  int launched_ = 0;
  std::unique_ptr<process> gateway_;
  std::unique_ptr<process> scheduler_;
  std::unique_ptr<process> cache_;
  std::vector<std::unique_ptr<process>> workers_;
};

}  // namespace shoal::test
