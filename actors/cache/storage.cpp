#include "cache/storage.hpp"

#include <future>
#include <random>

#include <spdlog/spdlog.h>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/object_file.hpp"

namespace shoal::cache {

using protocol::object_done;
using protocol::object_job;
using protocol::object_key;

namespace {

constexpr std::size_t worth_a_thread = 1 << 20;  ///< bytes: half a millisecond of SHA-256

struct looked_at {
  object_key name;  ///< what it must be called
  std::uint64_t checksum = 0;
};

looked_at look_at(const object_job::object& given) {
  return {
      given.layout.empty() ? protocol::key_of(given.bytes.bytes()) : protocol::derived_key(given.source, given.layout),
      protocol::checksum_of(given.key, given.bytes.bytes())};
}

}  // namespace

expected<std::unique_ptr<storage>> storage::open(const options& where) {
  std::unique_ptr<object_store> disk;
  std::uint64_t name = 0;
  if (!where.disk.empty()) {
    auto opened = object_store::open(where.disk);
    if (!opened) return tl::unexpected(opened.error());
    disk = std::move(*opened);
    name = disk->identity();
  }
  std::random_device device;
  while (name == 0) name = (std::uint64_t{device()} << 32) | device();
  auto memory = dram_tier::open(where.memory, name);
  if (!memory) return tl::unexpected(memory.error());
  return std::make_unique<storage>(std::move(disk), std::move(*memory), name);
}

storage::storage(std::unique_ptr<object_store> disk, std::unique_ptr<dram_tier> memory, std::uint64_t name)
    : disk_(std::move(disk)), memory_(std::move(memory)), name_(name) {}

std::vector<std::pair<object_key, std::uint64_t>> storage::on_disk() {
  if (!disk_) return {};
  return disk_->index();
}

object_done storage::adopt() {
  object_done done{object_job::kind::scan, {}};
  for (const auto& [key, size] : memory_->scan()) done.objects.push_back(check(key));
  return done;
}

object_done storage::run(const object_job& job) {
  object_done done{job.what, {}};
  switch (job.what) {
    case object_job::kind::fill:
      for (const auto& each : job.objects) done.objects.push_back(fill(each));
      break;
    case object_job::kind::keep: keep(job, done); break;
    case object_job::kind::check:
      for (const auto& each : job.objects) done.objects.push_back(check(each.key));
      break;
    case object_job::kind::drop:
      for (const auto& each : job.objects) {
        object dropped{each.key, each.size, false, false, false, {}};
        if (auto removed = memory_->remove(each.key); !removed) dropped.problem = removed.error();
        done.objects.push_back(std::move(dropped));
      }
      break;
    case object_job::kind::scan:
      for (const auto& [key, size] : memory_->scan()) done.objects.push_back({key, size, true, false, false, {}});
      break;
  }
  return done;
}

void storage::keep(const object_job& job, object_done& done) {
  // Object by object, so that the disk writes one while the next is copied; one sync at the end. SHA-256 is half of the
  // work: the next object's is computed beside the writing of this one.
  const auto batch = disk_ ? disk_->begin() : nullptr;
  std::vector<std::size_t> added;
  std::future<looked_at> next_look;
  for (std::size_t i = 0; i < job.objects.size(); ++i) {
    const auto& each = job.objects[i];
    object result{each.key, each.bytes.size(), false, false, false, {}};
    const auto [name, checksum] = next_look.valid() ? next_look.get() : look_at(each);
    if (i + 1 < job.objects.size() && job.objects[i + 1].bytes.size() >= worth_a_thread)
      next_look = std::async(std::launch::async, [&next = job.objects[i + 1]] { return look_at(next); });
    if (name != each.key) {
      result.problem = error{errc::corrupt, "the bytes are those of object " + to_hex(name) + ", not of " +
                                                to_hex(each.key) + " as it was offered"};
    } else {
      if (batch) {
        if (auto written = batch->add(each.key, each.bytes.bytes(), checksum); written)
          added.push_back(done.objects.size());
        else
          result.problem = written.error();
      }
      if (each.to_memory) {
        auto put = memory_->put(each.key, each.bytes.bytes(), checksum);
        result.in_memory = put.has_value();
        if (!put) spdlog::warn("cache: {}", put.error().message);
        if (!put && !batch) result.problem = put.error();
      }
    }
    done.objects.push_back(std::move(result));
  }
  if (added.empty()) return;
  const auto committed = batch->commit();
  for (const auto index : added) {
    done.objects[index].on_disk = committed.has_value();
    if (!committed) done.objects[index].problem = committed.error();
  }
}

storage::object storage::fill(const object_job::object& wanted) {
  object result{wanted.key, wanted.size, false, disk_ != nullptr, false, {}};
  if (!disk_) {
    result.problem = error{errc::not_found, "this cache has no disk to fill from"};
    return result;
  }
  const auto fill_from_disk = [&]() -> expected<void> {
    auto file = memory_->begin(wanted.key, wanted.size);
    if (!file) return tl::unexpected(file.error());
    auto read = disk_->read(wanted.key, [&](std::span<const std::byte> part) { return (*file)->write(part); });
    if (!read) return tl::unexpected(read.error());
    return (*file)->finish();
  };
  const auto filled = fill_from_disk();
  result.in_memory = filled.has_value();
  if (filled) return result;
  result.problem = filled.error();
  spdlog::warn("cache: {}", filled.error().message);
  if (filled.error().code == errc::corrupt) {
    result.quarantined = true;
    if (auto forgotten = disk_->forget(wanted.key); !forgotten) spdlog::error("cache: {}", forgotten.error().message);
  }
  if (filled.error().code == errc::corrupt || filled.error().code == errc::not_found) result.on_disk = false;
  return result;
}

storage::object storage::check(const object_key& key) {
  object result{key, 0, false, false, false, {}};
  const auto size = memory_->check(key);
  result.in_memory = size.has_value();
  if (size) {
    result.size = *size;
    return result;
  }
  result.problem = size.error();
  if (size.error().code != errc::corrupt) return result;
  spdlog::warn("cache: {}: removed, to be filled again", size.error().message);
  result.quarantined = true;
  if (auto removed = memory_->remove(key); !removed) spdlog::error("cache: {}", removed.error().message);
  return result;
}

namespace {

struct actor_state {
  static inline const char* name = "shoal.storage";
};

protocol::storage_actor::behavior_type storage_actor(protocol::storage_actor::stateful_pointer<actor_state> self,
                                                     std::shared_ptr<storage> tiers, run_loop* loop) {
  return {
      [self, tiers, loop](const object_job& job) {
        object_done done;
        try {
          done = tiers->run(job);
        } catch (const std::exception& problem) {  // memory that is not there: the job fails, not the thread
          done.what = job.what;
          done.objects.clear();
          for (const auto& each : job.objects)
            done.objects.push_back({each.key, each.size, false, false, false, error{errc::internal, problem.what()}});
        }
        if (const auto cache = caf::actor_cast<protocol::cache_actor>(self->current_sender()))
          loop->send(cache, std::move(done));
      },
  };
}

}  // namespace

protocol::storage_actor spawn_storage(caf::actor_system& system, std::shared_ptr<storage> tiers, run_loop& loop) {
  return system.spawn<caf::detached>(storage_actor, std::move(tiers), &loop);
}

}  // namespace shoal::cache
