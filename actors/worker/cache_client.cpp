#include "worker/cache_client.hpp"

#include <algorithm>
#include <charconv>

#include <spdlog/spdlog.h>

#include "core/rendezvous.hpp"
#include "protocol/object_file.hpp"

namespace shoal::worker {

using namespace protocol;

namespace {

/// Of one message (schemas/README.md).
constexpr std::size_t most_keys = 4096;

std::uint64_t name_told(const peer_up& up) {
  for (const auto& each : up.capabilities) {
    if (!each.starts_with("name=")) continue;
    std::uint64_t name = 0;
    const auto [end, failed] = std::from_chars(each.data() + 5, each.data() + each.size(), name, 16);
    if (failed == std::errc{} && end == each.data() + each.size()) return name;
  }
  return up.instance;
}

}  // namespace

std::shared_ptr<cache_client> cache_client::make(cache_client_options options, protocol::link& link, metrics& figures) {
  return std::shared_ptr<cache_client>(new cache_client(std::move(options), link, figures));
}

cache_client::cache_client(cache_client_options options, protocol::link& link, metrics& figures)
    : options_(std::move(options)),
      link_(&link),
      mapped_(figures.counter("shoal_worker_objects_mapped_total", "Objects mapped from the cache's memory tier")),
      absent_(figures.counter("shoal_worker_objects_absent_total", "Objects that no cache had")),
      fallbacks_(
          figures.counter("shoal_worker_objects_fallback_total",
                          "Objects read from the archive because a cache was away, slow, or could not give them")),
      published_(figures.counter("shoal_worker_objects_published_total", "Objects given to caches")),
      unpublished_(figures.counter("shoal_worker_objects_unpublished_total", "Objects that a cache did not take")),
      mapped_bytes_(figures.gauge("shoal_worker_objects_mapped_bytes", "Bytes of objects mapped now")),
      acquire_seconds_(
          figures.gauge("shoal_worker_objects_acquire_seconds", "The last model's objects: asked to mapped")) {}

// --- loading --------------------------------------------------------------------------------------------------------

std::vector<executor::object_source::found> cache_client::acquire(std::span<const object_key> keys) {
  const auto begin = steady::now();
  const auto until = begin + options_.patience;
  std::vector<found> result(keys.size());
  std::unique_lock lock(mutex_);
  if (link_ == nullptr || keys.empty()) return result;
  wait_for_caches(lock, until);
  // Held before it is asked for: a lease that another load gives back meanwhile is not sent after this question.
  for (const auto& key : keys) ++holds_[key];
  auto told = ask(lock, keys, false, until);
  std::vector<std::size_t> damaged;
  const auto map = [&](std::size_t i) {
    if (told[i].state != object_state::ready) return true;
    lock.unlock();
    auto mapped = map_object(options_.memory, keys[i]);
    lock.lock();
    if (!mapped) {
      if (damaged.empty()) spdlog::warn("cache: {}", mapped.error().message);
      return false;
    }
    mapped_.Increment();
    mapped_bytes_.Increment(static_cast<double>(mapped->size()));
    result[i].bytes = held(keys[i], std::move(*mapped));
    return true;
  };
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (!map(i)) damaged.push_back(i);
  if (!damaged.empty()) {
    std::vector<object_key> again;
    for (const auto i : damaged) again.push_back(keys[i]);
    const auto checked = ask(lock, again, true, until);
    for (std::size_t d = 0; d < damaged.size(); ++d) {
      told[damaged[d]] = checked[d];
      static_cast<void>(map(damaged[d]));
    }
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (result[i].bytes) continue;
    unhold(keys[i]);
    result[i].is_wanted = told[i].state == object_state::absent && told[i].size == 0 && owner_of(keys[i]) != 0;
    (result[i].is_wanted ? absent_ : fallbacks_).Increment();
  }
  acquire_seconds_.Set(std::chrono::duration<double>(steady::now() - begin).count());
  return result;
}

void cache_client::wait_for_caches(std::unique_lock<std::mutex>& lock, time_point until) {
  if (has_waited_) return;
  changed_.wait_until(lock, until, [&] { return link_ == nullptr || caches_.size() >= options_.caches; });
  has_waited_ = true;
  if (caches_.empty()) spdlog::warn("no cache can be reached (yet): weights are mapped from the archives");
}

std::vector<leased::object> cache_client::ask(std::unique_lock<std::mutex>& lock, std::span<const object_key> keys,
                                              bool verify, time_point until) {
  // Told as failed unless a cache says otherwise, so that silence is not taken for absence.
  std::vector<leased::object> told(keys.size());
  std::map<peer_id, std::vector<std::size_t>> by_cache;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    told[i] = {keys[i], object_state::failed, 0};
    if (const auto owner = owner_of(keys[i]); owner != 0) by_cache[owner].push_back(i);
  }
  std::vector<std::pair<std::uint64_t, std::vector<std::size_t>>> asked;
  for (const auto& [peer, indices] : by_cache)
    for (std::size_t from = 0; from < indices.size(); from += most_keys) {
      const auto to = std::min(indices.size(), from + most_keys);
      protocol::acquire body{next_id_++, {}, verify};
      std::vector<std::size_t> part(indices.begin() + static_cast<std::ptrdiff_t>(from),
                                    indices.begin() + static_cast<std::ptrdiff_t>(to));
      for (const auto i : part) body.keys.push_back(keys[i]);
      const auto id = body.id;
      questions_[id].peer = peer;
      if (link_ == nullptr || !link_->send(peer, std::move(body))) {
        questions_.erase(id);
        continue;
      }
      asked.emplace_back(id, std::move(part));
    }
  changed_.wait_until(lock, until, [&] {
    return link_ == nullptr || std::all_of(asked.begin(), asked.end(), [&](const auto& one) {
             const auto& question = questions_.at(one.first);
             return question.answer || question.is_lost;
           });
  });
  for (const auto& [id, indices] : asked) {
    auto question = questions_.extract(id);
    if (!question.mapped().answer || question.mapped().answer->size() != indices.size()) continue;
    for (std::size_t n = 0; n < indices.size(); ++n) {
      auto& one = (*question.mapped().answer)[n];
      if (one.key == keys[indices[n]]) told[indices[n]] = one;
    }
  }
  return told;
}

