#include "cache/cache_state.hpp"

#include <algorithm>
#include <string_view>

#include <spdlog/spdlog.h>

#include "core/rendezvous.hpp"
#include "protocol/object_file.hpp"

namespace shoal::cache {

using namespace protocol;

namespace {

/// What a file of an object with `size` bytes takes on tmpfs.
std::uint64_t room_of(std::uint64_t size) {
  constexpr std::uint64_t page = 4096;
  return (size + object_trailer_bytes + page - 1) / page * page;
}

std::string_view text_of(const object_key& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}

}  // namespace

cache_state::cache_state(cache_options options, protocol::link& link, port storage, metrics& figures,
                         const known& on_disk, const object_done& adopted)
    : options_(options),
      link_(link),
      storage_(std::move(storage)),
      figures_(figures),
      hits_(figures.counter("shoal_cache_hits_total", "Objects asked for that lay in memory")),
      fills_(figures.counter("shoal_cache_fills_total", "Objects asked for that were brought from the disk")),
      misses_(figures.counter("shoal_cache_misses_total", "Objects asked for that the cache did not have")),
      unfilled_(figures.counter("shoal_cache_unfilled_total",
                                "Objects asked for that could not be brought to memory: no room, or the disk")),
      evictions_(figures.counter("shoal_cache_evictions_total", "Objects removed from memory to make room")),
      quarantined_(figures.counter("shoal_cache_quarantined_total", "Copies found damaged and removed")),
      adopted_(figures.counter("shoal_cache_adopted_total", "Objects found in memory and taken over")),
      stored_(figures.counter("shoal_cache_stored_total", "Objects kept for workers")),
      duplicates_(figures.counter("shoal_cache_duplicates_total", "Objects offered that were there already")),
      refused_(figures.counter("shoal_cache_refused_total", "Objects offered that could not be kept")),
      unexpected_(figures.counter("shoal_cache_unexpected_messages_total", "Messages dropped: wrong sender or kind")),
      objects_gauge_(figures.gauge("shoal_cache_objects", "Objects known")),
      memory_objects_(figures.gauge("shoal_cache_memory_objects", "Objects in memory")),
      memory_bytes_(figures.gauge("shoal_cache_memory_bytes", "Bytes of this cache's files in the memory tier")),
      disk_bytes_(figures.gauge("shoal_cache_disk_bytes", "Bytes of objects on the disk")),
      leases_gauge_(figures.gauge("shoal_cache_leases", "Leases that workers hold")),
      members_gauge_(figures.gauge("shoal_cache_members", "Caches that share this host's memory tier")) {
  figures.gauge("shoal_cache_memory_budget_bytes", "What memory_bytes may reach")
      .Set(static_cast<double>(options_.memory_budget));
  members_ = storage_.members();
  for (const auto& [key, size] : on_disk) {
    auto& entry = objects_[key];
    entry.size = size;
    entry.on_disk = true;
    disk_used_ += size;
  }
  for (const auto& each : adopted.objects) {
    if (each.quarantined) quarantined_.Increment();
    if (each.in_memory && owns(each.key)) adopt(each.key, each.size);
  }
  publish();
}

bool cache_state::owns(const object_key& key) const {
  const auto mine = rendezvous_weight(text_of(key), options_.name);
  return std::none_of(members_.begin(), members_.end(), [&](std::uint64_t other) {
    const auto theirs = rendezvous_weight(text_of(key), other);
    return theirs > mine || (theirs == mine && other > options_.name);
  });
}

void cache_state::on(link_event& event, time_point now) {
  if (auto* up = std::get_if<peer_up>(&event))
    on_peer(*up, now);
  else if (auto* down = std::get_if<peer_down>(&event))
    on_peer(*down, now);
  else {
    auto& delivered = std::get<delivery>(event);
    std::visit([&](auto& body) { on_message(delivered.from, body, now); }, delivered.body);
  }
  if (!members_at_) members_at_ = now + options_.member_interval;
  if (!report_at_) report_at_ = now + options_.report_interval;
}

// --- peers ----------------------------------------------------------------------------------------------------------

void cache_state::on_peer(const peer_up& up, time_point) {
  if (up.service == service_kind::worker) workers_[up.peer];
  if (up.service == service_kind::scheduler) schedulers_.insert(up.peer);
}

void cache_state::on_peer(const peer_down& down, time_point) {
  schedulers_.erase(down.peer);
  const auto found = workers_.find(down.peer);
  if (found == workers_.end()) return;
  const auto held = std::move(found->second);
  workers_.erase(found);
  for (const auto& key : held) unlease(key);
}

void cache_state::lease(peer_id peer, const object_key& key, object& entry) {
  const auto worker = workers_.find(peer);
  if (worker == workers_.end() || !worker->second.insert(key).second) return;
  make_busy(entry);
  ++entry.leases;
  ++leases_;
}

void cache_state::unlease(const object_key& key) {
  const auto found = objects_.find(key);
  if (found == objects_.end() || found->second.leases == 0) return;
  --leases_;
  if (--found->second.leases > 0) return;
  make_idle(key, found->second);
  forget_if_nowhere(key);
}

void cache_state::on_message(peer_id from, const release& over, time_point) {
  const auto worker = workers_.find(from);
  if (worker == workers_.end()) return unexpected_.Increment();
  for (const auto& key : over.keys)
    if (worker->second.erase(key) != 0) unlease(key);
}

// --- acquire --------------------------------------------------------------------------------------------------------

void cache_state::on_message(peer_id from, const acquire& wanted, time_point) {
  if (!workers_.contains(from)) return unexpected_.Increment();
  const auto ticket = next_ticket_++;
  auto& under_way = acquisitions_[ticket];
  under_way.peer = from;
  under_way.answer.id = wanted.id;
  under_way.answer.objects.resize(wanted.keys.size());
  under_way.missing = wanted.keys.size() + 1;  // one for this loop: it is not to be answered before all were looked at
  for (std::size_t i = 0; i < wanted.keys.size(); ++i) find(wanted.keys[i], {ticket, i}, wanted.verify);
  finish(ticket);
}

void cache_state::find(const object_key& key, waiter who, bool verify) {
  const auto found = objects_.find(key);
  const bool is_known = found != objects_.end();
  if (!is_known && owns(key)) {
    misses_.Increment();
    return answer(who, key, object_state::absent, 0);
  }
  auto& entry = is_known ? found->second : objects_[key];
  if (entry.in_memory && !verify && !entry.at_work) {
    hits_.Increment();
    lease(acquisitions_.at(who.ticket).peer, key, entry);
    return answer(who, key, object_state::ready, entry.size);
  }
  entry.waiters.push_back(who);
  if (entry.at_work) return;
  // Another's object may lie in memory without our having been told.
  begin(key, entry, entry.in_memory || !owns(key) ? kind::check : kind::fill);
}

void cache_state::begin(const object_key& key, object& entry, kind what) {
  if (what == kind::fill && !make_room(room_of(entry.size))) return resolve(key, entry);
  make_busy(entry);
  if (what == kind::fill) take_room(entry);
  entry.at_work = true;
  storage_.run({what, {{key, entry.size, {}, {}, {}, true}}});
}

/// Answers whoever waits for an object about which nothing more is under way.
void cache_state::resolve(const object_key& key, object& entry) {
  for (const auto& who : std::exchange(entry.waiters, {})) {
    if (entry.in_memory) {
      fills_.Increment();
      lease(acquisitions_.at(who.ticket).peer, key, entry);
      answer(who, key, object_state::ready, entry.size);
    } else {
      const bool is_below = entry.on_disk;
      (is_below ? unfilled_ : misses_).Increment();
      answer(who, key, is_below ? object_state::failed : object_state::absent, entry.size);
    }
  }
  make_idle(key, entry);
}

void cache_state::answer(const waiter& who, const object_key& key, object_state state, std::uint64_t size) {
  acquisitions_.at(who.ticket).answer.objects[who.index] = {key, state, size};
  finish(who.ticket);
}

void cache_state::finish(std::uint64_t ticket) {
  auto& under_way = acquisitions_.at(ticket);
  if (--under_way.missing > 0) return;
  static_cast<void>(link_.send(under_way.peer, std::move(under_way.answer)));  // a worker that is gone leases nothing
  acquisitions_.erase(ticket);
}

// --- store ----------------------------------------------------------------------------------------------------------

void cache_state::on_message(peer_id from, store& offered, time_point) {
  if (!workers_.contains(from)) return unexpected_.Increment();
  const auto refuse = [&](errc code, std::string why) {
    refused_.Increment();
    static_cast<void>(link_.send(from, stored{offered.id, fail(code, std::move(why))}));
  };
  const auto size = offered.bytes.data.size();
  if (offered.bytes.type != dtype::uint8 || offered.bytes.dims.size() != 1 || size == 0)
    return refuse(errc::invalid_argument, "an object is given as one dimension of UINT8 with at least one element");
  auto& entry = objects_[offered.key];
  if (entry.on_disk || (!options_.has_disk && entry.in_memory)) {
    duplicates_.Increment();
    static_cast<void>(link_.send(from, stored{offered.id, {}}));
    return;
  }
  if (!entry.keepers.empty()) {
    entry.keepers.emplace_back(from, offered.id);
    return;
  }
  // One alone may always wait: it is here already.
  if (waiting_bytes_ > 0 && size > options_.waiting_budget - std::min(waiting_bytes_, options_.waiting_budget)) {
    refuse(errc::overloaded, "too many objects wait to be kept already: offer it again later");
    return forget_if_nowhere(offered.key);
  }
  entry.keepers.emplace_back(from, offered.id);
  if (!entry.in_memory) entry.size = size;
  const bool to_memory = owns(offered.key) && !entry.in_memory && !entry.at_work && make_room(room_of(size));
  if (to_memory) take_room(entry);
  entry.at_work = entry.at_work || to_memory;
  waiting_bytes_ += size;
  to_keep_.push_back(
      {offered.key, size, offered.source, std::move(offered.layout), std::move(offered.bytes.data), to_memory});
  keep_next();
}

/// All that waits goes in one job, so that what comes while one is written shares a sync.
void cache_state::keep_next() {
  if (keeping_ || to_keep_.empty()) return;
  keeping_ = true;
  storage_.run({kind::keep, std::exchange(to_keep_, {})});
}

void cache_state::tell_keepers(object& entry, const expected<void>& result) {
  for (const auto& [peer, id] : std::exchange(entry.keepers, {})) {
    (result ? stored_ : refused_).Increment();
    static_cast<void>(link_.send(peer, stored{id, result}));
  }
}

// --- what storage did -----------------------------------------------------------------------------------------------

void cache_state::on(object_done& done, time_point now) {
  if (done.what == kind::scan) {
    for (const auto& each : done.objects)
      if (owns(each.key)) adopt(each.key, each.size);
  } else {
    for (const auto& each : done.objects) merge(each, done.what);
  }
  if (done.what == kind::keep) {
    keeping_ = false;
    keep_next();
  }
  publish();
  if (!report_at_) report_at_ = now + options_.report_interval;
}

void cache_state::merge(const object_done::object& result, kind what) {
  if (result.quarantined) quarantined_.Increment();
  const auto found = objects_.find(result.key);
  if (found == objects_.end() || what == kind::drop) return;
  auto& entry = found->second;
  if (what == kind::keep) {
    waiting_bytes_ -= std::min(waiting_bytes_, result.size);
    if (result.on_disk && !entry.on_disk) disk_used_ += result.size;
    entry.on_disk = entry.on_disk || result.on_disk;
    const bool is_kept = options_.has_disk ? result.on_disk : result.in_memory;
    if (!is_kept && !result.problem)
      tell_keepers(entry,
                   fail(errc::overloaded, "there is no room in memory for an object of " + std::to_string(result.size) +
                                              " bytes, and this cache has no disk: raise cache.dram_mib"));
    else
      tell_keepers(entry, result.problem ? expected<void>(tl::unexpected(*result.problem)) : expected<void>{});
    if (result.problem && result.problem->code != errc::corrupt) spdlog::error("cache: {}", result.problem->message);
    if (!entry.counted || entry.in_memory) {  // memory was not part of the job, or had it already
      if (!entry.at_work) forget_if_nowhere(result.key);
      return;
    }
  }
  if (what == kind::fill && !result.on_disk && entry.on_disk) {
    disk_used_ -= std::min(disk_used_, entry.size);
    entry.on_disk = false;
  }
  entry.at_work = false;
  entry.in_memory = result.in_memory;
  if (result.in_memory)
    entry.size = result.size;
  else
    give_room(entry);
  if (!entry.in_memory && what == kind::check && entry.on_disk && !entry.waiters.empty() && owns(result.key))
    return begin(result.key, entry, kind::fill);
  resolve(result.key, entry);
  forget_if_nowhere(result.key);
}

void cache_state::adopt(const object_key& key, std::uint64_t size) {
  auto& entry = objects_[key];
  if (entry.in_memory || entry.at_work) {
    if (entry.in_memory && !entry.counted) {  // another's until now
      take_room(entry);
      make_idle(key, entry);
    }
    return;
  }
  entry.size = size;
  entry.in_memory = true;
  take_room(entry);
  make_idle(key, entry);
  adopted_.Increment();
  make_room(0);
}

// --- room -----------------------------------------------------------------------------------------------------------

/// Evicts until `size` more bytes fit. False: they do not, whatever is evicted; then nothing is.
bool cache_state::make_room(std::uint64_t size) {
  std::uint64_t idle = 0;
  for (auto at = idle_.begin(); at != idle_.end() && memory_used_ - idle + size > options_.memory_budget; ++at)
    idle += room_of(objects_.at(*at).size);
  if (size > 0 && memory_used_ - idle + size > options_.memory_budget) return false;
  object_job gone{kind::drop, {}};
  while (memory_used_ + size > options_.memory_budget && !idle_.empty()) {
    const auto key = idle_.front();
    auto& entry = objects_.at(key);
    make_busy(entry);
    entry.in_memory = false;
    give_room(entry);
    evictions_.Increment();
    gone.objects.push_back({key, entry.size, {}, {}, {}, false});
    forget_if_nowhere(key);
  }
  if (!gone.objects.empty()) storage_.run(std::move(gone));
  return true;
}

void cache_state::take_room(object& entry) {
  entry.counted = true;
  memory_used_ += room_of(entry.size);
}

void cache_state::give_room(object& entry) {
  if (!std::exchange(entry.counted, false)) return;
  memory_used_ -= room_of(entry.size);
}

void cache_state::make_idle(const object_key& key, object& entry) {
  if (!entry.in_memory || !entry.counted || entry.leases > 0 || entry.at_work || entry.idle) return;
  entry.idle = idle_.insert(idle_.end(), key);
}

void cache_state::make_busy(object& entry) {
  if (entry.idle) idle_.erase(*entry.idle);
  entry.idle.reset();
}

void cache_state::forget_if_nowhere(const object_key& key) {
  const auto found = objects_.find(key);
  if (found == objects_.end()) return;
  const auto& entry = found->second;
  const bool is_anothers = entry.in_memory && !entry.counted && entry.leases == 0;
  if (entry.on_disk || entry.at_work || !entry.waiters.empty() || !entry.keepers.empty()) return;
  if (!entry.in_memory || is_anothers) objects_.erase(found);
}

// --- time -----------------------------------------------------------------------------------------------------------

void cache_state::look_at_members() {
  auto alive = storage_.members();
  if (alive == members_) return;
  spdlog::info("cache: {} instance(s) share this host's memory tier", alive.size());
  members_ = std::move(alive);
  std::vector<object_key> others;
  for (auto& [key, entry] : objects_) {
    if (!entry.counted || entry.at_work || owns(key)) continue;
    make_busy(entry);
    give_room(entry);
    others.push_back(key);
  }
  for (const auto& key : others) {
    auto& entry = objects_.at(key);
    if (entry.leases == 0) entry.in_memory = false;  // its file stays; its owner evicts it
    forget_if_nowhere(key);
  }
  storage_.run({kind::scan, {}});
}

void cache_state::on_wake(time_point now) {
  if (members_at_ && now >= *members_at_) {
    look_at_members();
    members_at_ = now + options_.member_interval;
  }
  if (report_at_ && now >= *report_at_) {
    report_at_.reset();
    publish();
    send_report();
  }
}

std::optional<time_point> cache_state::next_wake() const {
  if (!members_at_ || !report_at_) return members_at_ ? members_at_ : report_at_;
  return std::min(*members_at_, *report_at_);
}

void cache_state::publish() {
  objects_gauge_.Set(static_cast<double>(objects_.size()));
  memory_objects_.Set(static_cast<double>(
      std::count_if(objects_.begin(), objects_.end(), [](const auto& entry) { return entry.second.in_memory; })));
  memory_bytes_.Set(static_cast<double>(memory_used_));
  disk_bytes_.Set(static_cast<double>(disk_used_));
  leases_gauge_.Set(static_cast<double>(leases_));
  members_gauge_.Set(static_cast<double>(members_.size()));
}

void cache_state::send_report() {
  service_report own{"cache", options_.instance, {}, {}, {}};
  for (auto& [name, value] : figures_.snapshot()) own.figures.push_back({name, value});
  for (const auto peer : schedulers_) static_cast<void>(link_.send(peer, report{{own}}));
}

}  // namespace shoal::cache
