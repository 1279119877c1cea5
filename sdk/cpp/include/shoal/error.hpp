// Errors as values: every call that can fail returns `expected<T>` (tl::expected), and nothing of this library throws
// (short of memory running out). An error says what happened and what to do, and whether trying again can help.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "shoal/export.hpp"

namespace shoal::client {

/// Classes of failure that a caller can act on. Later releases append.
enum class errc : std::uint16_t {
  internal = 0,            ///< a defect of the mesh, or an operator of the model that failed
  invalid_argument = 1,    ///< the call must be changed: a wrong name, type, rank, shape or value
  not_found = 2,           ///< no such model, version or output
  unsupported = 3,         ///< well formed, but not something Shoal does
  too_large = 4,           ///< larger than a configured limit
  deadline_exceeded = 5,   ///< the time given is over
  cancelled = 6,           ///< taken back: a stop token, or the mesh was closed
  overloaded = 7,          ///< refused at once because it could not be done in time, or a full window here
  unavailable = 8,         ///< a part of the mesh that is needed is not there
  poisoned = 9,            ///< the request ended two workers that ran it alone: look at it, do not repeat it
  incompatible = 10,       ///< another version of the protocol: use the release of the mesh
  corrupt = 11,            ///< bytes that do not match what they claim to be
  permission_denied = 12,  ///< the key's role does not allow it
  unauthenticated = 13,    ///< it is not known who asks
};

/// "invalid_argument"; "unknown" for a code of a later release.
SHOAL_CLIENT_API std::string_view name_of(errc code) noexcept;

struct error {
  errc code = errc::internal;
  std::string message;                      ///< one sentence
  bool retryable = false;                   ///< the same request may succeed later
  std::chrono::milliseconds retry_after{};  ///< wait so long before that; zero: no hint
  std::uint64_t request_id = 0;             ///< of this mesh object; zero: belongs to no request

  bool operator==(const error&) const = default;
};

template <class T>
using expected = tl::expected<T, error>;

}  // namespace shoal::client
