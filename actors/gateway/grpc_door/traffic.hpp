// What the door counts about its calls, for Prometheus. Safe from any thread.
#pragma once

#include <array>
#include <chrono>
#include <memory>

#include <grpcpp/support/status.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace shoal::gateway::grpc_door {

class traffic {
 public:
  /// Counts nowhere if `registry` is null.
  explicit traffic(std::shared_ptr<prometheus::Registry> registry);

  void call_begun();
  void call_ended(std::chrono::steady_clock::duration taken, grpc::StatusCode code);

 private:
  std::shared_ptr<prometheus::Registry> registry_;  // owns what the others point to
  std::array<prometheus::Counter*, 17> calls_{};    // by status code
  prometheus::Gauge* in_flight_ = nullptr;
  prometheus::Histogram* seconds_ = nullptr;
};

}  // namespace shoal::gateway::grpc_door
