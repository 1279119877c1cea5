#include "services/mesh/bench/tally.hpp"

#include <numeric>

namespace shoal::services::bench {

void tally::fail(errc code, const std::string& reason) {
  const auto at = static_cast<std::size_t>(code);
  if (failures[at]++ == 0) reasons[at] = reason;
}

void tally::merge(const tally& other) {
  sent += other.sent;
  ok += other.ok;
  in_time += other.in_time;
  answered += other.answered;
  no_outcome += other.no_outcome;
  second_tries += other.second_tries;
  for (std::size_t i = 0; i < codes; ++i) {
    if (failures[i] == 0) reasons[i] = other.reasons[i];
    failures[i] += other.failures[i];
  }
  latency.merge(other.latency);
  service.merge(other.service);
  refusals.merge(other.refusals);
  failing.merge(other.failing);
  bytes_sent += other.bytes_sent;
  bytes_received += other.bytes_received;
}

std::uint64_t tally::failed() const noexcept {
  return std::accumulate(failures.begin(), failures.end(), std::uint64_t{0});
}

std::uint64_t tally::refused() const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < codes; ++i)
    if (is_refusal(static_cast<errc>(i))) sum += failures[i];
  return sum;
}

double tally::failure_ratio() const noexcept {
  return sent == 0 ? 0 : static_cast<double>(failed() + no_outcome) / static_cast<double>(sent);
}

}  // namespace shoal::services::bench
