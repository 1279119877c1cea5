#include "worker/plan_follower.hpp"

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace shoal::protocol;
using executor::precision_plan;
using std::chrono::milliseconds;
using std::chrono::seconds;
using worker::plan_follower;

namespace {

constexpr const char* device = "cpu/avx512/a processor";

plan_target target() { return {"m", 1, object_key{}, device}; }

std::shared_ptr<const precision_plan> plan_of(std::uint64_t generation, const char* node = "linear") {
  precision_plan plan;
  plan.model = to_hex(object_key{});
  plan.device = device;
  plan.nodes[node] = {executor::precision::int8, {}, true};
  plan.generation = generation;
  return std::make_shared<const precision_plan>(std::move(plan));
}

tensor packed(const std::string& text) {
  return {"plan", dtype::uint8, {static_cast<std::int64_t>(text.size())}, buffer::copy(std::as_bytes(std::span(text)))};
}

struct fixture {
  memory_link link;
  metrics figures;
  std::vector<replan> orders;
  plan_follower mind{link, [this](replan order) { orders.push_back(std::move(order)); }, figures};
  time_point now{std::chrono::hours(1)};

  void come(peer_id peer, const std::string& on = device) {
    link_event event = peer_up{peer, service_kind::precision, peer * 1000, 1, {"device=" + on}};
    CHECK(mind.on(event));
  }
  void leave(peer_id peer) {
    link_event event = peer_down{peer, {errc::unavailable, "gone"}};
    CHECK(mind.on(event));
  }
  void hear(peer_id from, message body) {
    link_event event = delivery{from, std::move(body)};
    CHECK(mind.on(event));
  }
  void serve(std::shared_ptr<const precision_plan> plan = nullptr) {
    loaded model;
    model.spec = matrix_model();
    model.target = target();
    model.plan = std::move(plan);
    mind.serve(model);
  }
  bool plans(peer_id service) {
    std::optional<bool> last;
    while (auto told = link.take<follows>(service)) last = told->plans_here;
    REQUIRE(last);
    return *last;
  }
  void done(const replan& order, const std::string& refused = "") {
    mind.on(replanned{order.what.name, order.what.version, order.plan, refused});
  }
};

}  // namespace

TEST_CASE("every precision service is told by what a model computes, one of them is asked to plan") {
  fixture f;
  f.serve();
  for (const peer_id peer : {1, 2, 3}) f.come(peer);
  std::size_t asked = 0;
  for (const peer_id peer : {1, 2, 3}) asked += f.plans(peer) ? 1 : 0;
  CHECK(asked == 1);
}

TEST_CASE("when the one that plans has gone, another is asked; one on another device never") {
  fixture f;
  f.come(4, "cpu/avx2/another");
  f.come(1);
  f.serve();
  CHECK(f.plans(1));
  CHECK_FALSE(f.plans(4));
  f.come(2);
  const bool moved = f.plans(2);
  f.leave(moved ? 2 : 1);
  CHECK(f.plans(moved ? 1 : 2));
}

TEST_CASE("a newer plan is loaded, and all are told once batches are computed by it") {
  fixture f;
  f.come(1);
  f.come(2);
  f.serve(plan_of(1));
  f.link.sent.clear();
  f.hear(1, plan_news{target(), packed(to_text(*plan_of(2, "newer")))});
  REQUIRE(f.orders.size() == 1);
  CHECK(f.link.sent.empty());
  f.hear(2, plan_news{target(), packed(to_text(*plan_of(2, "newer")))});  // the same, from another
  f.hear(2, plan_news{target(), packed(to_text(*plan_of(1, "older")))});
  CHECK(f.orders.size() == 1);
  f.done(f.orders[0]);
  for (const peer_id peer : {1, 2}) {
    const auto told = f.link.take<follows>(peer);
    REQUIRE(told);
    CHECK(told->refused.empty());
    CHECK(told->plan.data.size() == to_text(*plan_of(2, "newer")).size());
  }
}

TEST_CASE("a plan that cannot be used is told of with the reason, and the model goes on as before") {
  fixture f;
  f.come(1);
  f.serve(plan_of(1));
  f.link.sent.clear();
  f.hear(1, plan_news{target(), packed(to_text(*plan_of(2)))});
  f.done(f.orders.at(0), "there is no room");
  auto told = f.link.take<follows>(1);
  REQUIRE(told);
  CHECK(told->refused == "there is no room");
  CHECK(told->plan.data.size() == to_text(*plan_of(1)).size());
  f.hear(1, plan_news{target(), packed("{}")});
  told = f.link.take<follows>(1);
  REQUIRE(told);
  CHECK(told->refused.find("shoal_plan") != std::string::npos);
  CHECK(f.orders.size() == 1);
}

TEST_CASE("samples are given to who asked, so many, not too often, not too large") {
  fixture f;
  f.come(1);
  f.serve();
  CHECK_FALSE(f.mind.wants_sample({"m", 1}, f.now));
  f.hear(1, sampling{target(), 2});
  REQUIRE(f.mind.wants_sample({"m", 1}, f.now));
  CHECK_FALSE(f.mind.wants_sample({"m", 2}, f.now));
  f.mind.give_sample({"m", 1}, {matrix(1, 4)}, f.now);
  CHECK_FALSE(f.mind.wants_sample({"m", 1}, f.now));
  f.now += seconds(1);
  f.mind.give_sample({"m", 1}, {matrix(1 << 10, 1 << 11)}, f.now);  // 8 MiB
  CHECK(f.link.count<protocol::sample>(1) == 1);
  f.now += seconds(1);
  f.mind.give_sample({"m", 1}, {matrix(1 << 10, 1 << 11)}, f.now, {matrix(1, 4)});  // one of its members will do
  f.now += seconds(1);
  CHECK_FALSE(f.mind.wants_sample({"m", 1}, f.now));
  CHECK(f.link.count<protocol::sample>(1) == 2);
}

TEST_CASE("a plan that was given up is told to the one that plans, also to one that comes later") {
  fixture f;
  f.serve(plan_of(1));
  given_up what{"m", 1, plan_of(1)->epoch(), 0.2, 0.03, 20, "", {matrix(1, 4)}};
  f.mind.on(what);
  CHECK(f.link.sent.empty());
  f.come(1);
  const auto told = f.link.take<breach>(1);
  REQUIRE(told);
  CHECK(told->epoch == plan_of(1)->epoch());
  CHECK(told->inputs.size() == 1);
  // It is over with the next plan.
  f.hear(1, plan_news{target(), packed(to_text(*plan_of(2)))});
  f.done(f.orders.at(0));
  f.link.sent.clear();
  f.leave(1);
  f.come(2);
  CHECK(!f.link.take<breach>(2));
}

TEST_CASE("a model that was unloaded, or follows no plans, is none of a precision service's business") {
  fixture f;
  f.come(1);
  f.serve();
  f.link.sent.clear();
  f.mind.stop({"m", 1});
  const auto told = f.link.take<follows>(1);
  REQUIRE(told);
  CHECK_FALSE(told->is_served);
  f.hear(1, plan_news{target(), packed(to_text(*plan_of(2)))});
  CHECK(f.orders.empty());
  loaded on_a_gpu;
  on_a_gpu.spec = matrix_model();
  f.mind.serve(on_a_gpu);
  CHECK(f.link.sent.empty());
}
