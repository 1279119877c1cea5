// The worker's side of the cache over a link in memory. A thread of the test plays the loader, since `acquire` waits;
// what it waits for is an event that the test gives, not time.
#include "worker/cache_client.hpp"

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "core/rendezvous.hpp"
#include "protocol/object_file.hpp"
#include "unit/support/memory_link.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace shoal::protocol;
using worker::cache_client;
using namespace std::chrono_literals;

namespace {

constexpr peer_id cache = 1;
constexpr peer_id other_cache = 2;

/// A link that tells when something was sent.
class watched_link final : public protocol::link {
 public:
  expected<void> send(peer_id to, message body) override {
    const std::lock_guard lock(mutex_);
    if (gone.contains(to)) return fail(errc::unavailable, "no such peer");
    sent_.emplace_back(to, std::move(body));
    changed_.notify_all();
    return {};
  }
  void settle(peer_id, request_id) override {}

  /// Waits for the next message to `to` of type Message.
  template <class Message>
  Message wait_for(peer_id to) {
    std::unique_lock lock(mutex_);
    Message found{};
    const bool came = changed_.wait_for(lock, 10s, [&] {
      for (auto at = sent_.begin(); at != sent_.end(); ++at) {
        if (at->first != to || !std::holds_alternative<Message>(at->second)) continue;
        found = std::get<Message>(std::move(at->second));
        sent_.erase(at);
        return true;
      }
      return false;
    });
    REQUIRE(came);
    return found;
  }
  std::size_t waiting() {
    const std::lock_guard lock(mutex_);
    return sent_.size();
  }
  std::set<peer_id> gone;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<peer_id, message>> sent_;
};

struct fixture {
  temporary_folder folder;
  watched_link link;
  metrics figures;
  std::shared_ptr<cache_client> client;

  explicit fixture(std::size_t caches = 1, milliseconds patience = 20s, std::uint64_t window = 1 << 20)
      : client(cache_client::make({folder.path(), caches, patience, window}, link, figures)) {}

  void comes(peer_id peer = cache, std::uint64_t name = 0xabc) {
    link_event event = peer_up{peer, service_kind::cache, peer, 1, {"name=" + hex(name)}};
    CHECK(client->on(event));
  }
  void goes(peer_id peer = cache) {
    link.gone.insert(peer);
    link_event event = peer_down{peer, {errc::unavailable, "lost"}};
    CHECK(client->on(event));
  }
  static std::string hex(std::uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
  }
  template <class Message>
  void hear(Message body, peer_id from = cache) {
    link_event event = delivery{from, std::move(body)};
    CHECK(client->on(event));
  }
  static buffer bytes(unsigned seed, std::size_t size = 5000) {
    return buffer::make(size, [&](std::byte* to) {
      for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<std::byte>(seed * 31 + i * 7);
    });
  }
  static object_key name(unsigned seed) { return key_of(bytes(seed).bytes()); }
  /// What a cache would have written.
  void fill(unsigned seed, bool damaged = false) {
    const auto whole = bytes(seed);
    const auto key = name(seed);
    std::ofstream file(object_path(folder.path(), key), std::ios::binary | std::ios::trunc);
    std::string text(reinterpret_cast<const char*>(whole.data()), whole.size());
    if (damaged) text[1234] ^= 4;
    const auto trailer = object_trailer(whole.size(), checksum_of(key, whole.bytes()));
    file << text << std::string(reinterpret_cast<const char*>(trailer.data()), trailer.size());
  }
  /// Calls acquire on a thread of its own while `meanwhile` plays the cache.
  template <class Meanwhile>
  std::vector<executor::object_source::found> acquire(std::vector<object_key> keys, Meanwhile&& meanwhile) {
    std::vector<executor::object_source::found> result;
    std::thread loader([&] { result = client->acquire(keys); });
    meanwhile();
    loader.join();
    return result;
  }
  void answer(object_state state, std::uint64_t size = 0, peer_id from = cache) {
    const auto asked = link.wait_for<protocol::acquire>(from);
    leased told{asked.id, {}};
    for (const auto& key : asked.keys) told.objects.push_back({key, state, size});
    hear(std::move(told), from);
  }
  double figure(const std::string& name) const {
    for (const auto& [known, value] : figures.snapshot())
      if (known == "shoal_worker_objects_" + name) return value;
    FAIL("there is no figure " << name);
    return 0;
  }
};

}  // namespace

