// Rendezvous (highest random weight) hashing: everyone who knows the same candidates picks the same one for a key, and
// a candidate that comes or goes moves only the keys it wins. (Thaler and Ravishankar, 1998.)
#pragma once

#include <cstdint>
#include <string_view>

#include <xxhash.h>

namespace shoal {

/// The weight of `candidate` for `key`: the candidate with the greatest weight owns the key.
inline std::uint64_t rendezvous_weight(std::string_view key, std::uint64_t candidate) {
  return XXH3_64bits_withSeed(key.data(), key.size(), candidate);
}

}  // namespace shoal
