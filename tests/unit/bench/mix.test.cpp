#include "services/mesh/bench/mix.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::services::bench;

TEST_CASE("a stream is NAME, with a version, a weight and a class if one likes") {
  const auto plain = read_stream("minilm");
  REQUIRE(plain);
  CHECK(plain->model == "minilm");
  CHECK(plain->version == 0);
  CHECK(plain->weight == 1);
  CHECK(plain->text() == "minilm");
  const auto full = read_stream("m.x/3:0.25@critical");
  REQUIRE(full);
  CHECK(full->model == "m.x");
  CHECK(full->version == 3);
  CHECK(full->weight == 0.25);
  CHECK(full->priority == protocol::priority::critical);
  CHECK(full->text() == "m.x/3@critical");
  for (const auto* bad : {"", "m:", "m:0", "m:-1", "m:nan", "m:inf", "m@soon", "m/0", "../m", "m:1:2"}) {
    CAPTURE(bad);
    const auto read = read_stream(bad);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
  }
}

TEST_CASE("streams are mixed by weight, the same way for the same seed") {
  const std::vector<mix::part> parts{{3, {0}}, {1, {1}}};
  mix what(parts, 5), again(parts, 5);
  int first = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto next = what.next();
    CHECK_MESSAGE(next.stream == again.next().stream, i);
    CHECK_MESSAGE(next.prepared == next.stream, i);
    first += next.stream == 0;
  }
  CHECK(first == doctest::Approx(7500).epsilon(0.03));
}

TEST_CASE("requests come in their order from a seeded place, around and around") {
  const std::vector<std::size_t> order{10, 11, 12, 13, 10};
  mix what({{1, order}}, 2);
  std::vector<std::size_t> seen;
  for (int i = 0; i < 10; ++i) seen.push_back(what.next().prepared);
  for (int i = 0; i < 5; ++i) CHECK(seen[i] == seen[i + 5]);
  std::size_t matches = 0;
  for (std::size_t start = 0; start < order.size(); ++start) {
    bool same = true;
    for (std::size_t i = 0; i < order.size(); ++i) same = same && seen[i] == order[(start + i) % order.size()];
    matches += same;
  }
  CHECK(matches == 1);
}
