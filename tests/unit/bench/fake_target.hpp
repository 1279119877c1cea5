// A server in its own time: each request ends when `serves` says. Time passes only in `poll`.
#pragma once

#include <functional>
#include <map>

#include "services/mesh/bench/target.hpp"

namespace shoal::test {

using namespace services::bench;

struct fake_target final : target {
  /// How long a request that is sent at this time takes; nothing: it never ends.
  std::function<std::optional<nanoseconds>(nanoseconds sent)> serves = [](nanoseconds) { return milliseconds(1); };
  /// What a request that is sent at this time fails with.
  std::function<std::optional<errc>(nanoseconds sent)> fails = [](nanoseconds) { return std::nullopt; };
  bool second_tries = false;  ///< every request says that it was sent twice
  /// How long `send` itself takes: a generator that is slow.
  nanoseconds send_cost{};
  /// Per poll, at most: a generator that the system does not let run.
  nanoseconds oversleeps{};
  expected<model_interface> described{
      model_interface{{{"x", dtype::fp32, {protocol::dimension{1, 8, "batch"}, protocol::dimension::fixed(2)}}}, {}}};

  time_point time = start();
  std::vector<call> prepared;
  std::vector<std::pair<nanoseconds, std::size_t>> sent;  ///< when, which
  int abandoned = 0;

  static time_point start() { return time_point(std::chrono::hours(1)); }

  expected<model_interface> describe(const std::string&, std::uint64_t, milliseconds) override { return described; }
  expected<std::size_t> prepare(const call& request) override {
    prepared.push_back(request);
    return 100;
  }
  ticket send(std::size_t which) override {
    const auto at = std::chrono::duration_cast<nanoseconds>(time - start());
    sent.emplace_back(at, which);
    ended one;
    one.which = ++last_;
    one.failure = fails(at);
    one.reason = one.failure ? "the fake says no" : "";
    one.bytes = 10;
    one.second_try = second_tries;
    if (const auto takes = serves(at)) {
      one.at = time + *takes;
      open_.emplace(one.at, one);
    }
    time += send_cost;
    return last_;
  }
  void poll(time_point until, std::vector<ended>& into) override {
    if (open_.empty() || open_.begin()->first > until) {
      if (until > time) time = until + oversleeps;
    } else {
      time = std::max(time, open_.begin()->first);
    }
    while (!open_.empty() && open_.begin()->first <= time) {
      into.push_back(open_.begin()->second);
      open_.erase(open_.begin());
    }
  }
  void abandon() override { ++abandoned; }
  [[nodiscard]] time_point now() const override { return time; }

 private:
  std::multimap<time_point, ended> open_;
  ticket last_ = 0;
};

}  // namespace shoal::test
