#include "unit/simulation/cache_user.hpp"

#include <algorithm>
#include <utility>

#include "core/rendezvous.hpp"
#include "unit/simulation/model.hpp"

namespace shoal::test {

using namespace protocol;

namespace {

buffer bytes_of(std::uint64_t seed) {
  constexpr std::size_t size = 1000;
  return buffer::make(size, [&](std::byte* to) {
    for (std::size_t i = 0; i < size; ++i) {
      mix(seed, i);
      to[i] = static_cast<std::byte>(seed >> 24);
    }
  });
}

}  // namespace

/// A weight that all versions share, one of this version's own, and one that is packed of that.
std::vector<cache_user::object> cache_user::objects_of(const std::string& model, std::uint64_t version) {
  std::uint64_t seed = 1;
  for (const char c : model) mix(seed, static_cast<unsigned char>(c));
  const auto shared = bytes_of(seed), own = bytes_of(seed + version), packed = bytes_of(seed ^ version << 32);
  const auto source = key_of(own.bytes());
  return {{key_of(shared.bytes()), shared, {}, {}},
          {source, own, {}, {}},
          {derived_key(source, "packed"), packed, source, "packed"}};
}

peer_id cache_user::owner_of(const object_key& key) const {
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

void cache_user::load(const std::string& model, std::uint64_t version, std::function<void()> then) {
  const auto id = next_++;
  auto& begun = loads_[id];
  begun.then = std::move(then);
  std::map<peer_id, acquire> asks;
  for (auto& each : objects_of(model, version)) {
    if (const auto owner = owner_of(each.key); owner != 0) asks[owner].keys.push_back(each.key);
    begun.objects.emplace(each.key, std::move(each));
  }
  for (auto& [cache, body] : asks) {
    body.id = next_++;
    question asked{cache, id, {}};
    for (const auto& key : body.keys)
      if (disk_of(cache).acknowledged.contains(key)) asked.kept.insert(key);
    const auto question_id = body.id;
    if (!way_.send(cache, std::move(body))) continue;
    questions_[question_id] = std::move(asked);
    ++begun.asked;
    wait_(milliseconds(2000), [this, question_id] { answered(question_id); });
  }
  if (begun.asked == 0) std::exchange(loads_.extract(id).mapped().then, nullptr)();
}

void cache_user::unload(const std::string& model, std::uint64_t version) {
  for (const auto& each : objects_of(model, version))
    if (const auto owner = owner_of(each.key); owner != 0) static_cast<void>(way_.send(owner, release{{each.key}}));
}

/// There is an answer, or there will be none.
void cache_user::answered(std::uint64_t id) {
  const auto question = questions_.extract(id);
  if (question.empty()) return;
  const auto found = loads_.find(question.mapped().loading);
  if (--found->second.asked > 0) return;
  const auto then = std::move(found->second.then);
  loads_.erase(found);
  then();
}

bool cache_user::on(const link_event& event) {
  if (const auto* up = std::get_if<peer_up>(&event)) {
    if (up->service != service_kind::cache) return false;
    caches_[up->peer] = std::stoull(up->capabilities.at(0).substr(5), nullptr, 16);
    return true;
  }
  if (const auto* down = std::get_if<peer_down>(&event)) {
    if (!caches_.contains(down->peer)) return false;
    std::vector<std::uint64_t> lost;
    for (const auto& [id, each] : questions_)
      if (each.cache == down->peer) lost.push_back(id);
    for (const auto id : lost) answered(id);
    std::erase_if(stores_, [&](const auto& entry) { return entry.second.first == down->peer; });
    caches_.erase(down->peer);
    return true;
  }
  const auto& told = std::get<delivery>(event);
  if (!caches_.contains(told.from)) return false;
  if (const auto* answer = std::get_if<leased>(&told.body)) take(told.from, *answer);
  if (const auto* done = std::get_if<stored>(&told.body))
    if (const auto offer = stores_.extract(done->id); !offer.empty() && done->result)
      disk_of(told.from).acknowledged.insert(offer.mapped().second);
  return true;
}

void cache_user::take(peer_id from, const leased& told) {
  const auto asked = questions_.find(told.id);
  if (asked == questions_.end()) return;
  const auto& objects = loads_.at(asked->second.loading).objects;
  std::vector<object> missing;
  for (const auto& each : told.objects) {
    const auto known = objects.find(each.key);
    if (known == objects.end()) {
      checks_.fail("a cache answers of an object that it was not asked for");
      continue;
    }
    if (each.state == object_state::ready) look_at(each.key, known->second);
    if (each.state != object_state::absent) continue;
    if (asked->second.kept.contains(each.key))
      checks_.fail("a cache says that it has not what it had kept: " + to_hex(each.key));
    missing.push_back(known->second);
  }
  for (auto& each : missing) {
    const auto size = static_cast<std::int64_t>(each.bytes.size());
    store body{next_++, each.key, each.source, each.layout, {"object", dtype::uint8, {size}, each.bytes}};
    const auto id = body.id;
    if (way_.send(from, std::move(body))) stores_[id] = {from, each.key};
  }
  answered(told.id);
}

/// A file that is gone again costs time; one with other bytes, that verifies, would be wrong answers.
void cache_user::look_at(const object_key& key, const object& should_be) {
  const auto found = memory_.objects.find(key);
  if (found == memory_.objects.end() || !found->second.verifies(key)) return;
  if (!std::ranges::equal(found->second.bytes, should_be.bytes.bytes()))
    checks_.fail("wrong bytes of the object " + to_hex(key));
}

}  // namespace shoal::test
