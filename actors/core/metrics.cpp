#include "core/metrics.hpp"

#include <algorithm>

namespace shoal {

std::vector<std::pair<std::string, double>> metrics::snapshot() const {
  std::vector<std::pair<std::string, double>> figures;
  for (const auto& family : registry_->Collect()) {
    if (family.type != prometheus::MetricType::Counter && family.type != prometheus::MetricType::Gauge) continue;
    for (const auto& metric : family.metric) {
      auto name = family.name;
      for (const auto& label : metric.label) name += "{" + label.name + "=" + label.value + "}";
      figures.emplace_back(std::move(name),
                           family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value);
    }
  }
  std::sort(figures.begin(), figures.end());
  return figures;
}

}  // namespace shoal
