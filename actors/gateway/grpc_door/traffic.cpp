#include "gateway/grpc_door/traffic.hpp"

#include <algorithm>

#include "core/metrics.hpp"

namespace shoal::gateway::grpc_door {

namespace {

// In the order of their values (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
constexpr std::array<const char*, 17> code_names{
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

}  // namespace

traffic::traffic(std::shared_ptr<prometheus::Registry> registry) : registry_(std::move(registry)) {
  if (!registry_) return;
  auto& calls = prometheus::BuildCounter()
                    .Name("shoal_grpc_calls_total")
                    .Help("gRPC calls by status; a stream is one call")
                    .Register(*registry_);
  for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i] = &calls.Add({{"code", code_names[i]}});
  in_flight_ = &prometheus::BuildGauge()
                    .Name("shoal_grpc_calls_in_flight")
                    .Help("gRPC calls that have begun and not ended")
                    .Register(*registry_)
                    .Add({});
  seconds_ = &prometheus::BuildHistogram()
                  .Name("shoal_grpc_call_seconds")
                  .Help("From the header of a gRPC call to its end")
                  .Register(*registry_)
                  .Add({}, seconds_buckets);
}

void traffic::call_begun() {
  if (registry_) in_flight_->Increment();
}

void traffic::call_ended(std::chrono::steady_clock::duration taken, grpc::StatusCode code) {
  if (!registry_) return;
  in_flight_->Decrement();
  calls_[static_cast<std::size_t>(std::clamp<int>(code, 0, static_cast<int>(calls_.size()) - 1))]->Increment();
  seconds_->Observe(std::chrono::duration<double>(taken).count());
}

}  // namespace shoal::gateway::grpc_door
