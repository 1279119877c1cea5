#include "cache/cache_state.hpp"

#include <deque>
#include <map>

#include "core/rendezvous.hpp"
#include "unit/cache/objects.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace shoal::protocol;
using cache::cache_options;
using cache::cache_state;
using kind = object_job::kind;
using std::chrono::seconds;

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t kib4 = page - object_trailer_bytes;  ///< a size whose file fills one page
constexpr peer_id first_worker = 1;
constexpr peer_id other_worker = 2;

/// A cache_state over storage that does its jobs when the test says so.
struct fixture {
  memory_link link;
  metrics figures;
  std::deque<object_job> jobs;
  std::set<object_key> memory;
  std::map<object_key, std::uint64_t> disk;
  std::multiset<object_key> damaged;  ///< found so by the next check or fill, once for each time it is in here
  bool disk_full = false;
  std::vector<std::uint64_t> members{7};
  time_point now{std::chrono::hours(1)};
  std::optional<cache_state> mind;
  std::uint64_t next_id = 1;

  explicit fixture(std::uint64_t budget = 4 * page, bool has_disk = true) {
    options.name = 7;
    options.memory_budget = budget;
    options.has_disk = has_disk;
  }
  void start() {
    std::vector<std::pair<object_key, std::uint64_t>> on_disk(disk.begin(), disk.end());
    object_done adopted{kind::scan, {}};
    for (const auto& key : memory) adopted.objects.push_back({key, kib4, true, false, false, {}});
    mind.emplace(
        options, link,
        cache_state::port{[this](object_job job) { jobs.push_back(std::move(job)); }, [this] { return members; }},
        figures, on_disk, adopted);
    up(*mind, first_worker, service_kind::worker, 101, now);
    up(*mind, other_worker, service_kind::worker, 102, now);
  }
  static object_key key(unsigned number) { return name_of(object_bytes(number, 8)); }

  std::uint64_t ask(std::vector<object_key> keys, peer_id by = first_worker, bool verify = false) {
    deliver(*mind, by, acquire{next_id, std::move(keys), verify}, now);
    return next_id++;
  }
  void offer(const object_key& named, std::uint64_t size = kib4, peer_id by = first_worker) {
    store body{next_id++, named, {}, {}, {"object", dtype::uint8, {static_cast<std::int64_t>(size)}, {}}};
    body.bytes.data = object_bytes(1, size);
    deliver(*mind, by, std::move(body), now);
  }
  void let_go(const object_key& named, peer_id by = first_worker) { deliver(*mind, by, release{{named}}, now); }

  bool is_damaged(const object_key& named) {
    const auto found = damaged.find(named);
    if (found == damaged.end()) return false;
    damaged.erase(found);
    return true;
  }
  object_done::object work(kind what, const object_job::object& each) {
    object_done::object done{each.key, each.size, false, false, false, {}};
    switch (what) {
      case kind::fill:
        done.on_disk = disk.contains(each.key) && !is_damaged(each.key);
        done.quarantined = !done.on_disk;
        if (!done.on_disk) disk.erase(each.key);
        if (done.on_disk) memory.insert(each.key);
        break;
      case kind::keep:
        if (disk_full)
          done.problem = error{errc::unavailable, "the disk is full"};
        else if (options.has_disk)
          disk[each.key] = each.bytes.size();
        if (each.to_memory) memory.insert(each.key);
        done.on_disk = disk.contains(each.key);
        break;
      case kind::check:
        if (is_damaged(each.key)) {
          memory.erase(each.key);
          done.quarantined = true;
        }
        break;
      case kind::drop: memory.erase(each.key); break;
      case kind::scan: break;
    }
    done.in_memory = memory.contains(each.key) && (what != kind::keep || each.to_memory);
    return done;
  }
  void work() {
    while (!jobs.empty()) {
      const auto job = std::move(jobs.front());
      jobs.pop_front();
      object_done done{job.what, {}};
      for (const auto& each : job.objects) done.objects.push_back(work(job.what, each));
      if (job.what == kind::scan)
        for (const auto& key : memory) done.objects.push_back({key, kib4, true, false, false, {}});
      mind->on(done, now);
    }
  }
  object_state state_of(const object_key& named, peer_id by = first_worker, bool verify = false) {
    const auto id = ask({named}, by, verify);
    work();
    const auto told = link.take<leased>(by);
    REQUIRE(told);
    CHECK(told->id == id);
    REQUIRE(told->objects.size() == 1);
    CHECK(told->objects[0].key == named);
    return told->objects[0].state;
  }
  double figure(const std::string& name) const {
    for (const auto& [known, value] : figures.snapshot())
      if (known == "shoal_cache_" + name) return value;
    FAIL("there is no figure " << name);
    return 0;
  }

