// Models taken into service and out of it, while batches come and go.
#include "worker_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using fixture = worker_fixture;
constexpr auto scheduler = fixture::scheduler;
constexpr auto other_scheduler = fixture::other_scheduler;
using versions = std::vector<std::uint64_t>;

struct life_fixture : fixture {
  request_id next_order = 1;

  /// Version `version` of model m is ready.
  void serve(std::uint64_t version) {
    mind.load({{"folder", "m", version}});
    is_loaded(version);
  }
  void is_loaded(std::uint64_t version) {
    loaded ready{matrix_model("m", version), 0.1};
    mind.on(ready, now);
  }
  void order(life_verb verb, std::uint64_t version = 0, bool replace = false, peer_id from = scheduler) {
    deliver(mind, from, manage{{7, next_order++}, verb, "m", version, replace, 5s}, now);
  }
  /// The directory has this version for the oldest lookup.
  void directory_has(std::uint64_t version) {
    REQUIRE_FALSE(lookups.empty());
    found what{lookups.front().key, protocol::load{"folder", "m", version}};
    lookups.erase(lookups.begin());
    mind.on(what, now);
  }
  void memory_is_free(std::uint64_t version) {
    unloaded done{"m", version};
    mind.on(done, now);
  }
  expected<std::string> answer(peer_id from = scheduler) {
    auto told = link.take<managed>(from);
    REQUIRE(told);
    REQUIRE(told->result);
    REQUIRE(told->result->size() == 1);
    return told->result->front().result;
  }
  bool answered() const { return link.count<managed>(scheduler) > 0; }
  versions listed(model_state state = model_state::ready) {
    std::optional<catalogue> last;
    while (auto told = link.take<catalogue>(scheduler)) last = std::move(told);
    versions found;
    REQUIRE(last);
    for (const auto& spec : last->models)
      if (spec.state == state) found.push_back(spec.version);
    return found;
  }
  batch version_batch(batch_id id, request_id request, std::uint64_t version) {
    auto message = of(id, take_offer(), {request});
    message.members.front().request.version = version;
    return message;
  }
};

}  // namespace

TEST_CASE("load takes the version that the directory names, says so when it is ready, and the older one goes on") {
  life_fixture f;
  f.serve(1);
  f.order(life_verb::load);
  CHECK(f.lookups.front().version == 0);
  f.directory_has(2);
  CHECK(f.loads.back().version == 2);
  CHECK(f.listed(model_state::loading) == versions{2});
  CHECK_FALSE(f.answered());
  f.is_loaded(2);
  CHECK(f.listed() == versions{1, 2});
  const auto said = f.answer();
  REQUIRE(said);
  CHECK(said->starts_with("loaded version 2"));
  CHECK(f.unloads.empty());
}

TEST_CASE("what is loaded, still loading, or not in the directory is refused with the right code") {
  life_fixture f;
  f.serve(1);
  f.order(life_verb::load, 1);
  CHECK(f.answer().error().code == errc::invalid_argument);
  f.order(life_verb::load);
  f.directory_has(1);
  CHECK(f.answer().error().message.find("loaded already") != std::string::npos);

  f.order(life_verb::load, 2);
  f.directory_has(2);
  f.order(life_verb::load, 2);
  const auto loading = f.answer().error();
  CHECK(loading.code == errc::unavailable);
  CHECK(loading.retryable);
  f.order(life_verb::unload, 2);
  CHECK(f.answer().error().code == errc::unavailable);

  f.order(life_verb::load, 9);
  found none{f.lookups.front().key, fail(errc::not_found, "there is no model 'm' version 9")};
  f.mind.on(none, f.now);
  CHECK(f.answer().error().code == errc::not_found);
  f.order(life_verb::unload, 9);
  CHECK(f.answer().error().code == errc::not_found);
  deliver(f.mind, scheduler, manage{{7, 99}, life_verb::load, "../m", 1, false, 5s}, f.now);
  CHECK(f.answer().error().code == errc::invalid_argument);
  CHECK(f.lookups.size() == 1);  // of the name that is a path none was made
}

