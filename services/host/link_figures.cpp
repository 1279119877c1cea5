#include "services/host/link_figures.hpp"

namespace shoal::services {

namespace {

constexpr milliseconds publish_every{1000};

/// "link_dropped{reason=\"malformed\"}" as a family and its label.
std::pair<std::string, metrics::labels> parts_of(const std::string& name) {
  const auto brace = name.find('{');
  if (brace == std::string::npos) return {name, {}};
  const auto equals = name.find("=\"", brace), end = name.rfind("\"}");
  return {name.substr(0, brace),
          {{name.substr(brace + 1, equals - brace - 1), name.substr(equals + 2, end - equals - 2)}}};
}

}  // namespace

void link_figures::publish(const link::zmq_link& of, time_point now) {
  if (now < again_) return;
  again_ = now + publish_every;
  for (const auto& figure : of.figures()) {
    if (figure.name == "link_peers" || figure.name.find("{peer=") != std::string::npos) continue;
    auto& one = series_[figure.name];
    if (one.counter == nullptr) {
      const auto [family, labels] = parts_of(figure.name);
      one.counter =
          &figures_.counter("shoal_" + family + "_total", "What the link counts (actors/link/counters.hpp)", labels);
    }
    if (figure.value > one.told) one.counter->Increment(figure.value - one.told);
    one.told = figure.value;
  }
}

}  // namespace shoal::services
