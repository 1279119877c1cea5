// A scheduler_state on a link in memory, with a gateway and as many workers as the test adds.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "scheduler/scheduler_state.hpp"
#include "unit/support/memory_link.hpp"

namespace shoal::test {

struct scheduler_fixture {
  using list = std::vector<protocol::request_id>;
  static constexpr protocol::peer_id gateway = 1;
  static constexpr protocol::instance_id gateway_instance = 100;

  memory_link link;
  metrics figures;
  scheduler::scheduler_state mind;
  time_point now{std::chrono::hours(1)};
  protocol::offer_id next_offer = 1;

  explicit scheduler_fixture(scheduler::scheduler_options options = {}) : mind(options, link, figures) {
    up(mind, gateway, protocol::service_kind::gateway, gateway_instance, now);
  }
  void add_worker(protocol::peer_id peer, std::size_t places = 2,
                  std::vector<protocol::model_spec> models = {matrix_model()}) {
    up(mind, peer, protocol::service_kind::worker, peer, now);
    deliver(mind, peer, protocol::catalogue{std::move(models)}, now);
    while (places-- > 0) offer_of(peer);
  }
  void offer_of(protocol::peer_id peer, microseconds busy = {}) {
    deliver(mind, peer, protocol::offer{next_offer++, busy}, now);
  }
  void ask(protocol::request_id id, std::int64_t rows = 1, std::int64_t width = 4,
           protocol::priority as = protocol::priority::standard) {
    auto request = matrix_request(id, rows, width);
    request.priority = as;
    deliver(mind, gateway, std::move(request), now);
  }
  void wait(steady::duration by) {
    now += by;
    mind.on_wake(now);
  }
  /// Empty: there is no batch.
  static list ids(const std::optional<protocol::batch>& message) {
    list found;
    if (message)
      for (const auto& member : message->members) found.push_back(member.key.id);
    return found;
  }
  double figure(const std::string& name) const {
    for (const auto& [known, value] : figures.snapshot())
      if (known == name) return value;
    FAIL("there is no figure " << name);
    return 0;
  }
};

}  // namespace shoal::test
