// Errors as values. Every fallible function of Shoal returns `expected<T>`; exceptions never cross an actor or a
// thread. An error says what happened and what to do about it, and whether the same request may succeed if it is tried
// again.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace shoal {

/// The classes of failure a caller can act on. The values travel on the wire (schemas/mesh.capnp): append only.
enum class errc : std::uint16_t {
  internal = 0,            ///< a defect of ours, or an operator that threw
  invalid_argument = 1,    ///< the caller must change the request
  not_found = 2,           ///< no such model, version, tensor or route
  unsupported = 3,         ///< well formed, but not something Shoal does
  too_large = 4,           ///< larger than a configured limit
  deadline_exceeded = 5,   ///< the time the caller gave is over
  cancelled = 6,           ///< the caller took the request back
  overloaded = 7,          ///< a bounded queue is full: come back after `retry_after`
  unavailable = 8,         ///< a service that is needed is not there (yet)
  poisoned = 9,            ///< the request ended two workers that ran it alone
  incompatible = 10,       ///< another protocol or archive version
  corrupt = 11,            ///< bytes that do not match what they claim to be
  permission_denied = 12,  ///< known who asks, and not allowed
  unauthenticated = 13,    ///< not known who asks: a token or key is missing or wrong
};

inline constexpr errc last_errc = errc::unauthenticated;

std::string_view name_of(errc code) noexcept;

/// Whether a request that failed with `code` may succeed unchanged: the default of `error::retryable`.
constexpr bool is_retryable(errc code) noexcept { return code == errc::overloaded || code == errc::unavailable; }

struct error {
  errc code = errc::internal;
  std::string message;                      ///< one sentence: what, where, what to do
  bool retryable = false;                   ///< the same request may succeed later
  std::chrono::milliseconds retry_after{};  ///< a hint; zero: none

  error() = default;
  error(errc code, std::string message) : code(code), message(std::move(message)), retryable(is_retryable(code)) {}

  bool operator==(const error&) const = default;
};

template <class T>
using expected = tl::expected<T, error>;

inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error{code, std::move(message)});
}

}  // namespace shoal
