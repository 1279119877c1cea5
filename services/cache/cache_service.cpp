#include "services/cache/cache_service.hpp"

#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include <spdlog/spdlog.h>

namespace shoal::services {

namespace {

constexpr std::uint64_t mebibyte = 1ull << 20;
/// What a worker may give; a larger tensor stays in its archive.
constexpr std::uint64_t largest_object = 2048 * mebibyte;

/// A quarter of what the memory tier's file system holds, unless it is said.
std::uint64_t budget_of(const cache_settings& settings) {
  if (settings.dram_mib != 0) return settings.dram_mib * mebibyte;
  std::error_code problem;
  const auto space = std::filesystem::space(settings.dram, problem);
  return problem ? 1024 * mebibyte : space.capacity / 4;
}

}  // namespace

void cache_settings::declare(config& keys) {
  keys.key("cache", "listen", &listen, "addresses where workers reach this cache")
      .key("cache", "schedulers", &schedulers, "addresses of schedulers, which pass its figures on; empty: none")
      .key("cache", "metrics", &metrics, "HOST:PORT for metrics and health; empty: none")
      .key("cache", "ssd", &ssd,
           "folder of this instance's own on a disk; FOLDER/*: the first of FOLDER/1, FOLDER/2, ... that no other has; "
           "empty: objects are kept in memory only")
      .key("cache", "dram", &dram, "folder on tmpfs that all caches and workers of this host share")
      .key("cache", "dram_mib", &dram_mib, "MiB its objects may take there; 0: a quarter of that file system");
}

expected<std::unique_ptr<cache_service>> cache_service::start(caf::actor_system& system,
                                                              const cache_settings& settings) {
  if (settings.dram.empty())
    return fail(errc::invalid_argument, "cache.dram must name a folder on tmpfs, such as /dev/shm/shoal");
  if (settings.dram_mib > (std::uint64_t{1} << 40))
    return fail(errc::invalid_argument, "cache.dram_mib is larger than any memory");
  auto identity = settings.access.enter(access::role::cache,
                                        {{"cache.listen", settings.listen}, {"cache.metrics", {settings.metrics}}});
  if (!identity) return tl::unexpected(identity.error());
  auto folder = claim_folder(settings.ssd);
  if (!folder) return tl::unexpected(folder.error());
  auto opened = cache::storage::open({folder->path, settings.dram});
  if (!opened) return tl::unexpected(opened.error());
  const std::shared_ptr<cache::storage> tiers = std::move(*opened);
  auto service = std::unique_ptr<cache_service>(new cache_service);
  service->system_ = &system;
  service->folder_ = std::move(*folder);
  auto options = settings.cache;
  options.instance = new_instance();
  options.memory_budget = budget_of(settings);
  link::options link;
  link.service = protocol::service_kind::cache;
  link.identity = std::move(*identity);
  link.instance = options.instance;
  link.bind = settings.listen;
  link.max_message_bytes = largest_object;
  char name[24];
  std::snprintf(name, sizeof name, "name=%016" PRIx64, tiers->name());
  link.capabilities.emplace_back(name);
  auto made = node::create(system, link);
  if (!made) return tl::unexpected(made.error());
  service->node_ = std::move(*made);
  auto& node = *service->node_;
  service->storage_ = cache::spawn_storage(system, tiers, node.loop());
  service->actor_ = cache::spawn_cache(system, service->storage_, tiers, options, node.link(), node.figures());
  require(service->storage_, "storage");
  require(service->actor_, "cache");
  std::vector<std::pair<protocol::service_kind, std::string>> peers;
  for (const auto& address : settings.schedulers) peers.emplace_back(protocol::service_kind::scheduler, address);
  auto started = node.start(service->actor_, peers, settings.metrics, [] { return true; });
  if (!started) return tl::unexpected(started.error());
  return service;
}

cache_service::~cache_service() {
  if (node_) stop();
}

void cache_service::stop() {
  node_->stop();
  end(*system_, actor_);
  end(*system_, storage_);
}

}  // namespace shoal::services
