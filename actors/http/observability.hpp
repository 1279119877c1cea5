// What every service answers at its address for metrics and health, whatever it does:
//
//   GET /metrics       Prometheus' text format
//   GET /health/live   200 as long as this can be answered
//   GET /health/ready  200 if `ready`, else 503
//
// Without state of its own; `ready` is called on the server's thread and must not block.
#pragma once

#include <functional>
#include <memory>

#include "http/server.hpp"

namespace shoal::http {

/// The registry as Prometheus reads it.
response metrics_page(const prometheus::Registry& registry);

/// 200 or 503 with an empty body, as probes and Open Inference Protocol v2 ask.
response health(bool good);

handler observability(std::shared_ptr<prometheus::Registry> registry, std::function<bool()> ready);

}  // namespace shoal::http
