// What every service stands on: its link, the loop that lets its actor run on the link's thread, its figures, and the
// address where they and its health are shown. A service creates one, spawns its actor over it, and starts it.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>
#include <caf/scoped_actor.hpp>

#include "core/metrics.hpp"
#include "core/run_loop.hpp"
#include "http/server.hpp"
#include "link/zmq_link.hpp"
#include "protocol/actors.hpp"
#include "services/host/life_sign.hpp"
#include "services/host/link_figures.hpp"

namespace shoal::services {

class node {
 public:
  /// Errors: those of binding the link's addresses.
  static expected<std::unique_ptr<node>> create(caf::actor_system& system, const link::options& options);
  ~node();

  [[nodiscard]] protocol::link& link() noexcept { return *link_; }
  [[nodiscard]] run_loop& loop() noexcept { return loop_; }
  [[nodiscard]] metrics& figures() noexcept { return figures_; }
  [[nodiscard]] std::vector<std::string> endpoints() const { return link_->endpoints(); }

  /// From now on the link's events reach `actor`; then connects to the peers. An empty `observability` address: none.
  /// `ready` and `leaving` as http/observability.hpp has them.
  template <class Actor>
  expected<void> start(const Actor& actor, const std::vector<std::pair<protocol::service_kind, std::string>>& peers,
                       const std::string& observability, std::function<bool()> ready,
                       std::function<bool()> leaving = {}) {
    link_->start([this, actor](protocol::link_event event) { loop_.send(actor, std::move(event)); },
                 [this] {
                   life_sign_.give();
                   link_figures_.publish(*link_, steady::now());
                   return loop_.run();
                 });
    for (const auto& [kind, endpoint] : peers)
      if (auto connected = link_->connect(kind, endpoint); !connected) return connected;
    return observe(observability, std::move(ready), std::move(leaving));
  }

  /// Says goodbye to all peers and ends the link's thread. What the actor sends after that is refused.
  void stop();

 private:
  node(caf::actor_system& system, const link::options& options);
  expected<void> observe(const std::string& address, std::function<bool()> ready, std::function<bool()> leaving);

  metrics figures_;
  link_figures link_figures_{figures_};
  life_sign life_sign_;
  std::unique_ptr<link::zmq_link> link_;
  run_loop loop_;
  std::optional<http::server> observability_;
};

/// Ends the process with a core dump should `actor` end otherwise than by `end`: a service whose actor threw would look
/// alive and leave every request without an outcome. Whoever started the service starts it again.
template <class Actor>
void require(const Actor& actor, const char* name) {
  actor->attach_functor([name](const caf::error& reason) {
    if (reason == caf::exit_reason::user_shutdown) return;
    spdlog::critical("the {} actor has ended by an exception: this process cannot go on", name);
    std::abort();
  });
}

/// Waits until `actor` has drained, at most `grace`. False: time was over.
template <class Actor>
bool drain(caf::actor_system& system, const Actor& actor, std::chrono::milliseconds grace) {
  caf::scoped_actor self(system);
  bool drained = false;
  self->request(actor, grace, protocol::drain_atom::value)
      .receive([&](protocol::drained_atom) { drained = true; }, [](const caf::error&) {});
  return drained;
}

/// Ends `actor` and waits until it has gone: what it refers to may be destroyed then.
template <class Actor>
void end(caf::actor_system& system, Actor& actor) {
  if (!actor) return;
  caf::scoped_actor self(system);
  const auto any = caf::actor_cast<caf::actor>(actor);  // wait_for knows no typed handles
  self->send_exit(any, caf::exit_reason::user_shutdown);
  self->wait_for(any);
  actor = Actor();
}

/// Random and, but for one in 2^64, unique: the name of this run of a service.
protocol::instance_id new_instance();

}  // namespace shoal::services
