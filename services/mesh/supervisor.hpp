// Keeps the processes of a mesh running: starts them, notices at once when one ends and after the watchdog's time when
// one is frozen, starts it again with its number and addresses, and ends all of them in the order of a request's way.
//
// One thread, which waits in poll for signals, ends and signs of life; nothing is asked again and again. A service that
// lived for two seconds is started again at once; one that did not waits 100 ms, doubling to 5 s. One that refuses its
// configuration (exit code 2), or five times does not come up at all, ends the mesh while that is starting.
#pragma once

#include <list>
#include <optional>

#include "services/mesh/child_process.hpp"
#include "services/mesh/process_plan.hpp"
#include "services/mesh/readiness.hpp"

namespace shoal::services {

class supervisor {
 public:
  explicit supervisor(process_plan plan);
  ~supervisor();
  supervisor(const supervisor&) = delete;
  supervisor& operator=(const supervisor&) = delete;

  /// Until SIGINT or SIGTERM, which must be blocked, and all have ended; a second signal kills what is left. Prints the
  /// line that begins with `ready`. Errors: why the mesh could not start; unavailable (killed by the second signal).
  expected<void> run();

 private:
  struct child {
    planned_service plan;
    child_process process;
    time_point started{};
    time_point heard{};        ///< its last sign of life, or its start
    time_point due{};          ///< while it does not run: when it is started
    bool has_come_up = false;  ///< has given a sign since it was started
    unsigned failures = 0;     ///< in a row
    int restarts = 0;
  };

  void wait();
  void start_due(time_point now);
  void look_for_frozen(time_point now);
  void on_signal();
  void on_ready();
  void on_end(child& one);
  void give_up(std::string why);
  void begin_to_stop();
  void go_on_stopping(time_point now);
  void write_status() const;
  void remove_files() const;
  [[nodiscard]] milliseconds silence_allowed(const child& one) const;
  [[nodiscard]] std::optional<time_point> next_due() const;

  process_plan plan_;
  std::list<child> children_;
  int signals_ = -1;
  std::optional<readiness> readiness_;
  bool ready_found_ = false;  ///< by a client
  bool ready_printed_ = false;
  bool stopping_ = false;
  std::size_t phase_ = 0;  ///< while stopping: of stop_order
  bool phase_begun_ = false;
  time_point phase_ends_{};
  std::optional<error> problem_;
};

}  // namespace shoal::services
