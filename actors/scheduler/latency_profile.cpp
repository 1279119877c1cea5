#include "scheduler/latency_profile.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace shoal::scheduler {

namespace {

constexpr double least_forgotten = 1.0 / 200;  ///< with every batch: some 200 count
constexpr double clip = 8;                     ///< deviations beyond which a time is believed only this far

double seconds_of(steady::duration time) { return std::chrono::duration<double>(time).count(); }

steady::duration duration_of(double seconds) {
  return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(std::clamp(seconds, 0.0, 86400.0)));
}

}  // namespace

int latency_profile::bucket_of(std::int64_t number) {
  if (number < 4) return static_cast<int>(std::max<std::int64_t>(number, 0));
  const auto value = static_cast<std::uint64_t>(number);
  const int doubling = std::bit_width(value) - 1;  // at least 2
  return 4 * (doubling - 1) + static_cast<int>((value >> (doubling - 2)) & 3);
}

void latency_profile::learn(batch_size size, steady::duration took) {
  auto seconds = std::max(seconds_of(took), 1e-7);
  auto& cell = cells_[{bucket_of(size.rows), bucket_of(size.length)}];
  if (cell.count == 0) {
    cell.mean = seconds;
    cell.deviation = seconds / 2;
  } else {
    const auto most = cell.mean + clip * std::max(cell.deviation, cell.mean / 16);
    seconds = std::min(seconds, most);
    cell.deviation += (std::abs(seconds - cell.mean) - cell.deviation) / 4;
    constexpr std::uint64_t settled = 8;
    const auto weight = 1.0 / static_cast<double>(std::min(cell.count + 1, settled));
    cell.mean += (seconds - cell.mean) * (cell.count < settled && seconds < cell.mean ? 0.5 : weight);
  }
  ++cell.count;
  const auto tokens = size.tokens();
  const auto forgetting = 1 - std::max(least_forgotten, 4 / (static_cast<double>(batches_++) + 4));
  for (auto* sum : {&sums_.weight, &sums_.tokens, &sums_.seconds, &sums_.tokens_squared, &sums_.tokens_seconds})
    *sum *= forgetting;
  sums_.weight += 1;
  sums_.tokens += tokens;
  sums_.seconds += seconds;
  sums_.tokens_squared += tokens * tokens;
  sums_.tokens_seconds += tokens * seconds;
  fit_line();
}

void latency_profile::fit_line() {
  const auto& s = sums_;
  const auto mean_tokens = s.tokens / s.weight;
  const auto mean_seconds = s.seconds / s.weight;
  const auto variance = s.tokens_squared / s.weight - mean_tokens * mean_tokens;
  const line through_zero{0, mean_tokens > 0 ? mean_seconds / mean_tokens : 0};
  line_ = through_zero;
  if (variance <= 1e-6 * mean_tokens * mean_tokens) return;  // all of one size
  const auto slope = (s.tokens_seconds / s.weight - mean_tokens * mean_seconds) / variance;
  const auto fixed = mean_seconds - slope * mean_tokens;
  if (slope <= 0)
    line_ = {mean_seconds, 0};
  else if (fixed >= 0)
    line_ = {fixed, slope};
}

std::optional<steady::duration> latency_profile::predict(batch_size size) const {
  if (cells_.empty()) return std::nullopt;
  const auto found = cells_.find({bucket_of(size.rows), bucket_of(size.length)});
  if (found != cells_.end()) return duration_of(found->second.mean);
  const auto [fixed, per_token] = line_;
  return duration_of(fixed + per_token * size.tokens());
}

std::optional<steady::duration> latency_profile::share_of(batch_size one) const {
  if (cells_.empty()) return std::nullopt;
  const auto [fixed, per_token] = line_;
  const auto usual = std::max(sums_.tokens / sums_.weight, one.tokens());
  return duration_of((per_token + fixed / usual) * one.tokens());
}

std::optional<double> latency_profile::tokens_for_fixed_share(double share) const {
  const auto [fixed, per_token] = line_;
  if (cells_.empty() || fixed <= 0 || per_token <= 0 || share <= 0 || share >= 1) return std::nullopt;
  return fixed * (1 - share) / (share * per_token);
}

expected<latency_profile> latency_profile::from(std::map<bucket, cell> cells, sums fit) {
  const auto is_good = [](double figure) { return std::isfinite(figure) && figure >= 0; };
  for (const auto& [where, cell] : cells) {
    if (where.first < 0 || where.first > largest_bucket || where.second < 0 || where.second > largest_bucket)
      return fail(errc::corrupt, "there is no such bucket");
    if (!is_good(cell.mean) || !is_good(cell.deviation) || cell.count == 0)
      return fail(errc::corrupt, "a bucket holds what no batch can have taken");
  }
  for (const auto figure : {fit.weight, fit.tokens, fit.seconds, fit.tokens_squared, fit.tokens_seconds})
    if (!is_good(figure)) return fail(errc::corrupt, "the sums of its fit are not those of batches");
  if (!cells.empty() && fit.weight <= 0) return fail(errc::corrupt, "it has buckets but no fit");
  latency_profile made;
  made.cells_ = std::move(cells);
  made.sums_ = fit;
  for (const auto& [where, cell] : made.cells_) made.batches_ += std::min(cell.count, std::uint64_t{1} << 32);
  if (!made.cells_.empty()) made.fit_line();
  return made;
}

}  // namespace shoal::scheduler
