// map and stream: order, bounds, where requests come from, and how they end.
#include <doctest/doctest.h>

#include <list>

#include "fake_gateway.hpp"

namespace shoal::test {
namespace {

using sdk_errc = client::errc;

float first_of(const client::expected<client::result>& came) {
  REQUIRE(came);
  return (*came->view<float>("y"))[0];
}

TEST_CASE("map gives results in the order of the requests") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::vector<client::request> asked;
  for (int i = 0; i < 100; ++i) asked.push_back(ask("identity", static_cast<float>(i)));
  float expected = 0;
  for (auto& each : mesh.map(asked, {30s}, 8)) CHECK(first_of(each) == expected++);
  CHECK(expected == 100);
}

TEST_CASE("requests come from a function, a range that is moved in, or a view") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  const auto count = [](auto results) {
    int n = 0;
    for (auto& each : results) n += each ? 1 : 0;
    return n;
  };
  CHECK(count(mesh.map([n = 0]() mutable -> std::optional<client::request> {
          if (n == 10) return std::nullopt;
          return ask("identity", static_cast<float>(n++));
        })) == 10);
  CHECK(count(mesh.map([left = std::make_unique<int>(3)]() -> std::optional<client::request> {
          if ((*left)-- == 0) return std::nullopt;
          return ask("identity");
        })) == 3);
  CHECK(count(mesh.map(std::list{ask("identity"), ask("identity")})) == 2);
  CHECK(count(mesh.map(std::views::iota(0, 5) |
                       std::views::transform([](int i) { return ask("identity", static_cast<float>(i)); }))) == 5);
  CHECK(count(mesh.map(std::vector<client::request>{})) == 0);
}

TEST_CASE("no more than the window is drawn from the source before results are taken") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  int drawn = 0;
  auto results = mesh.map(
      [&]() -> std::optional<client::request> {
        ++drawn;
        return ask("identity");
      },
      {30s}, 4);
  CHECK(drawn == 0);
  for (int i = 1; i <= 10; ++i) {
    REQUIRE(results.next());
    CHECK(drawn <= i + 3);
  }
}

TEST_CASE("stream gives results as they come, each with its index") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::vector<client::request> asked{ask("held", 1), ask("identity", 2), ask("poisoned"), ask("identity", 4)};
  auto results = mesh.stream(asked, {30s});
  std::vector<std::size_t> order;
  for (int i = 0; i < 3; ++i) {
    const auto each = results.next();
    REQUIRE(each);
    order.push_back(each->index);
    if (each->index == 2) CHECK(each->result.error().code == sdk_errc::poisoned);
    if (each->index == 1) CHECK(first_of(each->result) == 2);
  }
  gateway.let_go();
  order.push_back(results.next()->index);
  CHECK(order == std::vector<std::size_t>{1, 2, 3, 0});
  CHECK_FALSE(results.next());
  CHECK_FALSE(results.next());
}

TEST_CASE("an error is the result of its request and ends nothing else") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::vector<client::request> asked{ask("identity", 1), ask("poisoned"), ask("identity", 3)};
  auto results = mesh.map(asked);
  CHECK(first_of(*results.next()) == 1);
  CHECK(results.next()->error().code == sdk_errc::poisoned);
  CHECK(first_of(*results.next()) == 3);
  CHECK_FALSE(results.next());
}

TEST_CASE("a map whose window is larger than the mesh's goes on within it, whatever the mesh does when it is full") {
  fake_gateway gateway;
  for (const bool waits : {true, false}) {
    auto with = quick_options();
    with.max_in_flight = 3;
    with.wait_for_room = waits;
    auto mesh = mesh_of(with, gateway);
    auto other = mesh.infer_async(ask("held"), {30s});
    float expected = 0;
    for (auto& each : mesh.map(std::views::iota(0, 50) |
                                   std::views::transform([](int i) { return ask("identity", static_cast<float>(i)); }),
                               {30s}, 20))
      CHECK(first_of(each) == expected++);
    CHECK(expected == 50);
    gateway.let_go();
    CHECK(other.get());
  }
}

TEST_CASE("a source that throws ends with one error") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  auto results = mesh.map([n = 0]() mutable -> std::optional<client::request> {
    if (n == 2) throw std::runtime_error("no more data");
    return ask("identity", static_cast<float>(n++));
  });
  CHECK(first_of(*results.next()) == 0);
  CHECK(first_of(*results.next()) == 1);
  const auto last = results.next();
  REQUIRE(last);
  CHECK(last->error().code == sdk_errc::internal);
  CHECK(last->error().message == "the source of requests threw: no more data");
  CHECK_FALSE(results.next());
}

TEST_CASE("a stop token ends a map: what is in flight is taken back, nothing more is drawn") {
  fake_gateway gateway;
  auto mesh = mesh_of(quick_options(), gateway);
  std::stop_source stop;
  int drawn = 0;
  auto results = mesh.map([&]() -> std::optional<client::request> { return ask(drawn++ == 0 ? "identity" : "silent"); },
                          {30s, stop.get_token()}, 4);
  REQUIRE(*results.next());
  stop.request_stop();
  int cancelled = 0;
  while (const auto each = results.next()) cancelled += each->error().code == sdk_errc::cancelled;
  CHECK(cancelled == drawn - 1);
  CHECK(drawn <= 5);
}

TEST_CASE("a map that is let go takes back what is in flight; it may outlive its mesh") {
  fake_gateway gateway;
  {
    auto mesh = mesh_of(quick_options(), gateway);
    {
      auto results = mesh.map(std::vector{ask("identity"), ask("silent"), ask("silent")}, {30s});
      REQUIRE(*results.next());
      REQUIRE(gateway.link().wait_for_messages(3));
    }
    REQUIRE(gateway.link().wait_for_messages(5));
    CHECK(gateway.cancels().size() == 2);
  }
  auto mesh = std::make_unique<client::mesh>(mesh_of(quick_options(), gateway));
  auto results = mesh->map(std::vector{ask("identity", 1), ask("identity", 2)}, {30s}, 1);
  CHECK(first_of(*results.next()) == 1);
  mesh.reset();
  CHECK(first_of(*results.next()) == 2);
}

}  // namespace
}  // namespace shoal::test
