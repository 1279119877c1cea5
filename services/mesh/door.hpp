// The TCP addresses of a mesh of processes, reserved before any of them starts: what is taken is said at once, port 0
// becomes a number that all of them know, and a service that starts again finds its own address free.
//
// A reservation is a socket that is bound and never listens, so that no connection is ever given to it; it is held by
// its descriptor for the life of the mesh.
#pragma once

#include <string>

#include "core/error.hpp"

namespace shoal::services {

struct door {
  std::string address;  ///< HOST:PORT with the port that was found
  int descriptor = -1;  ///< for a process to inherit; it is not closed here
};

/// `address` is HOST:PORT, port 0 for any. `shared`: several processes will listen (SO_REUSEPORT); otherwise one after
/// another (SO_REUSEADDR). Errors: invalid_argument (not an address), unavailable (it is in use, or not this
/// machine's).
expected<door> reserve_door(const std::string& address, bool shared);

/// HOST:PORT with `more` added to its port; port 0 stays. Errors: invalid_argument (not an address, beyond 65535).
expected<std::string> door_after(const std::string& address, int more);

}  // namespace shoal::services
