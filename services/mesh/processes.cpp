#include "services/mesh/processes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "executor/model_directory.hpp"
#include "services/mesh/door.hpp"
#include "services/mesh/run_directory.hpp"

namespace shoal::services {

namespace fs = std::filesystem;

namespace {

constexpr milliseconds grace{5000};  ///< for closing doors and files, after the time to drain

std::string joined(const std::vector<std::string>& all) {
  std::string text;
  for (const auto& one : all) text += (text.empty() ? "" : ",") + one;
  return text;
}

/// Where weights outlive a run, unless it is said.
std::string default_ssd() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/shoal";
  const char* home = std::getenv("HOME");
  return (home != nullptr && *home == '/' ? std::string(home) : "/var/tmp") + "/.cache/shoal";
}

class planner {
 public:
  planner(process_settings settings, run_directory run) : given_(std::move(settings)), run_(std::move(run)) {
    const auto self = fs::read_symlink("/proc/self/exe");
    folder_ = self.parent_path();
    plan_.run = run_.path();
    plan_.held.push_back(run_.lock());
    plan_.log_level = given_.mesh.log_level;
    plan_.watchdog = given_.mesh.watchdog;
  }

  /// Ports before models: what is taken is said before anything is measured.
  expected<process_plan> make() {
    if (auto done = add_gateways(); !done) return tl::unexpected(done.error());
    if (auto done = add_schedulers(); !done) return tl::unexpected(done.error());
    if (auto done = add_caches(); !done) return tl::unexpected(done.error());
    if (auto done = add_precision(); !done) return tl::unexpected(done.error());
    if (auto done = add_workers(); !done) return tl::unexpected(done.error());
    return std::move(plan_);
  }

  [[nodiscard]] std::string supervisor() const { return (folder_ / "shoal-supervisor").string(); }

 private:
  [[nodiscard]] int count(const std::string& service) const {
    const auto found = given_.counts.find(service);
    return found == given_.counts.end() ? 1 : found->second;
  }

  planned_service& add(const std::string& service, int number, milliseconds stop_time) {
    auto& one = plan_.services.emplace_back();
    one.service = service;
    one.number = number;
    one.stop_time = stop_time + grace;
    one.command.push_back((folder_ / ("shoal-" + service)).string());
    if (!given_.config_file.empty()) one.command.insert(one.command.end(), {"--config", given_.config_file});
    for (const auto& each : given_.overrides)
      if (each.starts_with(service + ".") || each.starts_with("access."))
        one.command.insert(one.command.end(), {"--set", each});
    one.command.insert(one.command.end(), {"--set", "log.level=" + given_.mesh.log_level});
    if (service != "worker") one.endpoint = run_.endpoint(one.name());
    return one;
  }

  static void set(planned_service& one, const std::string& key, const std::string& value) {
    one.command.insert(one.command.end(), {"--set", one.service + "." + key + "=" + value});
  }

  /// The run directory's and, beside them, those of other machines.
  [[nodiscard]] std::string peers(const std::vector<std::string>& configured, const std::string& service) const {
    auto all = std::vector{run_.endpoint(service + "-*")};
    std::copy_if(configured.begin(), configured.end(), std::back_inserter(all),
                 [](const std::string& each) { return !each.starts_with("inproc:"); });
    return joined(all);
  }

  static std::string metrics_of(const std::string& configured, int number) {
    return number == 1 || configured.empty() ? configured : "127.0.0.1:0";
  }

  /// The addresses of instance `number` besides its socket in the run directory: ports count on, paths get its number.
  expected<std::vector<std::string>> doors(const std::vector<std::string>& configured, int number) {
    std::vector<std::string> all;
    for (const auto& each : configured) {
      if (each.starts_with("ipc://")) all.push_back(number == 1 ? each : each + "-" + std::to_string(number));
      if (!each.starts_with("tcp://")) continue;
      auto wanted = door_after(each.substr(6), number - 1);
      if (!wanted) return tl::unexpected(wanted.error());
      auto reserved = reserve_door(*wanted, false);
      if (!reserved) return tl::unexpected(reserved.error());
      plan_.held.push_back(reserved->descriptor);
      all.push_back("tcp://" + reserved->address);
    }
    return all;
  }

  /// A door that all gateways share.
  expected<std::string> shared_door(const std::string& configured) {
    if (configured.empty()) return configured;
    auto reserved = reserve_door(configured, true);
    if (!reserved) return tl::unexpected(reserved.error());
    plan_.held.push_back(reserved->descriptor);
    return reserved->address;
  }

  expected<void> add_gateways() {
    const auto& settings = given_.mesh.gateway;
    // Doors that gateways share: their key, and the address that was configured. A further one is a further pair.
    std::vector<std::pair<std::string, std::string>> shared{{"http", settings.http}, {"grpc", settings.grpc}};
    for (auto& [key, address] : shared) {
      auto found = shared_door(address);
      if (!found) return tl::unexpected(found.error());
      address = *found;
      if (key == "http") plan_.http = address;
      if (key == "grpc") plan_.grpc = address;
    }
    for (int n = 1; n <= count("gateway"); ++n) {
      auto native = doors(settings.listen, n);
      if (!native) return tl::unexpected(native.error());
      auto& one = add("gateway", n, settings.drain + door_grace);
      one.doors = *native;
      native->push_back(one.endpoint);
      set(one, "listen", joined(*native));
      for (const auto& [key, address] : shared) set(one, key, address);
      set(one, "reuse_port", "true");
      set(one, "models", given_.mesh.worker.models);
      set(one, "schedulers", peers(settings.schedulers, "scheduler"));
      set(one, "metrics", metrics_of(settings.metrics, n));
    }
    return {};
  }