TEST_CASE("an object that a cache has ready is mapped, and given back when the last who holds it lets go") {
  fixture at;
  at.comes();
  at.fill(1);
  auto found = at.acquire({fixture::name(1)}, [&] { at.answer(object_state::ready, 5000); });
  REQUIRE(found[0].bytes);
  CHECK(std::ranges::equal(found[0].bytes->bytes(), fixture::bytes(1).bytes()));
  auto again = at.acquire({fixture::name(1)}, [&] { at.answer(object_state::ready, 5000); });
  CHECK(at.figure("mapped_total") == 2);
  auto part = found[0].bytes->slice(100, 10);
  found.clear();
  again.clear();
  CHECK(at.link.waiting() == 0);
  part = {};
  CHECK(at.link.wait_for<release>(cache).keys == std::vector{fixture::name(1)});
  CHECK(at.figure("mapped_bytes") == 0);
}

TEST_CASE("what no cache has is wanted; what a cache cannot give, or nobody answers for, is read from the archive") {
  fixture at;
  at.comes();
  CHECK(at.acquire({fixture::name(1)}, [&] { at.answer(object_state::absent); })[0].is_wanted);
  auto failed = at.acquire({fixture::name(1)}, [&] { at.answer(object_state::failed, 5000); });
  CHECK_FALSE(failed[0].is_wanted);
  CHECK_FALSE(failed[0].bytes);
  auto lost = at.acquire({fixture::name(1)}, [&] {
    at.link.wait_for<acquire>(cache);
    at.goes();
  });
  CHECK_FALSE(lost[0].is_wanted);
  CHECK_FALSE(lost[0].bytes);
  auto nobody = at.acquire({fixture::name(1)}, [] {});
  CHECK_FALSE(nobody[0].is_wanted);
  CHECK(at.figure("absent_total") == 1);
  CHECK(at.figure("fallback_total") == 3);
}

TEST_CASE("the first load waits for the caches that are configured, but not for ever") {
  SUBCASE("they come") {
    fixture at(2);
    at.fill(1);
    auto found = at.acquire({fixture::name(1)}, [&] {
      at.comes(cache, 1);
      at.comes(other_cache, 2);
      const auto key = fixture::name(1);
      const std::string_view text(reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size());
      at.answer(object_state::ready, 5000,
                rendezvous_weight(text, 1) > rendezvous_weight(text, 2) ? cache : other_cache);
    });
    CHECK(found[0].bytes);
  }
  SUBCASE("they do not come") {
    fixture at(1, 1ms);
    CHECK_FALSE(at.client->acquire(std::vector{fixture::name(1)})[0].bytes);
  }
}

TEST_CASE("a file that does not verify is never used: the cache is asked to look at it, then the archive serves") {
  fixture at;
  at.comes();
  at.fill(1, true);
  SUBCASE("the cache fills it again") {
    auto found = at.acquire({fixture::name(1)}, [&] {
      at.answer(object_state::ready, 5000);
      const auto again = at.link.wait_for<acquire>(cache);
      CHECK(again.verify);
      at.fill(1);
      at.hear(leased{again.id, {{fixture::name(1), object_state::ready, 5000}}});
    });
    REQUIRE(found[0].bytes);
    CHECK(std::ranges::equal(found[0].bytes->bytes(), fixture::bytes(1).bytes()));
  }
  SUBCASE("the cache cannot") {
    auto found = at.acquire({fixture::name(1)}, [&] {
      at.answer(object_state::ready, 5000);
      at.answer(object_state::ready, 5000);
    });
    CHECK_FALSE(found[0].bytes);
    CHECK_FALSE(found[0].is_wanted);
    CHECK(at.link.wait_for<release>(cache).keys == std::vector{fixture::name(1)});
  }
  SUBCASE("the worker sees another folder than the cache") {
    std::filesystem::remove(object_path(at.folder.path(), fixture::name(1)));
    auto found = at.acquire({fixture::name(1)}, [&] {
      at.answer(object_state::ready, 5000);
      at.answer(object_state::ready, 5000);
    });
    CHECK_FALSE(found[0].bytes);
  }
}