buffer cache_client::held(const object_key& key, buffer mapped) {
  const auto size = mapped.size();
  auto bytes = mapped.bytes();
  std::shared_ptr<const void> owner(
      bytes.data(), [mapped = std::move(mapped), key, size, weak = weak_from_this()](const void*) mutable {
        mapped = {};
        if (const auto client = weak.lock()) {
          const std::lock_guard lock(client->mutex_);
          client->mapped_bytes_.Decrement(static_cast<double>(size));
          client->unhold(key);
        }
      });
  return {std::move(owner), bytes};
}

void cache_client::unhold(const object_key& key) {
  const auto found = holds_.find(key);
  if (found == holds_.end() || --found->second > 0) return;
  holds_.erase(found);
  // A cache that is gone has no leases either.
  if (const auto owner = owner_of(key); owner != 0 && link_ != nullptr)
    static_cast<void>(link_->send(owner, release{{key}}));
}

peer_id cache_client::owner_of(const object_key& key) const {
  const std::string_view text(reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size());
  peer_id best = 0;
  std::pair<std::uint64_t, std::uint64_t> greatest;
  for (const auto& [peer, name] : caches_) {
    const std::pair weight{rendezvous_weight(text, name), name};
    if (best != 0 && weight < greatest) continue;
    greatest = weight;
    best = peer;
  }
  return best;
}

// --- publishing -----------------------------------------------------------------------------------------------------

void cache_client::publish(const object_key& key, buffer bytes, const object_key& source, std::string_view layout) {
  const std::lock_guard lock(mutex_);
  if (link_ == nullptr || caches_.empty() || bytes.empty()) return;
  const auto size = bytes.size();
  tensor object{"object", dtype::uint8, {static_cast<std::int64_t>(size)}, std::move(bytes)};
  offers_.push_back({{next_id_++, key, source, std::string(layout), std::move(object)}, size});
  send_offers();
}

/// As many as the window lets; the others follow as these are answered.
void cache_client::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, options_.patience,
                    [&] { return link_ == nullptr || (offers_.empty() && under_way_.empty()); });
}