  expected<void> add_schedulers() {
    const auto& settings = given_.mesh.scheduler;
    for (int n = 1; n <= count("scheduler"); ++n) {
      auto listen = doors(settings.listen, n);
      if (!listen) return tl::unexpected(listen.error());
      auto& one = add("scheduler", n, milliseconds(0));
      one.doors = *listen;
      listen->push_back(one.endpoint);
      set(one, "listen", joined(*listen));
      set(one, "metrics", metrics_of(settings.metrics, n));
      // They share it: what one has measured serves the others when they start.
      set(one, "profiles", settings.profiles.empty() ? run_.path() + "/profiles.json" : settings.profiles);
    }
    return {};
  }

  expected<void> add_caches() {
    auto& settings = given_.mesh.cache;
    const bool is_asked_for = given_.counts.contains("cache");
    caches_ = is_asked_for ? count("cache") : (settings.dram.empty() && settings.ssd.empty() ? 0 : 1);
    if (caches_ == 0) return {};
    if (settings.dram.empty()) settings.dram = cache_settings{}.dram;
    if (settings.ssd.empty() && is_asked_for) settings.ssd = default_ssd();
    for (int n = 1; n <= caches_; ++n) {
      auto listen = doors(settings.listen, n);
      if (!listen) return tl::unexpected(listen.error());
      auto& one = add("cache", n, milliseconds(0));
      one.doors = *listen;
      listen->push_back(one.endpoint);
      set(one, "listen", joined(*listen));
      set(one, "schedulers", peers(settings.schedulers, "scheduler"));
      set(one, "dram", settings.dram);
      // The first has the folder of a single cache, so that a mesh which grows keeps what it has.
      set(one, "ssd", settings.ssd.empty() || n == 1 ? settings.ssd : settings.ssd + "-" + std::to_string(n));
      set(one, "metrics", metrics_of(settings.metrics, n));
      if (std::error_code problem; !settings.ssd.empty() && n == 1)
        fs::create_directories(fs::path(settings.ssd).parent_path(), problem);  // the cache says what is wrong
    }
    return {};
  }

  expected<void> add_precision() {
    const auto& settings = given_.mesh.precision;
    for (int n = 1; n <= count("precision"); ++n) {
      auto listen = doors(settings.listen, n);
      if (!listen) return tl::unexpected(listen.error());
      auto& one = add("precision", n, milliseconds(0));
      one.doors = *listen;
      listen->push_back(one.endpoint);
      set(one, "listen", joined(*listen));
      set(one, "schedulers", peers(settings.schedulers, "scheduler"));
      set(one, "models", given_.mesh.worker.models);
      set(one, "metrics", metrics_of(settings.metrics, n));
    }
    return {};
  }

  expected<void> add_workers() {
    auto settings = given_.mesh;
    if (given_.counts.contains("worker")) settings.workers = count("worker");
    const auto models = executor::scan_models(settings.worker.models);
    if (!models) return tl::unexpected(models.error());
    plan_.models = models->size();
    if (models->empty()) return fail(errc::not_found, "there is nothing to serve: add a model with `shoal import`");
    auto split = plan_workers(settings);
    if (!split) return tl::unexpected(split.error());
    for (auto& one : plan_.services)
      if (one.service == "precision") {
        set(one, "threads", std::to_string(split->front().threads));
        set(one, "device", split->front().device);
      }
    int n = 0;
    for (const auto& each : *split) {
      auto& one = add("worker", ++n, each.drain);
      set(one, "models", each.models);
      set(one, "device", each.device);
      set(one, "threads", std::to_string(each.threads));
      set(one, "cores", each.cores);
      set(one, "metrics", each.metrics);
      set(one, "schedulers", peers(each.schedulers, "scheduler"));
      set(one, "gateways", peers(each.gateways, "gateway"));
      set(one, "planners", peers(each.planners, "precision"));
      if (caches_ == 0) continue;
      // By name, so that the first load waits for all of them; as a pattern, for one that is added.
      std::vector<std::string> caches;
      for (int c = 1; c <= caches_; ++c) caches.push_back(run_.endpoint("cache-" + std::to_string(c)));
      caches.push_back(run_.endpoint("cache-*"));
      set(one, "caches", joined(caches));
      set(one, "dram", settings.cache.dram);
    }
    return {};
  }

  process_settings given_;
  run_directory run_;
  fs::path folder_;
  process_plan plan_;
  int caches_ = 0;
};

/// Only of an error; otherwise this process is the supervisor from now on.
error become(const std::string& supervisor, const process_plan& plan) {
  const auto wrong = [&](const char* what) {
    return error{errc::unavailable, std::string(what) + " " + supervisor + ": " + std::strerror(errno)};
  };
  const auto text = plan.to_json();
  const int file = ::memfd_create("shoal-plan", 0);  // inherited
  if (file < 0 || ::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::lseek(file, 0, SEEK_SET) != 0)
    return wrong("cannot hand the plan to");
  for (const int descriptor : plan.held) ::fcntl(descriptor, F_SETFD, 0);
  const auto number = std::to_string(file);
  ::execl(supervisor.c_str(), supervisor.c_str(), number.c_str(), nullptr);
  return wrong("cannot run");
}

}  // namespace

error run_processes(process_settings settings) {
  auto run = run_directory::take(settings.mesh.run_directory);
  if (!run) return run.error();
  planner plans(std::move(settings), std::move(*run));
  auto plan = plans.make();
  if (!plan) return plan.error();
  return become(plans.supervisor(), *plan);
}

}  // namespace shoal::services
