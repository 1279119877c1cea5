// Finds out when a mesh of processes serves, as a client would: at each gateway every model must be ready or have
// failed, and an inference must succeed. That inference is also what a gateway's own readiness is made of.
//
// Works on a thread of its own, since it waits; what it found is read once the descriptor is readable.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"

namespace shoal::services {

class readiness {
 public:
  readiness(std::vector<std::string> gateways, std::size_t models);
  ~readiness();
  readiness(const readiness&) = delete;
  readiness& operator=(const readiness&) = delete;

  [[nodiscard]] int descriptor() const noexcept { return event_; }
  /// The number of models that serve. Error: unavailable (none could be loaded). Only once `descriptor` is readable.
  [[nodiscard]] const expected<std::size_t>& found() const { return *found_; }

 private:
  void run();
  std::optional<expected<std::size_t>> ask(const std::string& gateway) const;

  std::vector<std::string> gateways_;
  std::size_t models_;
  int event_;
  std::optional<expected<std::size_t>> found_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace shoal::services
