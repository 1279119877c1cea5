#include "http/observability.hpp"

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
  return [registry = std::move(registry), ready = std::move(ready), leaving = std::move(leaving)](
             const request& asked, const responder& respond) {
    bool known = asked.path == "/metrics" || asked.path == "/health/live" || asked.path == "/health/ready";
    if (!known)
      respond(error_response(404, "there is nothing here but /metrics, /health/live and /health/ready"));
    else if (!goes_as(asked.method, "GET"))
      respond(method_not_allowed(asked.method, "GET"));
    else if (asked.path == "/metrics")
      respond(metrics_page(*registry));
    else if (asked.path == "/health/ready" && leaving && leaving())
      respond(error_response(404, "it is leaving: what it serves goes on, others take what is new"));
    else
      respond(health(asked.path == "/health/live" || ready()));
  };
}

}  // namespace shoal::http
