#include "services/mesh/bench/arrivals.hpp"

#include <cmath>
#include <fstream>

namespace shoal::services::bench {

arrivals arrivals::poisson(double rate, std::uint64_t seed) {
  arrivals made;
  made.kind_ = kind::poisson;
  made.rate_ = rate;
  made.random_.seed(seed);
  return made;
}

arrivals arrivals::constant(double rate) {
  arrivals made;
  made.rate_ = rate;
  return made;
}

expected<arrivals> arrivals::from_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(errc::not_found, "--arrivals: cannot read " + path);
  arrivals made;
  made.kind_ = kind::recorded;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto wrong = [&](const char* why) {
      return fail(errc::invalid_argument, "--arrivals: " + path + ":" + std::to_string(number) + ": " + why);
    };
    std::size_t used = 0;
    double seconds = 0;
    try {
      seconds = std::stod(line, &used);
    } catch (const std::exception&) {
      return wrong("this is no time in seconds");
    }
    if (!std::isfinite(seconds) || line.find_first_not_of(" \t\r", used) != std::string::npos)
      return wrong("this is no time in seconds");
    if (!made.recorded_.empty() && seconds < made.recorded_.back()) return wrong("it is earlier than the one before");
    made.recorded_.push_back(seconds);
  }
  if (made.recorded_.empty()) return fail(errc::invalid_argument, "--arrivals: there is no time in " + path);
  return made;
}

std::optional<steady::duration> arrivals::next() {
  switch (kind_) {
    case kind::poisson: at_ += std::exponential_distribution<double>(rate_)(random_); break;
    case kind::constant: at_ += 1 / rate_; break;
    case kind::recorded:
      if (position_ == recorded_.size()) return std::nullopt;
      at_ = recorded_[position_++] - recorded_.front();
      break;
  }
  return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(at_));
}

}  // namespace shoal::services::bench
