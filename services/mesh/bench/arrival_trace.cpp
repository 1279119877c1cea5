// Traces of arrivals, read from files.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "services/mesh/bench/arrivals.hpp"

namespace shoal::services::bench {

namespace {

constexpr double longest = 366.0 * 24 * 3600;  ///< s

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// "2023-11-16 18:17:03.9799600", "2024-05-10T00:00:00.009930+00:00": time since 1970 as if it were UTC; a trace's zone
/// does not change, so gaps are right.
std::optional<nanoseconds> wall_time_of(const std::string& text) {
  int year = 0, used = 0;
  unsigned month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2u-%2u%*1[ T]%2u:%2u:%2u%n", &year, &month, &day, &hour, &minute, &second,
                  &used) != 6)
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  auto at = static_cast<std::size_t>(used);
  std::int64_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t unit = 100'000'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
      fraction += (text[at] - '0') * unit;
  }
  if (at < text.size() && text[at] != 'Z' && text[at] != '+' && text[at] != '-') return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + nanoseconds(fraction);
}

std::string field(const std::string& line, std::size_t column) {
  std::size_t begin = 0;
  for (; column > 0; --column) {
    begin = line.find(',', begin);
    if (begin == std::string::npos) return {};
    ++begin;
  }
  return line.substr(begin, line.find(',', begin) - begin);
}

/// The column called TIMESTAMP of a CSV header.
std::optional<std::size_t> timestamp_column(const std::string& header) {
  std::size_t column = 0;
  for (std::size_t begin = 0; begin <= header.size(); ++column) {
    const auto end = std::min(header.find(',', begin), header.size());
    if (header.substr(begin, end - begin) == "TIMESTAMP") return column;
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace

expected<std::vector<nanoseconds>> read_arrivals(const std::string& file) {
  std::ifstream lines(file);
  if (!lines) return fail(errc::not_found, "--arrivals " + file + ": the file cannot be read");
  std::vector<nanoseconds> offsets;
  std::optional<std::size_t> column;
  nanoseconds first{};
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty()) continue;
    const auto where = "--arrivals " + file + ":" + std::to_string(number) + ": ";
    if (number == 1 && (column = timestamp_column(line))) continue;
    nanoseconds at{};
    if (column) {
      const auto wall = wall_time_of(field(line, *column));
      if (!wall) return fail(errc::invalid_argument, where + "'" + field(line, *column) + "' is not a wall time");
      if (offsets.empty()) first = *wall;
      at = *wall - first;
    } else {
      const auto seconds = number_of(line);
      if (!seconds || *seconds < 0 || *seconds > longest)
        return fail(errc::invalid_argument, where + "'" + line.substr(0, 40) +
                                                "' is not a time in seconds from 0, nor a CSV header with TIMESTAMP");
      at = nanoseconds(std::llround(*seconds * 1e9));
    }
    if (!offsets.empty() && at < offsets.back())
      return fail(errc::invalid_argument, where + "this arrival is before the one on the line above: sort the file");
    offsets.push_back(at);
  }
  if (lines.bad()) return fail(errc::not_found, "--arrivals " + file + ": reading it failed");
  if (offsets.empty()) return fail(errc::invalid_argument, "--arrivals " + file + ": there is no arrival in it");
  return offsets;
}

}  // namespace shoal::services::bench
