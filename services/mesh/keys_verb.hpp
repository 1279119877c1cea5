// `shoal keys`: who may do what in a mesh. A folder holds the access list, which every service reads, and the key files
// it was asked to make, each for its owner alone.
#pragma once

#include <string>

#include "core/error.hpp"

namespace shoal::services {

struct keys_arguments {
  std::string folder = "keys";
  std::string name;
  std::string role = "client";
  std::string out;  ///< where the secret goes, "-": standard output; empty: FOLDER/NAME.key, of a token "-"
  bool token = false;
  double requests_per_second = 0;  ///< of a token; 0: without a limit
  std::size_t in_flight = 0;       ///< likewise
  bool json = false;
};

/// A key, or with `token` a bearer token, which is told this once. Errors: invalid_argument (a name that is taken, a
/// role that has none of these), unavailable (a file that cannot be written).
expected<void> new_key(const keys_arguments& given);
expected<void> list_keys(const keys_arguments& given);
/// Takes it off the list: running services cut its connections within a second or two. Error: not_found.
expected<void> revoke_key(const keys_arguments& given);

}  // namespace shoal::services
