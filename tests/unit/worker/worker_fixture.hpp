// A worker_state on a link in memory, with a compute thread that is done when the test says so.
#pragma once

#include <algorithm>

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"
#include "worker/worker_state.hpp"

namespace shoal::test {

struct worker_fixture {
  using list = std::vector<protocol::request_id>;
  static constexpr protocol::peer_id scheduler = 1;
  static constexpr protocol::peer_id other_scheduler = 2;
  static constexpr protocol::peer_id gateway = 11;
  static constexpr protocol::peer_id other_gateway = 12;
  static constexpr protocol::instance_id gateway_instance = 111;
  static constexpr protocol::instance_id other_instance = 112;

  memory_link link;
  metrics figures;
  std::vector<protocol::lookup> lookups;
  std::vector<protocol::load> loads;
  std::vector<protocol::unload> unloads;
  std::vector<protocol::compute> jobs;
  worker::worker_state mind;
  time_point now{std::chrono::hours(1)};

  explicit worker_fixture(bool connected = true)
      : mind({}, link,
             {[this](protocol::lookup what) { lookups.push_back(std::move(what)); },
              [this](protocol::load what) { loads.push_back(std::move(what)); },
              [this](protocol::compute job) { jobs.push_back(std::move(job)); },
              [this](protocol::unload which) { unloads.push_back(std::move(which)); }},
             figures) {
    if (!connected) return;
    up(mind, gateway, protocol::service_kind::gateway, gateway_instance, now);
    up(mind, scheduler, protocol::service_kind::scheduler, scheduler, now);
  }

  static protocol::batch_member member(protocol::request_id id, bool held = false,
                                       protocol::instance_id from = gateway_instance) {
    auto request = matrix_request(id);
    request.attempt = 2;
    request.payload_held = held;
    if (held) request.inputs[0].data = {};
    return {{from, id}, std::move(request), microseconds(300)};
  }
  static protocol::batch of(protocol::batch_id id, protocol::offer_id against, const list& ids, bool held = false) {
    protocol::batch message{id, against, {}};
    for (const auto request : ids) message.members.push_back(member(request, held));
    return message;
  }
  void give(protocol::batch message, protocol::peer_id from = scheduler) {
    deliver(mind, from, std::move(message), now);
  }
  /// Stages against an offer that is out.
  void give(protocol::batch_id id, const list& ids, protocol::peer_id from = scheduler) {
    give(of(id, take_offer(from), ids), from);
  }
  protocol::offer_id take_offer(protocol::peer_id from = scheduler) {
    const auto offered = link.take<protocol::offer>(from);
    REQUIRE(offered);
    return offered->id;
  }
  /// The compute thread is done with the last job; requests in `failing` failed.
  void computed_last(const list& failing = {}) {
    REQUIRE_FALSE(jobs.empty());
    protocol::computed done;
    done.batch = jobs.back().batch;
    done.compute_time = protocol::microseconds(1500);
    done.rows = 4;
    for (const auto& member : jobs.back().members) {
      if (std::find(failing.begin(), failing.end(), member.key.id) == failing.end())
        done.results.emplace_back(std::vector<tensor>{matrix(1, 4, "y")});
      else
        done.results.emplace_back(fail(errc::invalid_argument, "index out of range"));
    }
    mind.on(done, now);
  }
  list running() const {
    list ids;
    if (!jobs.empty())
      for (const auto& member : jobs.back().members) ids.push_back(member.key.id);
    return ids;
  }
  protocol::completion over(protocol::peer_id at = scheduler) {
    auto told = link.take<protocol::completion>(at);
    REQUIRE(told);
    return std::move(*told);
  }
  static list ids(const std::vector<protocol::request_key>& keys) {
    list all;
    for (const auto& key : keys) all.push_back(key.id);
    return all;
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
  double unexpected() const { return figure("shoal_worker_unexpected_messages_total"); }
};

}  // namespace shoal::test
