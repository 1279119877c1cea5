#include "services/mesh/output.hpp"

#include <array>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

namespace shoal::services {

int exit_code_of(errc code) noexcept {
  switch (code) {
    case errc::internal:
    case errc::poisoned:
    case errc::incompatible:
    case errc::corrupt:
    case errc::permission_denied:
    case errc::unauthenticated:
    case errc::cancelled: return 1;
    case errc::invalid_argument:
    case errc::unsupported:
    case errc::too_large: return 2;
    case errc::not_found: return 3;
    case errc::unavailable: return 4;
    case errc::deadline_exceeded: return 5;
    case errc::overloaded: return 6;
  }
  return 1;
}

void print_json(const nlohmann::ordered_json& document) {
  std::cout << document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

int report_error(const error& failure, bool as_json) {
  if (as_json)
    print_json({{"error",
                 {{"code", name_of(failure.code)},
                  {"message", failure.message},
                  {"retryable", failure.retryable},
                  {"retry_after_ms", failure.retry_after.count()}}}});
  else
    std::cerr << "shoal: " << failure.message << "\n";
  return exit_code_of(failure.code);
}

std::string id_text(std::uint64_t id) {
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(id));
  return digits.data();
}

std::string age_text(std::chrono::seconds age) {
  const auto seconds = age.count();
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  if (seconds < 172800) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

std::string size_text(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text.data();
}

error with_next_step(error failure) {
  if (failure.code == errc::unavailable && failure.message.find("cannot be reached") != std::string::npos)
    failure.message += ". Start a mesh with `shoal up --models DIR`, or name its address with --at or SHOAL_AT";
  if (failure.code == errc::not_found && failure.message.find("no model") != std::string::npos)
    failure.message += ". `shoal models` lists those there are";
  return failure;
}

}  // namespace shoal::services
