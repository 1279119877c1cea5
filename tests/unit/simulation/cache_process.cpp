#include "unit/simulation/cache_process.hpp"

#include "protocol/object_file.hpp"

namespace shoal::test {

using namespace protocol;

namespace {

constexpr std::uint64_t page = 4096;

cache::cache_options options_of(const surroundings& with, std::uint64_t name) {
  cache::cache_options options;
  options.instance = with.instance;
  options.name = name;
  options.memory_budget = with.of.cache_pages * page;
  options.waiting_budget = 4 * page;
  return options;
}

}  // namespace

cache_process::cache_process(surroundings with, cache_disk& disk, host_memory& memory)
    : process(std::move(with)),
      disk_(disk),
      memory_(memory),
      tiers_(std::make_unique<remembered_objects>(disk, with_.time, with_.of.disk_errors),
             std::make_unique<remembered_tier>(memory, disk.identity), disk.identity),
      mind_(options_of(with_, disk.identity), way(),
            {[this](object_job job) {
               jobs_.push_back(std::move(job));
               begin_next();
             },
             [this] { return tiers_.memory().members(); }},
            figures_, tiers_.on_disk(), tiers_.adopt()) {}

void cache_process::begin_next() {
  if (working_ || jobs_.empty()) return;
  working_ = true;
  later(with_.time.between(microseconds(50), milliseconds(20)), [this] {
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    working_ = false;
    auto done = tiers_.run(job);
    if (with_.of.harm == sabotage::swapped_bytes && memory_.objects.size() > 1)
      memory_.objects.begin()->second = {std::vector<std::byte>(100),
                                         checksum_of(memory_.objects.begin()->first, std::vector<std::byte>(100))};
    begin_next();
    mind_.on(done, now());
  });
}

/// What was under way has come to nothing, to memory alone, or to all that it was to do but the answer.
void cache_process::crash() {
  if (with_.of.harm == sabotage::forgetful_cache) disk_.objects.clear();
  if (!working_ || with_.time.chance(0.3)) return;
  disk_.is_cut_off = with_.time.chance(0.5);
  tiers_.run(jobs_.front());
  disk_.is_cut_off = false;
}

/// What was acknowledged lies on the disk as it was given, at all times.
void cache_process::examine() {
  for (const auto& key : disk_.acknowledged) {
    const auto found = disk_.objects.find(key);
    if (found == disk_.objects.end())
      with_.checks.fail("a cache lost the object " + to_hex(key));
    else if (!found->second.verifies(key))
      with_.checks.fail("a cache holds wrong bytes of the object " + to_hex(key));
  }
}

}  // namespace shoal::test
