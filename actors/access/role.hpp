// What the holder of a key or a token may be and do. A service's role is the kind of service it may act as; nothing
// may act as two.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shoal::access {

enum class role : std::uint8_t {
  client,    ///< infers, and reads what models there are
  observer,  ///< reads metrics; tokens only
  admin,     ///< a client that loads and unloads models, and an observer
  gateway,
  scheduler,
  worker,
  cache,
  precision,
};

inline constexpr std::array<std::string_view, 8> role_names{"client",    "observer", "admin", "gateway",
                                                            "scheduler", "worker",   "cache", "precision"};

constexpr std::string_view name_of(role which) noexcept { return role_names[static_cast<std::size_t>(which)]; }

constexpr std::optional<role> role_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < role_names.size(); ++i)
    if (role_names[i] == name) return static_cast<role>(i);
  return std::nullopt;
}

/// Of people and their programs, not of services.
constexpr bool is_callers(role which) noexcept { return which <= role::admin; }

}  // namespace shoal::access
