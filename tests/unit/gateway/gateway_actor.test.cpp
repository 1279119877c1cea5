#include "gateway/gateway_actor.hpp"

#include <optional>
#include <set>

#include <doctest/doctest.h>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include "unit/support/memory_link.hpp"
#include "unit/support/virtual_system.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr peer_id scheduler = 11;
constexpr peer_id worker = 21;

struct fixture {
  memory_link link;
  metrics figures;
  std::shared_ptr<gateway::board> board = std::make_shared<gateway::board>();
  std::vector<outcome> told;
  int drained = 0;
  virtual_system caf;
  run_loop loop{caf.system(), [] {}};
  gateway_actor actor = gateway::spawn_gateway(caf.system(), {}, link, board, figures);
  std::unique_ptr<gateway::front> front = gateway::make_front(loop, actor, board);

  fixture() {
    caf.advance(1h);
    event(peer_up{scheduler, service_kind::scheduler, scheduler, 1, {}});
    event(peer_up{worker, service_kind::worker, worker, 1, {}});
    event(delivery{scheduler, catalogue{{matrix_model()}}});
    caf.advance(0ms);  // the first probe
    finish(link.take<infer>(scheduler));
    REQUIRE(link.sent.empty());
  }
  ~fixture() {
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    caf.run();  // the system waits for its actors as it ends
  }

  void pump() {
    while (loop.run()) {
    }
    caf.run();
  }
  void event(link_event what) {
    loop.send(actor, std::move(what));
    pump();
  }
  request_id submit(infer request = matrix_request(0)) {
    const auto ticket = front->submit(std::move(request), [this](outcome o) { told.push_back(std::move(o)); });
    pump();
    return ticket;
  }
  void finish(std::optional<infer> head) {
    REQUIRE(head);
    outcome done;
    done.id = head->id;
    done.result = std::vector<tensor>{matrix(1, 4, "y")};
    event(delivery{worker, std::move(done)});
  }
  void drain() {
    caf.system().spawn(
        [](caf::event_based_actor* asker, fixture* f) {
          asker->request(f->actor, caf::infinite, drain_atom::value).then([f](drained_atom) { ++f->drained; });
        },
        this);
    caf.run();
  }
};

}  // namespace

TEST_CASE("a door's request runs through the actor on the loop and is answered once") {
  fixture f;
  const auto ticket = f.submit();
  CHECK(ticket != 0);
  CHECK(f.told.empty());
  f.finish(f.link.take<infer>(scheduler));
  REQUIRE(f.told.size() == 1);
  CHECK(f.told.front().result);
  CHECK(f.front->models()->models.size() == 1);
}

TEST_CASE("tickets of the front and ids of the link's requests are never the same") {
  fixture f;
  const auto first = f.submit();
  f.event(peer_up{1, service_kind::client, 1, 1, {}});
  f.event(delivery{1, matrix_request(first + 1)});
  const auto third = f.submit();
  std::set<request_id> ids;
  while (const auto head = f.link.take<infer>(scheduler)) ids.insert(head->id);
  CHECK(ids.size() == 3);
  CHECK(ids.contains(first));
  CHECK(ids.contains(third));
}

TEST_CASE("a deadline fires when its time comes, by the actor's own timer") {
  fixture f;
  f.submit();
  f.caf.advance(4999ms);
  CHECK(f.told.empty());
  f.caf.advance(1ms);
  REQUIRE(f.told.size() == 1);
  CHECK(f.told.front().result.error().code == errc::deadline_exceeded);
}

TEST_CASE("each of many deadlines is kept, whatever their order") {
  fixture f;
  for (const auto seconds : {3, 1, 2}) {
    auto request = matrix_request(0);
    request.time_left = std::chrono::seconds(seconds);
    f.submit(std::move(request));
  }
  for (std::size_t passed = 1; passed <= 3; ++passed) {
    f.caf.advance(1s);
    CHECK(f.told.size() == passed);
  }
}

TEST_CASE("a request that the door takes back is cancelled") {
  fixture f;
  const auto ticket = f.submit();
  f.front->cancel(ticket);
  f.front->cancel(4711);
  f.pump();
  REQUIRE(f.told.size() == 1);
  CHECK(f.told.front().result.error().code == errc::cancelled);
  CHECK(f.link.count<cancel>(scheduler) == 1);
}

TEST_CASE("drain is answered at once when nothing is held, and after the last outcome otherwise") {
  fixture idle;
  idle.drain();
  CHECK(idle.drained == 1);

  fixture busy;
  busy.submit();
  busy.drain();
  busy.drain();
  CHECK(busy.drained == 0);
  busy.submit();
  REQUIRE(busy.told.size() == 1);
  CHECK(busy.told.front().result.error().code == errc::unavailable);
  busy.finish(busy.link.take<infer>(scheduler));
  CHECK(busy.drained == 2);
  CHECK_FALSE(busy.front->ready());
}

TEST_CASE("an idle gateway wakes only to probe") {
  fixture f;
  f.caf.advance(5s);
  CHECK(f.link.count<infer>(scheduler) == 1);
  f.finish(f.link.take<infer>(scheduler));
  std::size_t wakes = 0;
  for (int i = 0; i < 100; ++i) {
    wakes += f.caf.scheduler().advance_time(100ms);
    f.caf.run();
    if (auto probe = f.link.take<infer>(scheduler)) f.finish(std::move(probe));
  }
  CHECK(wakes <= 4);
}
