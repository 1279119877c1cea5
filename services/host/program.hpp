// What every executable does the same way: arguments, configuration, logging, signals, CAF.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <caf/actor_system_config.hpp>

#include "core/config.hpp"

namespace shoal::services {

/// Exit codes of all executables.
enum exit_code : int { success = 0, failed = 1, usage = 2 };

/// CAF as Shoal runs it: the `sharing` policy (wakes in 17-37 us, idles at nothing; the default costs 85 us and 0.8% of
/// a core), few threads, since actors run on the link's.
struct actor_config : caf::actor_system_config {
  actor_config();
};

/// SIGINT and SIGTERM are blocked in this thread and all that it starts from now on; `wait` returns when one comes.
class signals {
 public:
  signals();
  /// The signal, or 0 after `timeout`.
  int wait(std::chrono::milliseconds timeout);
};

/// The environment variable with the name that log lines of this process begin with.
inline constexpr const char* instance_variable = "SHOAL_INSTANCE";

/// `level` is one of trace, debug, info, warning, error. Lines go to standard error.
expected<void> start_logging(const std::string& level);

/// main() of a service: reads `--config FILE`, `--set section.key=value`, `--print-config` and `--is-ready HOST:PORT`
/// (health.hpp), then calls `run`. `declare` binds the keys of `section`; the sections of other services in the same
/// file are left alone.
int service_main(int argc, char** argv, const std::string& section, const std::string& purpose,
                 const std::function<void(config&)>& declare, const std::function<expected<void>(signals&)>& run);

}  // namespace shoal::services
