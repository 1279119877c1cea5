#include "precision/precision_state.hpp"

#include <deque>

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace shoal::protocol;
using executor::calibration;
using executor::precision_plan;
using precision::plan_source;
using precision::precision_options;
using precision::precision_state;
using std::chrono::seconds;

namespace {

constexpr const char* device = "cpu/avx512/a processor";
constexpr peer_id first_worker = 1;
constexpr peer_id other_worker = 2;
constexpr peer_id scheduler = 9;

object_key key(unsigned number) {
  object_key made;
  made.bytes[0] = static_cast<std::byte>(number);
  return made;
}

plan_target target(const char* model = "m", const char* on = device) { return {model, 1, key(1), on}; }

precision_plan plan_of(std::uint64_t generation, const char* node = "linear", calibration on = calibration::traffic) {
  precision_plan plan;
  plan.model = to_hex(key(1));
  plan.device = device;
  plan.policy = "measured";
  plan.nodes[node] = {executor::precision::int8, {}, true};
  plan.speedup = 3;
  plan.error = 0.01;
  plan.budget = 0.03;
  plan.generation = generation;
  plan.calibrated_on = on;
  return plan;
}

tensor packed(const std::string& text) {
  return {"plan", dtype::uint8, {static_cast<std::int64_t>(text.size())}, buffer::copy(std::as_bytes(std::span(text)))};
}
tensor packed(const precision_plan& plan) { return packed(to_text(plan)); }

precision_plan unpacked(const tensor& text) {
  const auto bytes = text.data.bytes();
  auto plan = executor::parse_plan({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "the plan");
  REQUIRE(plan);
  return *plan;
}

/// A precision_state whose threads do as the test says.
struct fixture {
  memory_link link;
  metrics figures;
  std::deque<planning_order> orders;
  std::deque<shelf_order> shelf;
  time_point now{std::chrono::hours(1)};
  precision_options options;
  std::optional<precision_state> mind;
  std::optional<protocol::report> last;

  explicit fixture(plan_source source = plan_source::measured) {
    options.device = device;
    options.source = source;
    options.samples = 4;
    mind.emplace(options, link,
                 precision_state::port{[this](planning_order order) { orders.push_back(std::move(order)); },
                                       [this](shelf_order order) { shelf.push_back(std::move(order)); }},
                 figures);
    up(*mind, first_worker, service_kind::worker, 101, now);
    up(*mind, other_worker, service_kind::worker, 102, now);
    up(*mind, scheduler, service_kind::scheduler, 109, now);
  }

  void follow(const tensor& plan, peer_id who = first_worker, bool plans_here = true) {
    deliver(*mind, who, follows{target(), plan, plans_here, "", true}, now);
  }
  /// The shelf answers the oldest look.
  void look(expected<precision_plan> found = fail(errc::not_found, "there is no plan")) {
    REQUIRE_FALSE(shelf.empty());
    REQUIRE(shelf.front().keep == nullptr);
    shelf_found answer{shelf.front().target, false, {}};
    shelf.pop_front();
    if (found)
      answer.plan = std::make_shared<const precision_plan>(*std::move(found));
    else
      answer.plan = tl::unexpected(found.error());
    mind->on(answer, now);
  }
  void planned(expected<precision_plan> made) {
    REQUIRE_FALSE(orders.empty());
    planning_done done{orders.front().target, {}, "3 times as fast", orders.front().mends != nullptr, 12};
    orders.pop_front();
    if (made)
      done.plan = std::make_shared<const precision_plan>(*std::move(made));
    else
      done.plan = tl::unexpected(made.error());
    mind->on(done, now);
  }
  void give_samples(std::size_t count, peer_id from = first_worker) {
    for (std::size_t n = 0; n < count; ++n)
      deliver(*mind, from, protocol::sample{target(), {matrix(1, 4, "x", static_cast<float>(n))}}, now);
  }
  void breached(const std::string& epoch) {
    deliver(*mind, first_worker, breach{target(), epoch, 0.2, 0.03, 20, "", {matrix(1, 4)}}, now);
  }
  /// A plan of generation 1 that was made on traffic counts, and both workers compute by it.
  void settle() {
    follow(packed(plan_of(1)));
    follow(packed(plan_of(1)), other_worker, false);
    look(plan_of(1));
    REQUIRE(orders.empty());
    link.sent.clear();
    shelf.clear();
  }
  plan_report report() {
    now += seconds(2);
    mind->on_wake(now);
    while (auto told = link.take<protocol::report>(scheduler)) last = std::move(told);
    REQUIRE(last);
    REQUIRE(last->services.size() == 1);
    REQUIRE(last->services[0].plans.size() == 1);
    return last->services[0].plans[0];
  }
};

}  // namespace

TEST_CASE("a model without a plan is planned with seeded inputs at once, and again on samples of its traffic") {
  fixture f;
  f.follow(packed(""));
  CHECK(f.orders.empty());  // first what lies beside the archive
  f.look();
  REQUIRE(f.orders.size() == 1);
  CHECK(f.orders[0].samples.empty());
  CHECK(f.orders[0].policy == "measured");
  const auto asked = f.link.take<sampling>(first_worker);
  REQUIRE(asked);
  CHECK(asked->executions == 4);
  CHECK(f.report().state == "planning: 0%");

  f.planned(plan_of(0, "linear", calibration::seeded));
  auto news = f.link.take<plan_news>(first_worker);
  REQUIRE(news);
  CHECK(unpacked(news->plan).generation == 1);
  REQUIRE(f.shelf.size() == 1);
  REQUIRE(f.shelf[0].keep);
  CHECK(f.shelf[0].keep->generation == 1);

  f.give_samples(3);
  CHECK(f.orders.empty());
  CHECK(f.report().state == "waits for traffic: 3 of 4 samples");
  f.give_samples(1);
  REQUIRE(f.orders.size() == 1);
  CHECK(f.orders[0].samples.size() == 4);
  f.planned(plan_of(0, "other"));
  news = f.link.take<plan_news>(first_worker);
  REQUIRE(news);
  CHECK(unpacked(news->plan).generation == 2);
  CHECK(f.orders.empty());
  f.follow(packed(plan_of(2, "other")));
  const auto told = f.report();
  CHECK(told.state == "settled");
  CHECK(told.following == 1);
  CHECK(told.nodes == "1 int8");
  CHECK(told.said == "3 times as fast");
  CHECK(told.samples == 0);  // they are given back
}

TEST_CASE("a plan from a file, or of somebody's data, is left as it is") {
  fixture f;
  f.follow(packed(""));
  f.look(plan_of(7, "linear", calibration::data));
  CHECK(f.orders.empty());
  CHECK(!f.link.take<sampling>(first_worker));
  const auto news = f.link.take<plan_news>(first_worker);
  REQUIRE(news);
  CHECK(unpacked(news->plan).generation == 7);
}

TEST_CASE("the newest plan that anybody has counts, and everybody is told of it") {
  fixture f;
  f.settle();
  f.follow(packed(plan_of(5, "better")), other_worker, false);  // it has it from another precision service
  const auto news = f.link.take<plan_news>(first_worker);
  REQUIRE(news);
  CHECK(unpacked(news->plan).epoch() == plan_of(5, "better").epoch());
  CHECK(!f.link.take<plan_news>(other_worker));
  // An older one, and the same again, change nothing.
  f.follow(packed(plan_of(2)), first_worker);
  f.follow(packed(plan_of(5, "better")), first_worker);
  CHECK(f.report().generation == 5);
  CHECK(f.orders.empty());
}

TEST_CASE("of two plans of one generation everybody comes to the same one") {
  const auto a = plan_of(3, "a");
  const auto b = plan_of(3, "b");
  CHECK(supersedes(a, b) != supersedes(b, a));
  CHECK(!supersedes(a, a));
  CHECK(supersedes(plan_of(4), b));
}

TEST_CASE("a service that no worker asks to plan does not, but carries plans on") {
  fixture f;
  f.follow(packed(""), first_worker, false);
  f.look();
  CHECK(f.orders.empty());
  f.follow(packed(""), first_worker, true);  // the one that was asked has gone
  CHECK(f.orders.size() == 1);
}

TEST_CASE("a service plans for its own kind of device only") {
  fixture f;
  deliver(*f.mind, first_worker, follows{target("m", "cpu/avx2/another"), packed(""), true, "", true}, f.now);
  f.look();
  CHECK(f.orders.empty());
}

TEST_CASE("after a breach everybody computes in fp32, the plan is mended, and made anew on fresh samples") {
  fixture f;
  f.settle();
  f.breached(plan_of(1).epoch());
  for (const auto worker : {first_worker, other_worker}) {
    const auto news = f.link.take<plan_news>(worker);
    REQUIRE(news);
    CHECK(unpacked(news->plan).is_fp32());
    CHECK(unpacked(news->plan).generation == 2);
  }
  REQUIRE(f.shelf.size() == 1);
  CHECK(f.shelf[0].keep->is_fp32());
  REQUIRE(f.orders.size() == 1);
  REQUIRE(f.orders[0].mends);
  CHECK(f.orders[0].mends->epoch() == plan_of(1).epoch());
  CHECK(f.orders[0].samples.size() == 1);
  CHECK(f.link.take<sampling>(first_worker));

  f.planned(plan_of(0, "mended"));
  CHECK(unpacked(f.link.take<plan_news>(other_worker)->plan).generation == 3);
  CHECK(f.orders.empty());
  CHECK(f.report().breaches == 1);
  f.give_samples(4);
  REQUIRE(f.orders.size() == 1);
  CHECK_FALSE(f.orders[0].mends);
  CHECK(f.orders[0].samples.size() == 5);  // what breached it is among them
  f.planned(plan_of(0, "renewed"));
  f.give_samples(4);
  CHECK(f.orders.empty());
  CHECK(f.report().generation == 4);
}

TEST_CASE("a breach of a plan that was given up already is none") {
  fixture f;
  f.settle();
  f.breached(plan_of(1).epoch());
  f.breached(plan_of(1).epoch());
  f.breached("0123456789ab");
  CHECK(f.orders.size() == 1);
  CHECK(f.report().breaches == 1);
}

TEST_CASE("what cannot be planned is tried again after a while, which doubles") {
  fixture f;
  f.follow(packed(""));
  f.look();
  f.planned(fail(errc::internal, "there is no memory"));
  CHECK(f.orders.empty());
  CHECK(f.report().said == "could not be planned: there is no memory");
  const auto wait = [&](milliseconds time) {
    f.now += time;
    f.mind->on_wake(f.now);
    return f.orders.size();
  };
  CHECK(wait(f.options.first_wait - seconds(3)) == 0);
  CHECK(wait(seconds(3)) == 1);
  f.planned(fail(errc::internal, "there is no memory"));
  CHECK(wait(f.options.first_wait) == 0);
  CHECK(wait(f.options.first_wait) == 1);
}

TEST_CASE("policies: fp32 tells workers so and writes no file, file plans nothing, others are handed on") {
  fixture plain(plan_source::fp32);
  plain.follow(packed(plan_of(3)));
  plain.look(plan_of(3));
  CHECK(plain.orders.empty());
  const auto news = plain.link.take<plan_news>(first_worker);
  REQUIRE(news);
  CHECK(unpacked(news->plan).is_fp32());
  CHECK(unpacked(news->plan).generation == 4);
  CHECK(plain.shelf.empty());

  fixture file(plan_source::file);
  file.follow(packed(""));
  file.look();
  CHECK(file.orders.empty());
  CHECK(!file.link.take<sampling>(first_worker));

  fixture rule(plan_source::rule);
  rule.follow(packed(""));
  rule.look();
  REQUIRE(rule.orders.size() == 1);
  CHECK(rule.orders[0].policy == "rule");
}

TEST_CASE("a file that people change while the mesh runs counts") {
  fixture f;
  f.settle();
  f.now += f.options.look_interval;
  f.mind->on_wake(f.now);
  f.look(plan_of(2, "tuned", calibration::data));
  CHECK(unpacked(f.link.take<plan_news>(first_worker)->plan).generation == 2);
  f.now += f.options.look_interval;
  f.mind->on_wake(f.now);
  auto by_hand = plan_of(0, "by hand", calibration::data);
  f.look(by_hand);
  CHECK(unpacked(f.link.take<plan_news>(first_worker)->plan).generation == 3);
  // One that is damaged is told of, and the plan stays.
  f.shelf.clear();
  f.now += f.options.look_interval;
  f.mind->on_wake(f.now);
  f.look(fail(errc::corrupt, "plan.json: no JSON"));
  CHECK(f.report().generation == 3);
  CHECK(f.report().said == "plan.json: no JSON");
}

TEST_CASE("samples have bounds, and strangers give none") {
  fixture f;
  f.options.sample_bytes = 40;  // two of them and a half
  f.options.samples = 4;
  f.mind.emplace(f.options, f.link,
                 precision_state::port{[&](planning_order order) { f.orders.push_back(std::move(order)); },
                                       [&](shelf_order order) { f.shelf.push_back(std::move(order)); }},
                 f.figures);
  up(*f.mind, first_worker, service_kind::worker, 101, f.now);
  up(*f.mind, scheduler, service_kind::scheduler, 109, f.now);
  f.follow(packed(""));
  f.look();
  f.give_samples(4, other_worker);  // not connected
  f.give_samples(4);
  CHECK(f.report().samples == 2);
}

TEST_CASE("a worker that tells of no plan, of another's, or nonsense, changes nothing") {
  fixture f;
  f.settle();
  auto other = plan_of(9);
  other.model = to_hex(key(2));
  for (const auto& text : {std::string("{"), std::string("\0\xff", 2), to_text(other)}) f.follow(packed(text));
  CHECK(f.report().generation == 1);
  deliver(*f.mind, scheduler, plan_news{target(), packed(plan_of(8))}, f.now);
  CHECK(f.report().generation == 1);
}

TEST_CASE("what was planned is dropped if another plan counts meanwhile") {
  fixture f;
  f.follow(packed(""));
  f.look();
  REQUIRE(f.orders.size() == 1);
  // Somebody writes a plan.
  f.now += f.options.look_interval;
  f.mind->on_wake(f.now);
  f.look(plan_of(5, "by a person", calibration::data));
  f.link.sent.clear();
  f.planned(plan_of(0, "by the planner"));
  CHECK(f.link.count<plan_news>(first_worker) == 0);
  CHECK(f.report().generation == 5);
  CHECK(f.orders.empty());

  // A breach: what was planned before it knew nothing of it.
  fixture g;
  g.follow(packed(plan_of(1, "seeded", calibration::seeded)));
  g.look(plan_of(1, "seeded", calibration::seeded));
  g.give_samples(4);
  REQUIRE(g.orders.size() == 1);
  g.breached(plan_of(1, "seeded").epoch());
  g.planned(plan_of(0, "renewed"));
  CHECK(g.report().generation == 2);  // fp32
  REQUIRE(g.orders.size() == 1);
  CHECK(g.orders[0].mends);
}

TEST_CASE("mending that takes no node back changes nothing: fp32 until there are samples") {
  fixture f;
  f.settle();
  f.breached(plan_of(1).epoch());
  f.planned(plan_of(0));
  CHECK(f.report().epoch == "fp32");
  f.give_samples(4);
  REQUIRE(f.orders.size() == 1);
  CHECK_FALSE(f.orders[0].mends);
}

TEST_CASE("who takes over after a breach makes the plan anew, whatever the one before had in mind") {
  fixture f;
  f.settle();
  f.breached(plan_of(1).epoch());
  const auto news = f.link.take<plan_news>(first_worker);
  REQUIRE(news);
  fixture heir;
  heir.follow(news->plan);
  heir.look(unpacked(news->plan));
  CHECK(heir.orders.empty());
  heir.give_samples(4);
  CHECK(heir.orders.size() == 1);
}

TEST_CASE("a mended plan is held to the promise of the one before, if that was stricter") {
  fixture f;
  auto strict = plan_of(1);
  strict.budget = 0.001;
  f.follow(packed(strict));
  f.look(strict);
  f.breached(strict.epoch());
  REQUIRE(f.orders.size() == 1);
  CHECK(f.orders[0].budget == 0.001);
}

TEST_CASE("an old file that is found late does not bring a plan back that others have left") {
  fixture f;
  f.follow(packed(plan_of(6, "newer")));
  f.look(plan_of(0, "old", calibration::data));
  CHECK(f.report().generation == 6);
}

TEST_CASE("a worker that had no room for a plan is told of it again after a while") {
  fixture f;
  f.settle();
  f.follow(packed(plan_of(5, "better")), other_worker, false);
  REQUIRE(f.link.take<plan_news>(first_worker));
  deliver(*f.mind, first_worker, follows{target(), packed(plan_of(1)), true, "there is no room", true}, f.now);
  CHECK(f.report().said == "a worker does not use it: there is no room");
  CHECK(!f.link.take<plan_news>(first_worker));
  f.now += f.options.first_wait;
  f.mind->on_wake(f.now);
  CHECK(f.link.take<plan_news>(first_worker));
}
