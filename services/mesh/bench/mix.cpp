#include "services/mesh/bench/mix.hpp"

#include <algorithm>

#include "gateway/open_inference.hpp"
#include "services/mesh/bench/numbers.hpp"
#include "services/mesh/names.hpp"

namespace shoal::services::bench {

std::string_view name_of(protocol::priority priority) noexcept {
  switch (priority) {
    case protocol::priority::critical: return "critical";
    case protocol::priority::batch: return "batch";
    case protocol::priority::standard: break;
  }
  return "standard";
}

std::string stream::text() const {
  auto text = model;
  if (version != 0) text += "/" + std::to_string(version);
  if (priority != protocol::priority::standard) text.append("@").append(name_of(priority));
  return text;
}

expected<stream> read_stream(const std::string& text) {
  stream made;
  auto rest = text;
  if (const auto at = rest.find('@'); at != std::string::npos) {
    const auto priority = gateway::read_priority(rest.substr(at + 1));
    if (!priority) return fail(errc::invalid_argument, "--model " + text + ": " + priority.error().message);
    made.priority = *priority;
    rest.resize(at);
  }
  if (const auto colon = rest.find(':'); colon != std::string::npos) {
    const auto weight = read_number(rest.substr(colon + 1));
    if (!weight || *weight <= 0)
      return fail(errc::invalid_argument,
                  "--model " + text + ": '" + rest.substr(colon + 1) + "' is not a weight: write a number above 0");
    made.weight = *weight;
    rest.resize(colon);
  }
  auto named = read_model_name(rest);
  if (!named) return fail(errc::invalid_argument, "--model: " + named.error().message);
  std::tie(made.model, made.version) = std::move(*named);
  return made;
}

mix::mix(std::vector<part> parts, std::uint64_t seed) : parts_(std::move(parts)), random_(seed) {
  double sum = 0;
  for (const auto& each : parts_) {
    bounds_.push_back(sum += each.weight);
    places_.push_back(random_() % each.order.size());
  }
}

mix::choice mix::next() {
  const auto u = static_cast<double>(random_() >> 11) * 0x1p-53 * bounds_.back();
  const auto found = std::upper_bound(bounds_.begin(), bounds_.end() - 1, u) - bounds_.begin();
  const auto which = static_cast<std::size_t>(found);
  auto& place = places_[which];
  const auto& order = parts_[which].order;
  const auto prepared = order[place];
  place = (place + 1) % order.size();
  return {which, prepared};
}

}  // namespace shoal::services::bench
