#include "core/error.hpp"

namespace shoal {

std::string_view name_of(errc code) noexcept {
  switch (code) {
    case errc::internal: return "internal";
    case errc::invalid_argument: return "invalid_argument";
    case errc::not_found: return "not_found";
    case errc::unsupported: return "unsupported";
    case errc::too_large: return "too_large";
    case errc::deadline_exceeded: return "deadline_exceeded";
    case errc::cancelled: return "cancelled";
    case errc::overloaded: return "overloaded";
    case errc::unavailable: return "unavailable";
    case errc::poisoned: return "poisoned";
    case errc::incompatible: return "incompatible";
    case errc::corrupt: return "corrupt";
    case errc::permission_denied: return "permission_denied";
    case errc::unauthenticated: return "unauthenticated";
  }
  return "unknown";
}

}  // namespace shoal
