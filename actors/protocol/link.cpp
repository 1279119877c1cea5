#include "protocol/link.hpp"

namespace shoal::protocol {

std::string_view name_of(service_kind kind) noexcept {
  switch (kind) {
    case service_kind::client: return "client";
    case service_kind::gateway: return "gateway";
    case service_kind::scheduler: return "scheduler";
    case service_kind::worker: return "worker";
    case service_kind::cache: return "cache";
    case service_kind::precision: return "precision";
  }
  return "unknown";
}

}  // namespace shoal::protocol