void cache_client::send_offers() {
  while (!offers_.empty() && link_ != nullptr) {
    auto& next = offers_.front();
    if (bytes_under_way_ > 0 && bytes_under_way_ + next.bytes > options_.window) return;
    const auto id = next.body.id;
    const auto owner = owner_of(next.body.key);
    const auto bytes = next.bytes;
    const auto sent = owner == 0 ? expected<void>(fail(errc::unavailable, "no cache is there"))
                                 : link_->send(owner, std::move(next.body));
    offers_.pop_front();
    if (!sent) {
      unpublished_.Increment();
      if (sent.error().code != errc::unavailable) spdlog::warn("cache: {}", sent.error().message);
      continue;
    }
    under_way_[id] = {owner, bytes};
    bytes_under_way_ += bytes;
  }
}

// --- the link's thread ----------------------------------------------------------------------------------------------

void cache_client::come(const peer_up& up) {
  caches_[up.peer] = name_told(up);
  // What is mapped here is leased anew where it belongs now; the answers tell nothing new.
  std::map<peer_id, std::vector<object_key>> mine;
  for (const auto& [key, count] : holds_) mine[owner_of(key)].push_back(key);
  for (auto& [peer, keys] : mine)
    for (std::size_t from = 0; from < keys.size(); from += most_keys) {
      protocol::acquire body{next_id_++, {}, false};
      body.keys.assign(keys.begin() + static_cast<std::ptrdiff_t>(from),
                       keys.begin() + static_cast<std::ptrdiff_t>(std::min(keys.size(), from + most_keys)));
      if (link_ != nullptr) static_cast<void>(link_->send(peer, std::move(body)));  // if it is gone it comes again
    }
}

/// An answer that nobody waits for (any more) may have leased what nobody here has.
void cache_client::give_back_unheld(peer_id cache, const std::vector<leased::object>& objects) {
  release unheld;
  for (const auto& each : objects)
    if (each.state == object_state::ready && !holds_.contains(each.key)) unheld.keys.push_back(each.key);
  if (!unheld.keys.empty() && link_ != nullptr) static_cast<void>(link_->send(cache, std::move(unheld)));
}

bool cache_client::on(link_event& event) {
  const std::lock_guard lock(mutex_);
  if (const auto* up = std::get_if<peer_up>(&event)) {
    if (up->service != service_kind::cache) return false;
    spdlog::info("cache {:x} is there", up->instance);
    come(*up);
  } else if (const auto* down = std::get_if<peer_down>(&event)) {
    if (caches_.erase(down->peer) == 0) return false;
    spdlog::warn("a cache is gone: what is mapped stays, what is loaded meanwhile comes from the archives");
    for (auto& [id, question] : questions_) question.is_lost = question.is_lost || question.peer == down->peer;
    std::erase_if(under_way_, [&](const auto& entry) {
      if (entry.second.first != down->peer) return false;
      bytes_under_way_ -= entry.second.second;
      unpublished_.Increment();
      return true;
    });
    send_offers();
  } else {
    auto& delivered = std::get<delivery>(event);
    if (!caches_.contains(delivered.from)) return false;
    if (auto* told = std::get_if<leased>(&delivered.body)) {
      const auto question = questions_.find(told->id);
      if (question != questions_.end())
        question->second.answer = std::move(told->objects);
      else
        give_back_unheld(delivered.from, told->objects);
    } else if (const auto* done = std::get_if<stored>(&delivered.body)) {
      const auto offer = under_way_.find(done->id);
      if (offer == under_way_.end()) return true;
      bytes_under_way_ -= offer->second.second;
      under_way_.erase(offer);
      (done->result ? published_ : unpublished_).Increment();
      if (!done->result) spdlog::warn("the cache did not take an object: {}", done->result.error().message);
      send_offers();
    } else {
      return false;
    }
  }
  changed_.notify_all();
  return true;
}

void cache_client::stop() {
  const std::lock_guard lock(mutex_);
  link_ = nullptr;
  offers_.clear();
  changed_.notify_all();
}

}  // namespace shoal::worker
