#include "protocol/alarm.hpp"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include "unit/support/virtual_system.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace std::chrono_literals;

namespace {

using at_atom = caf::atom_constant<caf::atom("at")>;

/// Wants to be woken at what is in `wanted`, like an actor over its deadlines.
struct sleeper {
  protocol::alarm timer;
  std::vector<time_point> wanted;
  std::vector<time_point> woken;

  std::optional<time_point> next() const {
    if (wanted.empty()) return std::nullopt;
    return *std::min_element(wanted.begin(), wanted.end());
  }
};

caf::behavior behavior(caf::event_based_actor* self, sleeper* state) {
  return {
      [=](at_atom, std::int64_t milliseconds_from_now) {
        state->wanted.push_back(self->clock().now() + milliseconds(milliseconds_from_now));
        state->timer.set(self, state->next());
      },
      [=](wake_atom) {
        const auto now = self->clock().now();
        state->woken.push_back(now);
        state->timer.rang(now);
        std::erase_if(state->wanted, [&](time_point when) { return when <= now; });
        state->timer.set(self, state->next());
      },
  };
}

struct fixture {
  sleeper state;
  test::virtual_system caf;
  caf::actor actor = caf.system().spawn(behavior, &state);

  void at(std::int64_t milliseconds_from_now) {
    caf::anon_send(actor, at_atom::value, milliseconds_from_now);
    caf.run();
  }
};

}  // namespace

TEST_CASE("the alarm rings once, not before its time") {
  fixture f;
  f.at(100);
  f.caf.advance(99ms);
  CHECK(f.state.woken.empty());
  f.caf.advance(1ms);
  CHECK(f.state.woken.size() == 1);
  f.caf.advance(1h);
  CHECK(f.state.woken.size() == 1);
}

TEST_CASE("an earlier time overtakes, and the later one is kept") {
  fixture f;
  f.at(100);
  f.at(50);
  f.caf.advance(50ms);
  CHECK(f.state.wanted.size() == 1);
  f.caf.advance(50ms);
  CHECK(f.state.wanted.empty());
  CHECK_FALSE(f.caf.scheduler().has_pending_timeout());
}

TEST_CASE("a time in the past rings at once") {
  fixture f;
  f.caf.advance(1h);
  f.at(-500);
  f.caf.advance(0ms);
  CHECK(f.state.woken.size() == 1);
  CHECK(f.state.wanted.empty());
}

TEST_CASE("many times set one timer, and every one of them is kept") {
  fixture f;
  for (int i = 0; i < 1000; ++i) f.at(1000 + i);
  std::size_t pending = 0;
  while (f.caf.scheduler().trigger_timeout()) {
    ++pending;
    f.caf.run();
  }
  CHECK(f.state.wanted.empty());
  CHECK(pending <= 1000);
  CHECK(f.state.woken.size() == pending);

  fixture same;
  for (int i = 0; i < 1000; ++i) same.at(1000);
  same.caf.advance(1000ms);
  CHECK(same.state.woken.size() == 1);
}
