#include "services/mesh/bench/arrivals.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using services::bench::arrivals;
using namespace std::chrono_literals;

TEST_CASE("poisson arrivals have the rate asked for and its spread, and a seed gives the same ones again") {
  auto some = arrivals::poisson(1000, 7);
  auto same = arrivals::poisson(1000, 7);
  auto other = arrivals::poisson(1000, 8);
  double last = 0, squares = 0;
  bool differs = false;
  constexpr int count = 100'000;
  for (int i = 0; i < count; ++i) {
    const auto next = some.next();
    REQUIRE(next == same.next());
    differs = differs || next != other.next();
    const auto at = std::chrono::duration<double>(*next).count();
    squares += (at - last) * (at - last);
    last = at;
  }
  CHECK(differs);
  CHECK(last == doctest::Approx(count / 1000.0).epsilon(0.02));
  CHECK(squares / count == doctest::Approx(2e-6).epsilon(0.05));  // of exponential gaps: 2 / rate^2
}

TEST_CASE("constant arrivals do not drift") {
  auto some = arrivals::constant(250);
  std::optional<steady::duration> last;
  for (int i = 0; i < 25'000; ++i) last = some.next();
  CHECK(std::chrono::duration<double>(*last).count() == doctest::Approx(100));
}

TEST_CASE("recorded arrivals begin with the first; a line that is no time is named") {
  const test::temporary_folder folder;
  auto good = arrivals::from_file(folder.write("good", "100.5\n\n101\n101\r\n103.25\n"));
  REQUIRE(good);
  CHECK(good->next() == 0s);
  CHECK(good->next() == 500ms);
  CHECK(good->next() == 500ms);
  CHECK(good->next() == 2750ms);
  CHECK_FALSE(good->next());
  CHECK(arrivals::from_file((folder.path() / "none").string()).error().code == errc::not_found);
  for (const char* text : {"1\nx\n", "1\n2 3\n", "1\nnan\n", "1\n0.5\n", "1\n1e999\n"}) {
    CAPTURE(text);
    const auto wrong = arrivals::from_file(folder.write("bad", text));
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == errc::invalid_argument);
    CHECK(wrong.error().message.find("bad:2: ") != std::string::npos);
  }
  CHECK_FALSE(arrivals::from_file(folder.write("empty", "\n \n")));
}
