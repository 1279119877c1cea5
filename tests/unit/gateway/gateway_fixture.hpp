// A gateway_state on a link in memory, with what its tests do again and again.
#pragma once

#include <doctest/doctest.h>

#include "gateway/gateway_state.hpp"
#include "unit/support/memory_link.hpp"

namespace shoal::test {

struct gateway_fixture {
  static constexpr protocol::peer_id client = 1;
  static constexpr protocol::peer_id other_client = 2;
  static constexpr protocol::peer_id scheduler = 11;
  static constexpr protocol::peer_id other_scheduler = 12;
  static constexpr protocol::peer_id worker = 21;
  static constexpr protocol::instance_id instance = 500;

  memory_link link;
  metrics figures;
  std::shared_ptr<gateway::board> board = std::make_shared<gateway::board>();
  gateway::gateway_state mind;
  time_point now{std::chrono::hours(1)};

  explicit gateway_fixture(gateway::gateway_options options = {}) : mind(with_instance(options), link, board, figures) {
    up(mind, client, protocol::service_kind::client, client, now);
    up(mind, other_client, protocol::service_kind::client, other_client, now);
    up(mind, worker, protocol::service_kind::worker, worker, now);
  }

  static gateway::gateway_options with_instance(gateway::gateway_options options) {
    options.instance = instance;
    if (options.report_interval == gateway::gateway_options{}.report_interval)
      options.report_interval = std::chrono::hours(1);  // out of the way of tests that look at all that was sent
    return options;
  }

  void add_scheduler(protocol::peer_id peer = scheduler, std::vector<protocol::model_spec> models = {matrix_model()}) {
    up(mind, peer, protocol::service_kind::scheduler, peer, now);
    deliver(mind, peer, protocol::catalogue{std::move(models)}, now);
  }
  void ask(protocol::request_id id, protocol::peer_id from = client) { ask(from, matrix_request(id)); }
  void ask(protocol::peer_id from, protocol::infer request) { deliver(mind, from, std::move(request), now); }

  /// The request's head as the scheduler got it.
  protocol::infer handed(protocol::peer_id to = scheduler) {
    auto head = link.take<protocol::infer>(to);
    REQUIRE(head);
    return std::move(*head);
  }
  protocol::outcome answer(protocol::peer_id to = client) {
    auto told = link.take<protocol::outcome>(to);
    REQUIRE(told);
    return std::move(*told);
  }
  error refusal(protocol::peer_id to = client) {
    auto told = answer(to);
    REQUIRE_FALSE(told.result);
    return told.result.error();
  }
  void finish(const protocol::infer& head, protocol::microseconds queued) { finish(head, worker, queued); }
  void finish(const protocol::infer& head, protocol::peer_id from = worker, protocol::microseconds queued = {}) {
    protocol::outcome done;
    done.id = head.id;
    done.attempt = head.attempt;
    done.queue_time = queued;
    const auto& asked = head.inputs.front().dims;
    done.result = std::vector<tensor>{matrix(asked[0], asked[1], "y")};
    deliver(mind, from, std::move(done), now);
  }
  void fail_with(const protocol::infer& head, error reason, protocol::peer_id from = scheduler) {
    protocol::outcome failed;
    failed.id = head.id;
    failed.attempt = head.attempt;
    failed.result = tl::unexpected(std::move(reason));
    deliver(mind, from, std::move(failed), now);
  }
  void wait(steady::duration by) {
    now += by;
    mind.on_wake(now);
  }
  double figure(const std::string& name) const {
    for (const auto& [known, value] : figures.snapshot())
      if (known == name) return value;
    FAIL("there is no figure " << name);
    return 0;
  }
  double late() const { return figure("shoal_gateway_late_outcomes_total"); }
  double unexpected() const { return figure("shoal_gateway_unexpected_messages_total"); }
  double in_flight() const { return figure("shoal_gateway_requests_in_flight"); }
  double held_bytes() const { return figure("shoal_gateway_held_bytes"); }
};

inline bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace shoal::test
