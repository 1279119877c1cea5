// The clients of bench_overhead: the same request sent to the raw relay, to Shoal's native door, and to its HTTP and
// gRPC doors.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace shoal::bench {

struct latency {
  double p50 = 0;  ///< microseconds
  double p99 = 0;
};

class load {
 public:
  virtual ~load() = default;
  /// One request at a time.
  virtual latency one_by_one(int requests) = 0;
  /// `window` requests in flight; answers per second.
  virtual double saturated(int requests, int window) = 0;
};

/// Times `one`, after a tenth as many calls to warm up.
latency measure(int requests, const std::function<void()>& one);

/// `bytes` of fp32 payload; every answer is checked for its size. They throw what goes wrong.
std::unique_ptr<load> raw_load(const std::string& endpoint, std::size_t bytes);
std::unique_ptr<load> native_load(const std::string& endpoint, std::size_t bytes);
/// `address` is HOST:PORT; saturated() uses a connection for each request in flight.
std::unique_ptr<load> http_load(const std::string& address, std::size_t bytes);
/// One connection.
std::unique_ptr<load> grpc_load(const std::string& address, std::size_t bytes);

}  // namespace shoal::bench
