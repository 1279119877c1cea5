// What a mesh object stands on: the client of the link, which does the work (actors/link/client.hpp), and the window in
// front of it. Shared by the mesh and its maps and streams; the last one ends it. Callable from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "link/client.hpp"
#include "shoal/client.hpp"
#include "window.hpp"

namespace shoal::client::detail {

class session {
 public:
  static expected<std::shared_ptr<session>> open(const std::vector<std::string>& endpoints, const options& with);

  enum class full { waits, refuses };
  /// Takes `what` and `on_result`, which is called once, on the client's thread. False: the window was full (only with
  /// `refuses`), and both are as they were.
  bool submit(request& what, const call& how, done& on_result, full when);
  /// As the options say, and never waiting on the client's own thread.
  [[nodiscard]] full when_full() const {
    return options_.wait_for_room && !client_->on_own_thread() ? full::waits : full::refuses;
  }

  [[nodiscard]] link::client& client() { return *client_; }

 private:
  session(const options& with, std::unique_ptr<link::client> over)
      : options_(with), window_(with.max_in_flight, with.max_in_flight_bytes), client_(std::move(over)) {}
  void fail(done on_result, error why);

  const options options_;
  window window_;
  std::unique_ptr<link::client> client_;  ///< last: what it still tells uses the rest
};

/// "as many requests are in flight as ..."
error window_is_full();

}  // namespace shoal::client::detail
