// What a server counts about its traffic, for Prometheus. Written by the server's thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace prometheus {
class Registry;
}

namespace shoal::http {

class traffic {
 public:
  /// Counts nowhere if `registry` is null.
  traffic(std::shared_ptr<prometheus::Registry> registry, const std::string& server);
  ~traffic();

  void connection_opened();
  void connection_closed();
  void connection_refused();
  void request_started();
  /// The client left before it was answered.
  void request_abandoned();
  void request_answered(unsigned status, std::chrono::steady_clock::duration taken);
  /// Answered before it became a request: not HTTP, too large, too slow.
  void request_refused(unsigned status);

 private:
  struct series;
  std::unique_ptr<series> series_;
};

}  // namespace shoal::http
