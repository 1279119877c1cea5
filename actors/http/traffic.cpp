#include "http/traffic.hpp"

#include <algorithm>
#include <array>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace shoal::http {

struct traffic::series {
  std::shared_ptr<prometheus::Registry> registry;  // owns what the others point to
  std::array<prometheus::Counter*, 5> requests{};  // 1xx..5xx
  prometheus::Counter* abandoned = nullptr;
  prometheus::Counter* refused_connections = nullptr;
  prometheus::Gauge* in_flight = nullptr;
  prometheus::Gauge* connections = nullptr;
  prometheus::Histogram* seconds = nullptr;

  void count(unsigned status) { requests[std::clamp(status / 100, 1U, 5U) - 1]->Increment(); }
};

traffic::traffic(std::shared_ptr<prometheus::Registry> registry, const std::string& server) {
  if (!registry) return;
  series_ = std::make_unique<series>();
  const std::map<std::string, std::string> labels{{"server", server}};
  auto& requests = prometheus::BuildCounter()
                       .Name("shoal_http_requests_total")
                       .Help("HTTP requests by class of status; 'abandoned': the client left before the answer")
                       .Labels(labels)
                       .Register(*registry);
  for (std::size_t i = 0; i < series_->requests.size(); ++i)
    series_->requests[i] = &requests.Add({{"code", std::to_string(i + 1) + "xx"}});
  series_->abandoned = &requests.Add({{"code", "abandoned"}});
  series_->refused_connections = &prometheus::BuildCounter()
                                      .Name("shoal_http_connections_refused_total")
                                      .Help("HTTP connections answered 503 or closed because of the limit")
                                      .Labels(labels)
                                      .Register(*registry)
                                      .Add({});
  series_->in_flight = &prometheus::BuildGauge()
                            .Name("shoal_http_requests_in_flight")
                            .Help("HTTP requests that wait for their answer")
                            .Labels(labels)
                            .Register(*registry)
                            .Add({});
  series_->connections = &prometheus::BuildGauge()
                              .Name("shoal_http_connections")
                              .Help("Open HTTP connections")
                              .Labels(labels)
                              .Register(*registry)
                              .Add({});
  series_->seconds = &prometheus::BuildHistogram()
                          .Name("shoal_http_request_seconds")
                          .Help("From the last byte of an HTTP request to its answer")
                          .Labels(labels)
                          .Register(*registry)
                          .Add({}, prometheus::Histogram::BucketBoundaries{.0001, .00025, .0005, .001, .0025, .005, .01,
                                                                           .025, .05, .1, .25, .5, 1, 2.5, 5, 10});
  series_->registry = std::move(registry);
}

traffic::~traffic() = default;

void traffic::connection_opened() {
  if (series_) series_->connections->Increment();
}

void traffic::connection_closed() {
  if (series_) series_->connections->Decrement();
}

void traffic::connection_refused() {
  if (series_) series_->refused_connections->Increment();
}

void traffic::request_started() {
  if (series_) series_->in_flight->Increment();
}

void traffic::request_abandoned() {
  if (!series_) return;
  series_->in_flight->Decrement();
  series_->abandoned->Increment();
}

void traffic::request_answered(unsigned status, std::chrono::steady_clock::duration taken) {
  if (!series_) return;
  series_->in_flight->Decrement();
  series_->seconds->Observe(std::chrono::duration<double>(taken).count());
  series_->count(status);
}

void traffic::request_refused(unsigned status) {
  if (series_) series_->count(status);
}

}  // namespace shoal::http