  cache_options options;
};

}  // namespace

TEST_CASE("what nobody has is absent, what a worker gives is there for the next one") {
  fixture at;
  at.start();
  const auto key = fixture::key(1);
  CHECK(at.state_of(key) == object_state::absent);
  at.offer(key);
  at.work();
  const auto told = at.link.take<stored>(first_worker);
  REQUIRE(told);
  CHECK(told->result);
  CHECK(at.state_of(key, other_worker) == object_state::ready);
  CHECK(at.figure("misses_total") == 1);
  CHECK(at.figure("hits_total") == 1);
  CHECK(at.figure("stored_total") == 1);
  CHECK(at.figure("leases") == 0);  // published with the next report
  CHECK(at.figure("disk_bytes") == kib4);
}

TEST_CASE("an object on the disk is filled once for all who wait for it") {
  fixture at;
  const auto key = fixture::key(1);
  at.disk[key] = kib4;
  at.start();
  at.ask({key}, first_worker);
  at.ask({key, fixture::key(2)}, other_worker);
  CHECK(at.jobs.size() == 1);
  CHECK(at.link.count<leased>(other_worker) == 0);
  at.work();
  CHECK(at.link.take<leased>(first_worker)->objects[0].state == object_state::ready);
  const auto told = at.link.take<leased>(other_worker);
  REQUIRE(told);
  CHECK(told->objects[0].state == object_state::ready);
  CHECK(told->objects[1].state == object_state::absent);
  CHECK(at.memory.contains(key));
}

TEST_CASE("room is made by removing the least recently used that nobody has leased") {
  fixture at(2 * page);
  for (unsigned i = 1; i <= 3; ++i) at.disk[fixture::key(i)] = kib4;
  at.start();
  CHECK(at.state_of(fixture::key(1)) == object_state::ready);
  CHECK(at.state_of(fixture::key(2)) == object_state::ready);
  at.let_go(fixture::key(2));
  at.let_go(fixture::key(1));  // used last
  CHECK(at.state_of(fixture::key(3)) == object_state::ready);
  CHECK(at.memory == std::set{fixture::key(1), fixture::key(3)});
  CHECK(at.figure("evictions_total") == 1);
  CHECK(at.disk.contains(fixture::key(2)));
}

TEST_CASE("what is leased is never removed: what does not fit stays below, and the others go on") {
  fixture at(2 * page);
  for (unsigned i = 1; i <= 3; ++i) at.disk[fixture::key(i)] = kib4;
  at.disk[fixture::key(4)] = 3 * page;
  at.start();
  CHECK(at.state_of(fixture::key(1)) == object_state::ready);
  CHECK(at.state_of(fixture::key(2), other_worker) == object_state::ready);
  CHECK(at.state_of(fixture::key(3)) == object_state::failed);
  CHECK(at.memory == std::set{fixture::key(1), fixture::key(2)});
  CHECK(at.state_of(fixture::key(1), other_worker) == object_state::ready);
  at.let_go(fixture::key(1));
  CHECK(at.state_of(fixture::key(3)) == object_state::failed);  // the other worker has it still
  at.let_go(fixture::key(1), other_worker);
  CHECK(at.state_of(fixture::key(3)) == object_state::ready);
  SUBCASE("an object larger than the budget removes nothing in vain") {
    at.let_go(fixture::key(3));
    CHECK(at.state_of(fixture::key(4)) == object_state::failed);
    CHECK(at.memory.contains(fixture::key(3)));
  }
}

