#include "services/mesh/bench/format.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace shoal::services::bench {

std::string format(const char* pattern, ...) {
  std::array<char, 512> text{};
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

std::string ms_text(double us) {
  const auto ms = us / 1000;
  return format(ms < 9.995 ? "%.3f" : ms < 99.95 ? "%.1f" : "%.0f", ms);
}

}  // namespace shoal::services::bench
