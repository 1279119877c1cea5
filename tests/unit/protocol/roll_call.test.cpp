#include "protocol/roll_call.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::protocol;
using namespace std::chrono_literals;

namespace {

struct fixture {
  std::vector<std::pair<peer_id, managed>> closed;
  roll_calls calls{"worker", [this](peer_id to, managed answer) { closed.emplace_back(to, std::move(answer)); }};
  time_point now{1h};

  void open(std::map<peer_id, instance_id> asked) { calls.open({9, 1}, 5, {0, 77}, std::move(asked), now + 1s); }
  void done(peer_id from, instance_id worker, expected<std::string> result = std::string("done")) {
    calls.answer(from, {{9, 1}, std::vector<worker_answer>{{worker, std::move(result)}}});
  }
};

}  // namespace

TEST_CASE("a call closes once, when the last has answered, under the key of who asked") {
  fixture f;
  f.open({{1, 11}, {2, 12}});
  f.done(1, 11);
  f.done(1, 11);
  f.done(3, 13);  // was not asked
  CHECK(f.closed.empty());
  f.done(2, 12, fail(errc::not_found, "no"));
  REQUIRE(f.closed.size() == 1);
  CHECK(f.closed[0].first == 5);
  CHECK(f.closed[0].second.key == request_key{0, 77});
  REQUIRE(f.closed[0].second.result->size() == 2);
  CHECK(f.closed[0].second.result->at(0).result);
  CHECK(f.closed[0].second.result->at(1).result.error().code == errc::not_found);
}

TEST_CASE("who is lost, or late, is answered for") {
  fixture f;
  f.open({{1, 11}, {2, 12}});
  f.calls.lose(1);
  CHECK(f.closed.empty());
  CHECK(f.calls.next() == f.now + 1s);
  f.calls.expire(f.now + 1s);
  REQUIRE(f.closed.size() == 1);
  const auto& answers = *f.closed[0].second.result;
  CHECK(answers.at(0).result.error().code == errc::unavailable);
  CHECK(answers.at(1).result.error().code == errc::deadline_exceeded);
  CHECK_FALSE(f.calls.next());
}

TEST_CASE("nobody to ask is an error; a refusal of one counts only if no worker has answered") {
  fixture f;
  f.open({});
  CHECK(f.closed.at(0).second.result.error().code == errc::unavailable);
  f.open({{1, 11}, {2, 12}});
  f.calls.answer(1, {{9, 1}, fail(errc::unavailable, "no workers here")});
  f.done(2, 30);
  REQUIRE(f.closed.at(1).second.result);
  CHECK(f.closed[1].second.result->size() == 1);
}

TEST_CASE("a worker that two schedulers asked has one line, and success outweighs failure") {
  fixture f;
  f.open({{1, 11}, {2, 12}});
  f.done(1, 30, fail(errc::deadline_exceeded, "late"));
  f.done(2, 30);
  REQUIRE(f.closed.at(0).second.result->size() == 1);
  CHECK(f.closed[0].second.result->front().result);
}

TEST_CASE("a caller that has gone is not answered") {
  fixture f;
  f.open({{1, 11}});
  f.calls.forget(5);
  f.done(1, 11);
  CHECK(f.closed.empty());
}
