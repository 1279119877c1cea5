// What a worker's loader does with caches, in a simulated world: asks the cache that owns each object of a model for
// it, looks at what lies in the host's memory under its name, gives what no cache had, and gives leases back. In place
// of worker/cache_client.hpp, which waits on the loader's thread; the messages are the same.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "unit/simulation/process.hpp"
#include "unit/simulation/stores.hpp"

namespace shoal::test {

class cache_user {
 public:
  using later = std::function<void(steady::duration, std::function<void()>)>;

  cache_user(checker& checks, protocol::link& way, later wait, const host_memory& memory,
             const std::map<std::uint64_t, cache_disk*>& disks)
      : checks_(checks), way_(way), wait_(std::move(wait)), memory_(memory), disks_(disks) {}

  /// True: the event was about a cache and is done with.
  bool on(const protocol::link_event& event);
  /// `then`, once all answers are there, or none will come.
  void load(const std::string& model, std::uint64_t version, std::function<void()> then);
  void unload(const std::string& model, std::uint64_t version);

 private:
  using object_key = protocol::object_key;
  struct object {
    object_key key;
    buffer bytes;
    object_key source;
    std::string layout;
  };
  struct loading {
    std::map<object_key, object> objects;
    std::size_t asked = 0;  ///< caches that have not answered
    std::function<void()> then;
  };
  struct question {
    protocol::peer_id cache = 0;
    std::uint64_t loading = 0;
    std::set<object_key> kept;  ///< of those asked for: the cache had acknowledged them before
  };

  static std::vector<object> objects_of(const std::string& model, std::uint64_t version);
  [[nodiscard]] protocol::peer_id owner_of(const object_key& key) const;
  void take(protocol::peer_id from, const protocol::leased& told);
  void answered(std::uint64_t id);
  void look_at(const object_key& key, const object& should_be);
  [[nodiscard]] cache_disk& disk_of(protocol::peer_id cache) const { return *disks_.at(caches_.at(cache)); }

  checker& checks_;
  protocol::link& way_;
  later wait_;
  const host_memory& memory_;
  const std::map<std::uint64_t, cache_disk*>& disks_;  ///< of caches by their names
  std::map<protocol::peer_id, std::uint64_t> caches_;  ///< their names
  std::map<std::uint64_t, loading> loads_;
  std::map<std::uint64_t, question> questions_;
  std::map<std::uint64_t, std::pair<protocol::peer_id, object_key>> stores_;
  std::uint64_t next_ = 1;
};

}  // namespace shoal::test
