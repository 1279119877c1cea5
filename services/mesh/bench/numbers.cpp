#include "services/mesh/bench/numbers.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace shoal::services::bench {

namespace {

constexpr double highest_rate = 1e6;
constexpr double most_rates = 100;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (auto end = text.find(at); end != std::string::npos; end = text.find(at, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

std::optional<double> read_number(std::string_view text) {
  double value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

expected<std::vector<double>> read_rates(const std::vector<std::string>& texts) {
  std::vector<double> rates;
  for (const auto& text : texts) {
    const auto wrong = [&](const std::string& why) {
      return fail(errc::invalid_argument, std::string("--rate ").append(text).append(": ").append(why));
    };
    std::vector<double> numbers;
    for (const auto& part : split(text, ':')) {
      const auto number = read_number(part);
      if (!number) return wrong("'" + part + "' is not a number; write requests per second, or FROM:TO:COUNT");
      numbers.push_back(*number);
    }
    if (numbers.size() != 1 && numbers.size() != 3) return wrong("write one rate, or FROM:TO:COUNT");
    for (std::size_t i = 0; i < std::min<std::size_t>(numbers.size(), 2); ++i)
      if (numbers[i] <= 0 || numbers[i] > highest_rate) return wrong("a rate is above 0 and at most 1000000");
    if (numbers.size() == 1) {
      rates.push_back(numbers[0]);
      continue;
    }
    const auto count = numbers[2];
    if (count < 2 || count > most_rates || count != std::floor(count))
      return wrong("COUNT is a whole number from 2 to 100");
    for (int i = 0; i < static_cast<int>(count); ++i)
      rates.push_back(numbers[0] + (numbers[1] - numbers[0]) * i / (count - 1));
  }
  if (static_cast<double>(rates.size()) > most_rates) return fail(errc::invalid_argument, "--rate: at most 100 rates");
  return rates;
}

bool stands_on(const bound& wanted, double expected) noexcept {
  return wanted.of != "p99.9" || expected >= fewest_answers_for_p99_9;
}

expected<bound> read_bound(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, double>, 3> units{{{"us", 1}, {"ms", 1e3}, {"s", 1e6}}};
  constexpr std::array<std::pair<std::string_view, double>, 6> names{
      {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"mean", 0}, {"max", 100}}};
  const auto wrong = fail(errc::invalid_argument, "--search " + text +
                                                      ": write for example 'p99<200ms' (p50, p90, p99, p99.9, mean or "
                                                      "max; us, ms or s)");
  const auto less = text.find('<');
  if (less == std::string::npos) return wrong;
  bound made;
  made.text = text;
  for (const auto& [name, p] : names)
    if (text.substr(0, less) == name) {
      made.of = name;
      made.p = p;
    }
  if (made.of.empty()) return wrong;
  auto time = std::string_view(text).substr(less + 1);
  for (const auto& [unit, us] : units)
    if (time.ends_with(unit)) {
      const auto number = read_number(time.substr(0, time.size() - unit.size()));
      if (!number || *number <= 0) return wrong;
      made.us = *number * us;
      return made;
    }
  return wrong;
}

}  // namespace shoal::services::bench
