// `shoal up --processes` for a test or a bench: in a run directory of its own, on free ports, ended with it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "mesh/process.hpp"

namespace shoal::test {

class mesh_of_processes {
 public:
  /// Answers are fp32's unless `more`, further arguments, has another precision.policy.
  explicit mesh_of_processes(std::vector<std::string> more = {}, std::string models = models_folder());

  [[nodiscard]] std::vector<std::string> command(std::vector<std::string> more,
                                                 std::string models = models_folder()) const;

  /// The line `ready`. Throws std::runtime_error with what was printed if it does not come.
  std::string wait_until_ready();

  [[nodiscard]] std::string run() const { return folder_ / "run"; }
  [[nodiscard]] process& parent() { return process_; }
  [[nodiscard]] const scratch_folder& folder() const { return folder_; }
  [[nodiscard]] std::string gateway(int number = 1) const;

  /// Every service's name ("worker-1") and process id, as mesh.json has them now.
  [[nodiscard]] std::vector<std::pair<std::string, pid_t>> ids() const;
  /// -1: it does not run.
  [[nodiscard]] pid_t id_of(const std::string& name) const;

  /// Waits until `name` runs with another process id than `old`.
  [[nodiscard]] bool is_replaced(const std::string& name, pid_t old, milliseconds most = milliseconds(15000)) const;

 private:
  scratch_folder folder_;
  process process_;
};

/// The arguments for two of each service.
const std::vector<std::string>& two_of_each();

}  // namespace shoal::test