TEST_CASE("a lost worker's leases end") {
  fixture at(page);
  at.disk[fixture::key(1)] = kib4;
  at.disk[fixture::key(2)] = kib4;
  at.start();
  CHECK(at.state_of(fixture::key(1), other_worker) == object_state::ready);
  CHECK(at.state_of(fixture::key(2)) == object_state::failed);
  down(*at.mind, other_worker, at.now);
  CHECK(at.state_of(fixture::key(2)) == object_state::ready);
  SUBCASE("also those of one that was lost while it waited") {
    up(*at.mind, other_worker + 1, service_kind::worker, 102, at.now);
    at.let_go(fixture::key(2));
    at.ask({fixture::key(1)}, other_worker + 1);
    down(*at.mind, other_worker + 1, at.now);
    at.work();
    CHECK(at.state_of(fixture::key(2)) == object_state::ready);
  }
}

TEST_CASE("a file that a worker could not use is checked, removed and filled again") {
  fixture at;
  const auto key = fixture::key(1);
  at.disk[key] = kib4;
  at.start();
  CHECK(at.state_of(key) == object_state::ready);
  at.damaged.insert(key);
  CHECK(at.state_of(key, first_worker, true) == object_state::ready);
  CHECK(at.figure("quarantined_total") == 1);
  CHECK(at.memory.contains(key));
  SUBCASE("what is damaged below, too, is absent: the worker gives it again") {
    at.damaged = {key, key};
    CHECK(at.state_of(key, first_worker, true) == object_state::absent);
    at.offer(key);
    at.work();
    CHECK(at.link.take<stored>(first_worker)->result);
    CHECK(at.state_of(key) == object_state::ready);
  }
}

TEST_CASE("what is offered twice is kept once, and both are told") {
  fixture at;
  at.start();
  at.offer(fixture::key(1));
  at.offer(fixture::key(1), kib4, other_worker);
  CHECK(at.jobs.size() == 1);
  at.work();
  CHECK(at.link.take<stored>(first_worker)->result);
  CHECK(at.link.take<stored>(other_worker)->result);
  at.offer(fixture::key(1));
  CHECK(at.link.take<stored>(first_worker)->result);
  CHECK(at.jobs.empty());
  CHECK(at.figure("duplicates_total") == 1);
}

TEST_CASE("objects that come while others are written go to the disk together") {
  fixture at;
  at.start();
  for (unsigned i = 1; i <= 4; ++i) at.offer(fixture::key(i));
  REQUIRE(at.jobs.size() == 1);
  CHECK(at.jobs[0].objects.size() == 1);
  const auto first = std::move(at.jobs.front());
  at.jobs.pop_front();
  at.mind->on(*std::make_unique<object_done>(object_done{kind::keep, {at.work(kind::keep, first.objects[0])}}), at.now);
  REQUIRE(at.jobs.size() == 1);
  CHECK(at.jobs[0].objects.size() == 3);
}

TEST_CASE("a full disk is told to who offered; memory serves nevertheless") {
  fixture at;
  at.start();
  at.disk_full = true;
  at.offer(fixture::key(1));
  at.work();
  const auto told = at.link.take<stored>(first_worker);
  REQUIRE_FALSE(told->result);
  CHECK(told->result.error().message == "the disk is full");
  CHECK(at.state_of(fixture::key(1), other_worker) == object_state::ready);
  at.disk_full = false;
  at.offer(fixture::key(1));
  at.work();
  CHECK(at.link.take<stored>(first_worker)->result);
  CHECK(at.disk.contains(fixture::key(1)));
}

