#include "http/observability.hpp"

#include <atomic>

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace shoal::http {

response metrics_page(const prometheus::Registry& registry) {
  response page;
  page.content_type = "text/plain; version=0.0.4; charset=utf-8";
  page.body.push_back(to_buffer(prometheus::TextSerializer().Serialize(registry.Collect())));
  return page;
}

response health(bool good) {
  response answer;
  answer.status = good ? 200 : 503;
  return answer;
}

handler observability(std::shared_ptr<prometheus::Registry> registry, std::function<bool()> ready,
                      std::function<bool()> leaving) {
  const auto opened = std::make_shared<std::atomic<bool>>(false);
  return [registry = std::move(registry), ready = std::move(ready), leaving = std::move(leaving), opened](
             const request& asked, const responder& respond) {
    const bool for_balancers = asked.path == "/health/ready" || asked.path == "/health/open";
    if (!for_balancers && asked.path != "/metrics" && asked.path != "/health/live")
      return respond(
          error_response(404, "there is nothing here but /metrics, /health/live, /health/open and /health/ready"));
    if (!goes_as(asked.method, "GET")) return respond(method_not_allowed(asked.method, "GET"));
    if (asked.path == "/metrics") return respond(metrics_page(*registry));
    if (asked.path == "/health/live") return respond(health(true));
    if (leaving && leaving())
      return respond(error_response(404, "it is leaving: what it serves goes on, others take what is new"));
    const bool good = ready();
    if (good) *opened = true;
    respond(health(good || (asked.path == "/health/open" && *opened)));
  };
}

}  // namespace shoal::http