TEST_CASE("when a cache is back, what is mapped is leased anew there, and no more than that") {
  fixture at;
  at.comes();
  at.fill(1);
  auto found = at.acquire({fixture::name(1)}, [&] { at.answer(object_state::ready, 5000); });
  at.goes();
  CHECK(std::ranges::equal(found[0].bytes->bytes(), fixture::bytes(1).bytes()));
  at.comes(other_cache);
  const auto asked = at.link.wait_for<acquire>(other_cache);
  CHECK(asked.keys == std::vector{fixture::name(1)});
  found.clear();
  CHECK(at.link.wait_for<release>(other_cache).keys == std::vector{fixture::name(1)});
  at.hear(leased{asked.id, {{fixture::name(1), object_state::ready, 5000}}}, other_cache);  // was on its way
  CHECK(at.link.wait_for<release>(other_cache).keys == std::vector{fixture::name(1)});
}

TEST_CASE("objects are published a window at a time, and the next follow the answers") {
  fixture at(1, 20s, 12000);
  at.comes();
  for (unsigned i = 1; i <= 4; ++i) at.client->publish(fixture::name(i), fixture::bytes(i), {}, {});
  const auto first = at.link.wait_for<store>(cache);
  CHECK(first.key == fixture::name(1));
  CHECK(first.bytes.type == dtype::uint8);
  CHECK(first.bytes.data.size() == 5000);
  CHECK(at.link.wait_for<store>(cache).key == fixture::name(2));
  CHECK(at.link.waiting() == 0);
  at.hear(stored{first.id, {}});
  CHECK(at.link.wait_for<store>(cache).key == fixture::name(3));
  at.hear(stored{first.id, {}});  // again: it is known no more
  CHECK(at.link.waiting() == 0);
  at.goes();
  CHECK(at.figure("published_total") == 1);
  CHECK(at.figure("unpublished_total") == 3);
}

TEST_CASE("an object larger than the window is published alone, and a refusal is counted") {
  fixture at(1, 20s, 100);
  at.comes();
  at.client->publish(fixture::name(1), fixture::bytes(1), fixture::name(2), "packed");
  const auto offered = at.link.wait_for<store>(cache);
  CHECK(offered.source == fixture::name(2));
  CHECK(offered.layout == "packed");
  at.hear(stored{offered.id, fail(errc::unavailable, "the disk is full")});
  CHECK(at.figure("unpublished_total") == 1);
}

TEST_CASE("events of other services are the worker's") {
  fixture at;
  link_event scheduler = peer_up{9, service_kind::scheduler, 9, 1, {}};
  CHECK_FALSE(at.client->on(scheduler));
  link_event lost = peer_down{9, {}};
  CHECK_FALSE(at.client->on(lost));
  link_event told = delivery{9, leased{}};
  CHECK_FALSE(at.client->on(told));
}

TEST_CASE("after the link has gone nothing is sent, and what is mapped stays valid") {
  fixture at;
  at.comes();
  at.fill(1);
  auto found = at.acquire({fixture::name(1)}, [&] { at.answer(object_state::ready, 5000); });
  at.client->stop();
  CHECK_FALSE(at.client->acquire(std::vector{fixture::name(1)})[0].bytes);
  at.client.reset();
  CHECK(std::ranges::equal(found[0].bytes->bytes(), fixture::bytes(1).bytes()));
  found.clear();
  CHECK(at.link.waiting() == 0);
}