TEST_CASE("without a disk what does not fit into memory is refused with a sentence") {
  fixture at(page, false);
  at.start();
  at.offer(fixture::key(1), 3 * page);
  at.work();
  const auto told = at.link.take<stored>(first_worker);
  REQUIRE_FALSE(told->result);
  CHECK(told->result.error().message.find("cache.dram_mib") != std::string::npos);
  CHECK(at.state_of(fixture::key(1)) == object_state::absent);
}

TEST_CASE("an offer that is no plain bytes, too many that wait, and strangers are refused") {
  fixture at;
  at.options.waiting_budget = 3 * page;
  at.start();
  deliver(*at.mind, first_worker, store{1, fixture::key(1), {}, {}, matrix(1, 4)}, at.now);
  CHECK(at.link.take<stored>(first_worker)->result.error().code == errc::invalid_argument);
  at.offer(fixture::key(1), 2 * page);
  at.offer(fixture::key(2), 2 * page);
  CHECK(at.link.take<stored>(first_worker)->result.error().code == errc::overloaded);
  at.work();
  at.offer(fixture::key(2), 2 * page);
  at.work();
  CHECK(at.link.count<stored>(first_worker) == 2);
  deliver(*at.mind, 99, acquire{1, {fixture::key(1)}, false}, at.now);
  deliver(*at.mind, first_worker, leased{}, at.now);
  CHECK(at.figure("unexpected_messages_total") == 2);
}

TEST_CASE("what lies in memory at the start is taken over, within the budget") {
  fixture at(2 * page);
  for (unsigned i = 1; i <= 3; ++i) at.memory.insert(fixture::key(i));
  at.start();
  at.work();
  CHECK(at.figure("adopted_total") == 3);
  CHECK(at.memory.size() == 2);
  CHECK(at.figure("memory_bytes") == 2 * page);
  CHECK(at.state_of(*at.memory.begin()) == object_state::ready);
}

TEST_CASE("of several caches on a host the owner fills and evicts, and another takes over when it is gone") {
  fixture at(64 * page);
  at.members = {7, 8};
  std::vector<object_key> mine, others;
  for (unsigned i = 1; i <= 40; ++i) {
    const auto key = fixture::key(i);
    const std::string_view text(reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size());
    (rendezvous_weight(text, 7) > rendezvous_weight(text, 8) ? mine : others).push_back(key);
    at.disk[key] = kib4;
  }
  CHECK(mine.size() > 8);
  CHECK(others.size() > 8);
  at.memory.insert(others[0]);  // the other cache filled it
  at.start();
  CHECK(at.figure("adopted_total") == 0);
  CHECK(at.state_of(mine[0]) == object_state::ready);
  CHECK(at.state_of(others[0]) == object_state::ready);
  CHECK(at.state_of(others[1]) == object_state::failed);  // only its owner fills it
  CHECK_FALSE(at.memory.contains(others[1]));
  CHECK(at.figure("memory_bytes") == page);
  at.members = {7};
  at.now += seconds(2);
  at.mind->on_wake(at.now);
  at.work();
  CHECK(at.figure("members") == 1);
  CHECK(at.figure("memory_bytes") == 2 * page);
  CHECK(at.state_of(others[1]) == object_state::ready);
  at.members = {7, 8};
  at.now += seconds(2);
  at.mind->on_wake(at.now);
  at.work();
  CHECK(at.figure("memory_bytes") == page);
  CHECK(at.memory.contains(others[1]));  // its file stays for its owner
}

TEST_CASE("figures go to the schedulers once a second while something happens") {
  fixture at;
  at.start();
  up(*at.mind, 31, service_kind::scheduler, 31, at.now);
  at.ask({fixture::key(1)});
  REQUIRE(at.mind->next_wake());
  at.now += seconds(1);
  at.mind->on_wake(at.now);
  const auto told = at.link.take<report>(31);
  REQUIRE(told);
  REQUIRE(told->services.size() == 1);
  CHECK(told->services[0].service == "cache");
  at.now += seconds(1);
  at.mind->on_wake(at.now);
  CHECK_FALSE(at.link.take<report>(31));
}
