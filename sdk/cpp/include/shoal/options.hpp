// How a mesh is used. Every default works.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace shoal::client {

struct options {
  /// `connect` waits so long for the first gateway; zero: it does not wait.
  std::chrono::milliseconds connect_within{5000};
  /// The key file of a client (`shoal keys new NAME`), for gateways that let in nobody without a key: connections over
  /// tcp are encrypted then, and only the gateways named in it are believed. Empty: in the clear.
  std::string key;
  /// Of a call that names none.
  std::chrono::milliseconds default_deadline{10000};

  /// Without a gateway, a request waits for one until its deadline (a mesh that is started again is back within a
  /// second); false: it fails with `unavailable` at once.
  bool wait_for_gateway = true;

  /// Retries of what was lost with its gateway, refused as overloaded, or unavailable: so many for each request made,
  /// and `retry_reserve` in any case (one comes back each second). A ratio of 0 with a reserve of 0: none.
  double retry_ratio = 0.25;
  unsigned retry_reserve = 10;

  /// What may be in flight, waiting and retries included. A request alone may always go, however large.
  std::size_t max_in_flight = 1024;
  std::size_t max_in_flight_bytes = std::size_t{256} << 20;  ///< of inputs
  /// A call that finds the window full waits for room until its deadline; false: it fails with `overloaded` at once.
  /// On the SDK's own thread, in a callback, it never waits.
  bool wait_for_room = true;

  /// Must be the mesh's own: a gateway that is silent for three of these is taken for lost.
  std::chrono::milliseconds heartbeat{1000};
};

}  // namespace shoal::client