TEST_CASE("a load that fails is told with its reason, is listed as failed, and can be tried again or forgotten") {
  life_fixture f;
  f.serve(1);
  f.order(life_verb::load, 2, true);
  f.directory_has(2);
  auto broken = failed_load(f.loads.back(), "node 'addmm_3' is not supported", 0.1);
  f.mind.on(broken, f.now);
  CHECK(f.answer().error().message.find("addmm_3") != std::string::npos);
  CHECK(f.listed() == versions{1});  // nothing was replaced
  f.order(life_verb::load, 2);
  CHECK_FALSE(f.answered());
  f.directory_has(2);
  f.mind.on(broken = failed_load(f.loads.back(), "again", 0.1), f.now);
  CHECK(f.listed(model_state::failed) == versions{2});
  f.answer();
  f.order(life_verb::unload, 2);
  CHECK(f.answer());
  CHECK(f.listed(model_state::failed).empty());
  CHECK(f.unloads.empty());  // it held no memory
}

TEST_CASE("unload waits for what runs and what is staged, then frees the memory, then says so") {
  life_fixture f;
  f.serve(1);
  f.give(1, {1});
  f.give(2, {2});
  f.order(life_verb::unload);
  CHECK(f.listed().empty());
  CHECK(f.unloads.empty());
  f.computed_last();
  CHECK(f.unloads.empty());
  CHECK(f.running() == fixture::list{2});
  f.computed_last();
  REQUIRE(f.unloads.size() == 1);
  CHECK(f.unloads.front().version == 1);
  CHECK_FALSE(f.answered());
  f.order(life_verb::load, 1);
  CHECK(f.answer().error().code == errc::unavailable);  // being unloaded
  f.memory_is_free(1);
  CHECK(f.answer().value() == "unloaded version 1");
  f.order(life_verb::load, 1);
  f.directory_has(1);
  f.is_loaded(1);
  CHECK(f.answer());
}

TEST_CASE("a batch that crosses the unload goes back to its scheduler, and its place is offered again") {
  life_fixture f;
  f.serve(1);
  f.serve(2);
  f.order(life_verb::unload, 1);
  f.memory_is_free(1);
  f.give(f.version_batch(5, 50, 1));
  CHECK(f.jobs.empty());
  const auto back = f.over();
  CHECK(f.ids(back.returned) == fixture::list{50});
  CHECK(back.batch_over);
  CHECK(back.offer != 0);
  CHECK(f.mind.idle());
  f.give(f.version_batch(6, 60, 2));
  CHECK(f.running() == fixture::list{60});
}

TEST_CASE("a new version that replaces: the older ones serve until it is ready, and are freed when they are idle") {
  life_fixture f;
  f.serve(1);
  f.serve(2);
  f.give(f.version_batch(1, 1, 1));
  f.order(life_verb::load, 3, true);
  f.directory_has(3);
  CHECK(f.listed() == versions{1, 2});
  f.is_loaded(3);
  CHECK(f.listed() == versions{3});
  REQUIRE(f.unloads.size() == 1);
  CHECK(f.unloads.front().version == 2);
  f.memory_is_free(2);
  CHECK_FALSE(f.answered());
  f.computed_last();
  f.memory_is_free(1);
  const auto said = f.answer();
  REQUIRE(said);
  CHECK(said->find("unloaded 1, 2") != std::string::npos);
}

TEST_CASE("the same order through two schedulers is done once and answered to both") {
  life_fixture f;
  up(f.mind, other_scheduler, service_kind::scheduler, other_scheduler, f.now);
  f.serve(1);
  f.order(life_verb::unload);
  f.next_order = 1;
  f.order(life_verb::unload, 0, false, other_scheduler);
  CHECK(f.unloads.size() == 1);
  f.memory_is_free(1);
  CHECK(f.answer());
  CHECK(f.answer(other_scheduler));
  f.next_order = 1;
  f.order(life_verb::unload);  // asked again after it was answered
  CHECK(f.answer().value() == "unloaded version 1");
}

TEST_CASE("a worker that drains lists its models as not served for now, so that nobody takes them for unloaded") {
  life_fixture f;
  f.serve(1);
  f.mind.start_draining();
  CHECK(f.listed(model_state::loading) == versions{1});
  f.order(life_verb::load, 2);
  CHECK(f.answer().error().code == errc::unavailable);
}
