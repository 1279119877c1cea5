// Figures of a service: one registry each, shown at its /metrics and in `shoal status`. Names follow Prometheus'
// conventions (base units, _total for counters), all begin with shoal_. Safe from any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace shoal {

/// Of figures in seconds: from 100 us to 30 s.
inline const prometheus::Histogram::BucketBoundaries seconds_buckets{
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, .1, .25, .5, 1, 2.5, 5, 10, 30};

class metrics {
 public:
  using labels = std::map<std::string, std::string>;

  metrics() : registry_(std::make_shared<prometheus::Registry>()) {}

  prometheus::Counter& counter(const std::string& name, const std::string& help, const labels& with = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(with);
  }
  prometheus::Gauge& gauge(const std::string& name, const std::string& help, const labels& with = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(with);
  }
  /// In seconds_buckets.
  prometheus::Histogram& seconds(const std::string& name, const std::string& help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_).Add({}, seconds_buckets);
  }

  /// Forgets a counter (one of a labelled family, whose label is gone). Nobody may touch it afterwards.
  void remove(const std::string& name, const std::string& help, prometheus::Counter& gone) {
    prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Remove(&gone);
  }
  void remove(const std::string& name, const std::string& help, prometheus::Gauge& gone) {
    prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Remove(&gone);
  }

  [[nodiscard]] const std::shared_ptr<prometheus::Registry>& registry() const noexcept { return registry_; }

  /// Counters and gauges as (name{labels}, value), sorted by name.
  [[nodiscard]] std::vector<std::pair<std::string, double>> snapshot() const;

 private:
  std::shared_ptr<prometheus::Registry> registry_;
};

}  // namespace shoal
