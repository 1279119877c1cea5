#include "core/deadline_queue.hpp"

#include <set>

#include <doctest/doctest.h>

using namespace shoal;
using namespace std::chrono_literals;

namespace {
constexpr time_point start{1h};
}

TEST_CASE("the earliest deadline comes first, and nothing before its time") {
  deadline_queue<int> queue;
  CHECK_FALSE(queue.next());
  CHECK_FALSE(queue.pop_due(start));
  queue.add(start + 3s, 3);
  queue.add(start + 1s, 1);
  queue.add(start + 2s, 2);
  CHECK(queue.next() == start + 1s);
  CHECK_FALSE(queue.pop_due(start + 999ms));
  CHECK(queue.pop_due(start + 2s) == 1);
  CHECK(queue.pop_due(start + 2s) == 2);
  CHECK_FALSE(queue.pop_due(start + 2s));
  CHECK(queue.next() == start + 3s);
  CHECK(queue.pop_due(start + 1h) == 3);
  CHECK_FALSE(queue.next());
}

TEST_CASE("equal deadlines all come") {
  deadline_queue<int> queue;
  for (int key = 0; key < 5; ++key) queue.add(start, key);
  std::set<int> seen;
  while (const auto key = queue.pop_due(start)) seen.insert(*key);
  CHECK(seen.size() == 5);
}

TEST_CASE("finished keys with far deadlines do not pile up, and the living keep their order") {
  deadline_queue<int> queue;
  std::set<int> living;
  std::size_t most = 0;
  for (int key = 0; key < 100'000; ++key) {
    living.insert(key);
    if (key >= 10) living.erase(key - 10);
    queue.add(start + milliseconds((key * 7919) % 3'600'000), key);
    queue.prune(living.size(), [&](int known) { return living.contains(known); });
    most = std::max(most, queue.size());
  }
  CHECK(most <= 2 * 11 + 64);
  std::vector<int> order;
  time_point last{};
  while (const auto next = queue.next()) {
    CHECK(*next >= last);
    last = *next;
    order.push_back(*queue.pop_due(*next));
  }
  std::erase_if(order, [&](int key) { return !living.contains(key); });
  CHECK(order.size() == living.size());
}
