#include "mesh/history.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

const time_point start{10s};

request_record answered(milliseconds after = 10ms) { return {start, 1000ms, 1, start + after, std::nullopt, true}; }

/// What is said of a history of this one request.
std::string said(const request_record& one) {
  const auto all = broken_promises({answered(), one});
  return all.empty() ? "" : all.front();
}

}  // namespace

TEST_CASE("a history of answers and explained failures breaks no promise") {
  CHECK(said(answered()).empty());
  CHECK(said(answered(1250ms)).empty());
  for (const auto failure : {errc::deadline_exceeded, errc::unavailable, errc::overloaded, errc::poisoned}) {
    auto one = answered();
    one.failure = failure;
    CHECK(said(one).empty());
  }
}

TEST_CASE("a history that breaks a promise is told so, with the request") {
  auto none = answered();
  none.outcomes = 0;
  CHECK(said(none) == "request 1 has 0 outcomes");
  auto twice = answered();
  twice.outcomes = 2;
  CHECK(said(twice) == "request 1 has 2 outcomes");
  CHECK(said(answered(1251ms)) == "request 1 was told its outcome 251 ms after its deadline");
  auto wrong = answered();
  wrong.is_right = false;
  CHECK(said(wrong) == "request 1 has a wrong answer");
  for (const auto failure : {errc::internal, errc::invalid_argument, errc::not_found, errc::cancelled, errc::corrupt}) {
    auto one = answered();
    one.failure = failure;
    CHECK(said(one) == "request 1 ended with " + std::string(name_of(failure)));
  }
}

TEST_CASE("the longest gap is between answers, or to the ends") {
  auto failed = answered(400ms);
  failed.failure = errc::unavailable;
  CHECK(longest_gap({answered(100ms), answered(300ms), failed, answered(600ms)}, start, start + 700ms) == 300ms);
  CHECK(longest_gap({answered(100ms)}, start, start + 700ms) == 600ms);
  CHECK(longest_gap({}, start, start + 700ms) == 700ms);
}
