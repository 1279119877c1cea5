#include "scheduler/model_queue.hpp"

#include <random>

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::scheduler;
using namespace std::chrono_literals;
using protocol::priority;

namespace {

const time_point start{1h};

waiting request(protocol::request_id id, priority as, milliseconds deadline = 1000ms, time_point arrived = start) {
  waiting made;
  made.key = {1, id};
  made.request.id = id;
  made.request.priority = as;
  made.profile.joinable = true;
  made.arrived = arrived;
  made.deadline = start + deadline;
  return made;
}

/// The ids of the next batch of at most `rows`.
std::vector<protocol::request_id> batch_of(model_queue& queue, std::int64_t rows, time_point now = start) {
  batch_shape shape;
  std::vector<protocol::request_id> ids;
  for (const auto& member : queue.take_for(shape, {.rows = rows}, now)) ids.push_back(member.key.id);
  return ids;
}

using list = std::vector<protocol::request_id>;

}  // namespace

TEST_CASE("classes go before each other, and within a class the earliest deadline first") {
  model_queue queue;
  queue.push_back(request(1, priority::batch, 100ms));
  queue.push_back(request(2, priority::standard, 900ms));
  queue.push_back(request(3, priority::critical, 800ms));
  queue.push_back(request(4, priority::standard, 300ms));
  queue.push_back(request(5, priority::critical, 700ms));
  queue.push_back(request(6, priority::standard, 300ms));
  CHECK(queue.most_urgent() == urgency{1, start + 700ms});
  CHECK(batch_of(queue, 4) == list{5, 3, 4, 6});
  CHECK(batch_of(queue, 4) == list{2, 1});
  CHECK(queue.empty());
}

TEST_CASE("what came back goes before all, in its order") {
  model_queue queue;
  queue.push_back(request(1, priority::critical));
  queue.push_front(request(3, priority::batch));
  queue.push_front(request(2, priority::standard));
  CHECK(queue.most_urgent().rank == 0);
  CHECK(batch_of(queue, 8) == list{2, 3, 1});
}

TEST_CASE("a request can be taken from anywhere, and the others stay in order") {
  model_queue queue;
  const auto a = queue.push_back(request(1, priority::standard));
  queue.push_back(request(2, priority::standard));
  const auto c = queue.push_back(request(3, priority::batch));
  const auto d = queue.push_front(request(4, priority::critical));
  CHECK(queue.take(c).key.id == 3);
  CHECK(queue.take(a).key.id == 1);
  CHECK(queue.take(d).key.id == 4);
  CHECK(queue.size() == 1);
  CHECK(batch_of(queue, 8) == list{2});
}

TEST_CASE("a lower class is not starved by any flood, and costs the flood one batch in eight") {
  model_queue queue;
  const auto now = start + 2s;  // longer than patience
  queue.push_back(request(1, priority::batch, 60'000ms));
  queue.push_back(request(2, priority::standard, 60'000ms));
  for (protocol::request_id id = 100; id < 200; ++id) queue.push_back(request(id, priority::critical, 1ms, now));
  std::vector<std::size_t> turns;
  for (std::size_t turn = 1; turn <= 40; ++turn) {
    const auto ids = batch_of(queue, 1, now);
    REQUIRE(ids.size() == 1);
    if (ids[0] < 100) turns.push_back(turn);
  }
  CHECK(turns == std::vector<std::size_t>{8, 16});
}

TEST_CASE("a lower class has no turn of its own before it has been patient") {
  model_queue queue;
  queue.push_back(request(1, priority::batch, 60'000ms));
  for (protocol::request_id id = 100; id < 200; ++id) queue.push_back(request(id, priority::critical));
  for (int turn = 0; turn < 100; ++turn) CHECK(batch_of(queue, 1, start + 500ms)[0] >= 100);
  CHECK(batch_of(queue, 1) == list{1});
}

TEST_CASE("whatever is put in and taken out, everything comes out once and in the order of the rules") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    model_queue queue;
    std::set<protocol::request_id> inside;
    std::vector<model_queue::iterator> handles;
    for (protocol::request_id id = 1; id <= 50; ++id) {
      const auto as = static_cast<priority>(random() % 3);
      auto made = request(id, as, milliseconds(random() % 20));
      handles.push_back(random() % 5 == 0 ? queue.push_front(std::move(made)) : queue.push_back(std::move(made)));
      inside.insert(id);
    }
    std::shuffle(handles.begin(), handles.end(), random);
    for (int i = 0; i < 10; ++i) inside.erase(queue.take(handles[static_cast<std::size_t>(i)]).key.id);
    auto last = urgency{-1, time_point::min()};
    while (!queue.empty()) {
      const auto urgent = queue.most_urgent();
      if (urgent.rank > 0 && last.rank > 0) CHECK(last <= urgent);
      last = urgent;
      const auto ids = batch_of(queue, 1);
      REQUIRE(ids.size() == 1);
      CHECK(inside.erase(ids[0]) == 1);
    }
    CHECK(inside.empty());
  }
}

TEST_CASE("suspects are nobody's turn until they are let go: those that are due first, then others in their order") {
  model_queue queue;
  const auto suspect = [](protocol::request_id id) {
    auto made = request(id, priority::standard);
    made.alone = true;
    made.cost = 7ms;
    return made;
  };
  queue.push_back(request(1, priority::critical));
  const auto fourth = queue.hold(suspect(5), start + 50ms);
  queue.hold(suspect(4), start + 10ms);
  queue.hold(suspect(3), start + 40ms);
  queue.hold(suspect(2), start + 30ms);
  CHECK(queue.size() == 1);
  CHECK(queue.held() == 4);
  CHECK(queue.held_until() == start + 10ms);
  CHECK(queue.ahead_of(3, start + 1s, true) == 0ms);
  queue.let_go(start + 9ms, 0);
  CHECK(queue.held() == 4);
  CHECK(queue.take(fourth).key.id == 5);
  CHECK(queue.size() == 1);
  queue.let_go(start + 10ms, 1);  // 4 is due, 2 the first of the others
  CHECK(queue.suspects() == 2);
  CHECK(queue.size() == 3);
  CHECK(queue.ahead_of(3, start + 1s, true) == 14ms);
  CHECK(batch_of(queue, 8) == list{4});
  CHECK(batch_of(queue, 8) == list{2});
  CHECK(batch_of(queue, 8) == list{1});
  CHECK(queue.empty());
  CHECK(queue.holds());
  queue.let_go(start, model_queue::all);
  CHECK(batch_of(queue, 8) == list{3});
  CHECK_FALSE(queue.holds());
  CHECK(queue.ahead_of(3, start + 1s, true) == 0ms);
}
