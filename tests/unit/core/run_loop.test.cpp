#include "core/run_loop.hpp"

#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <caf/event_based_actor.hpp>

#include "unit/support/virtual_system.hpp"

using namespace shoal;

namespace {

using log = std::vector<std::pair<int, std::thread::id>>;

caf::behavior listener(caf::event_based_actor* self, log* heard) {
  return {
      [=](int value) {
        heard->emplace_back(value, std::this_thread::get_id());
        if (value < 0) self->quit();
      },
      [=](const std::string& more) {
        heard->emplace_back(static_cast<int>(more.size()), std::this_thread::get_id());
        if (!more.empty()) self->send(self, more.substr(1));
      },
  };
}

struct fixture {
  log heard;
  int wakes = 0;
  test::virtual_system caf;
  run_loop loop{caf.system(), [this] { ++wakes; }};

  caf::actor spawn() {
    auto actor = caf.system().spawn(listener, &heard);
    caf.run();  // its first, empty turn
    return actor;
  }
  std::vector<int> values() const {
    std::vector<int> all;
    for (const auto& [value, thread] : heard) all.push_back(value);
    return all;
  }
};

}  // namespace

TEST_CASE("messages to an actor on the loop are handled by whoever runs it, in order, and by nobody else") {
  fixture f;
  const auto actor = f.spawn();
  f.loop.send(actor, 1);
  f.loop.send(actor, 2);
  CHECK(f.wakes == 1);  // the second found the actor scheduled
  CHECK_FALSE(f.caf.scheduler().has_job());
  CHECK(f.heard.empty());
  CHECK_FALSE(f.loop.run());
  CHECK(f.values() == std::vector<int>{1, 2});
  for (const auto& [value, thread] : f.heard) CHECK(thread == std::this_thread::get_id());
}

TEST_CASE("a message from another thread wakes the loop and is handled on the loop's thread") {
  fixture f;
  const auto actor = f.spawn();
  std::thread([&] { f.loop.send(actor, 5); }).join();
  CHECK(f.wakes == 1);
  CHECK(f.heard.empty());
  f.loop.run();
  REQUIRE(f.heard.size() == 1);
  CHECK(f.heard.front().second == std::this_thread::get_id());
}

TEST_CASE("an actor that keeps itself busy gives up the thread and says there is more") {
  fixture f;
  const auto actor = f.spawn();
  f.loop.send(actor, std::string(500, 'x'));
  CHECK(f.loop.run());
  const auto after_one_turn = f.heard.size();
  CHECK(after_one_turn < 501);
  int turns = 1;
  while (f.loop.run()) ++turns;
  CHECK(turns > 1);
  CHECK(f.heard.size() == 501);
  CHECK_FALSE(f.caf.scheduler().has_job());
}

TEST_CASE("an actor that ends on the loop is let go, and later messages to it are dropped") {
  fixture f;
  {
    const auto actor = f.spawn();
    f.loop.send(actor, -1);
    f.loop.run();
    f.loop.send(actor, 2);
    f.loop.run();
  }
  CHECK(f.values() == std::vector<int>{-1});
  CHECK(f.caf.system().registry().running() == 0);
}

TEST_CASE("after the loop was stopped its actors run on CAF's scheduler, and nothing is lost") {
  fixture f;
  const auto actor = f.spawn();
  f.loop.send(actor, 1);
  f.loop.stop();
  CHECK(f.caf.scheduler().has_job());
  f.caf.run();
  CHECK(f.values() == std::vector<int>{1});
  const auto wakes = f.wakes;
  f.loop.send(actor, 2);
  CHECK(f.wakes == wakes);
  CHECK_FALSE(f.loop.run());
  f.caf.run();
  CHECK(f.values() == std::vector<int>{1, 2});
}
