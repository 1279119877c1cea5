// What every service answers at its address for metrics and health, whatever it does:
//
//   GET /metrics       Prometheus' text format
//   GET /health/live   200 as long as this can be answered
//   GET /health/ready  200 if `ready`, else 503; 404 if `leaving`: what it serves goes on, but nobody new shall come
//                      (HAProxy's `http-check disable-on-404` takes it so; for everybody else it is not ready)
//   GET /health/open   for balancers: as ready, but 200 ever since it was ready once. What the services behind it lack
//   is told
//                      by it in its answers, sooner and better than by a balancer that cuts all connections to it.
//
// `ready` and `leaving` are called on the server's thread and must not block.
#pragma once

#include <functional>
#include <memory>

#include "http/server.hpp"

namespace shoal::http {

/// The registry as Prometheus reads it.
response metrics_page(const prometheus::Registry& registry);

/// 200 or 503 with an empty body, as probes and Open Inference Protocol v2 ask.
response health(bool good);

/// `leaving` may be empty: never.
handler observability(std::shared_ptr<prometheus::Registry> registry, std::function<bool()> ready,
                      std::function<bool()> leaving = {});

}  // namespace shoal::http
