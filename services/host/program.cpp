#include "services/host/program.hpp"

#include <cctype>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "services/host/health.hpp"

namespace shoal::services {

actor_config::actor_config() {
  set("scheduler.policy", caf::atom("sharing"));
  set("scheduler.max-threads", std::size_t{1});
}

namespace {
sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}
}  // namespace

signals::signals() {
  const auto set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int signals::wait(std::chrono::milliseconds timeout) {
  const auto set = ending_signals();
  const timespec time{static_cast<time_t>(timeout.count() / 1000), static_cast<long>(timeout.count() % 1000) * 1000000};
  return std::max(0, sigtimedwait(&set, nullptr, &time));
}

namespace {
/// "worker-1: " where a supervisor has given this process a name: several write to one standard error.
std::string name_of_instance() {
  const char* name = std::getenv(instance_variable);
  if (name == nullptr || *name == '\0') return {};
  std::string safe;
  for (const char* c = name; *c != '\0' && safe.size() < 32; ++c)
    if (std::isalnum(static_cast<unsigned char>(*c)) != 0 || *c == '-') safe += *c;  // '%' would be a pattern's
  return safe + ": ";
}
}  // namespace

expected<void> start_logging(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off")
    return fail(errc::invalid_argument,
                "log level '" + level + "' is not one of trace, debug, info, warning, error, off");
  auto logger = spdlog::stderr_logger_mt("shoal");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ " + name_of_instance() + "%v");
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

int service_main(int argc, char** argv, const std::string& section, const std::string& purpose,
                 const std::function<void(config&)>& declare, const std::function<expected<void>(signals&)>& run) {
  CLI::App app{purpose};
  std::string file;
  std::vector<std::string> overrides;
  bool print = false;
  app.set_version_flag("--version", "shoal-" + section + " " SHOAL_VERSION);
  app.add_option("--config", file, "TOML file; every key has a default");
  app.add_option("--set", overrides, "section.key=value, over the file and the environment");
  app.add_flag("--print-config", print, "print every key with its value and meaning, and exit");
  std::string is_ready;
  app.add_option("--is-ready", is_ready, "HOST:PORT of a running service's metrics: ends with 0 if it is ready");
  CLI11_PARSE(app, argc, argv);
  if (!is_ready.empty()) {
    const auto ready = ask_readiness(is_ready, milliseconds(1500));
    if (!ready) std::cerr << ready.error().message << "\n";
    return ready ? success : failed;
  }

  signals ending;
  config keys;
  std::string level = "info";
  keys.key("log", "level", &level, "trace, debug, info, warning or error");
  declare(keys);
  for (const char* other : {"cache", "gateway", "mesh", "precision", "scheduler", "worker"})
    if (section != other) keys.leave(other);
  auto loaded = keys.load(file, overrides);
  if (loaded && print) {
    std::cout << keys.to_toml();
    return success;
  }
  if (loaded) loaded = start_logging(level);
  if (!loaded) {
    std::cerr << loaded.error().message << "\n";
    return usage;
  }
  if (auto ran = run(ending); !ran) {
    std::cerr << ran.error().message << "\n";
    return failed;
  }
  return success;
}

}  // namespace shoal::services
