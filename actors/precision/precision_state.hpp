// The mind of the precision service: which plans there are, who computes by them, and what is to be planned next.
//
// A plan is known by its target (one archive on one kind of device). The newest that anybody has counts
// (executor/precision_plan.hpp, `supersedes`): this service learns of it from the file beside the archive, from its own
// planner, or from workers, which tell every precision service by what they compute; and it tells the workers that
// compute by an older one. So all services and workers come to the same plan without talking of it.
//
// What this service plans is what workers ask it to (each asks one: worker/plan_follower.hpp). First at load, with
// seeded inputs; again, once, on inputs of real executions; and after a breach: the plan is given up at once for fp32
// everywhere, then mended (the nodes that erred on those inputs go back to fp32), then made anew on fresh inputs.
//
// Owned by the service's actor; plans nothing itself and touches no file: the port's two threads do.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "executor/precision_plan.hpp"
#include "protocol/actors.hpp"
#include "protocol/link.hpp"

namespace shoal::precision {

/// Where plans come from.
enum class plan_source : std::uint8_t {
  measured,  ///< the planner's (planner.hpp)
  bf16,      ///< every node that can in bf16, measured
  rule,      ///< the published table, measured
  fp32,      ///< none: workers are told to compute in fp32; files stay as they are
  file,      ///< only the file beside the archive
};

/// Errors: invalid_argument, naming what there is.
expected<plan_source> parse_plan_source(std::string_view name);
std::string_view name_of(plan_source source) noexcept;

struct precision_options {
  protocol::instance_id instance = 0;
  std::string device;  ///< this machine's signature: it plans for no other
  plan_source source = plan_source::measured;
  double budget = 0.03;
  double seconds = 60;                               ///< of the planner's processor time, about, for one plan
  std::size_t samples = 32;                          ///< executions that a plan is made of, of real traffic
  std::size_t sample_bytes = std::size_t{64} << 20;  ///< of all kept samples together
  milliseconds report_interval{1000};
  milliseconds look_interval{5000};  ///< at the files beside the archives, which people change
  milliseconds ask_again{15000};     ///< for samples that did not come
  milliseconds first_wait{60000};    ///< after planning failed; doubles up to an hour
};

class precision_state {
 public:
  /// The planner's thread and the one that reads and writes plans' files.
  struct port {
    std::function<void(protocol::planning_order)> plan;  ///< answered with `on(planning_step)`s and `on(planning_done)`
    std::function<void(protocol::shelf_order)> shelf;    ///< answered with `on(shelf_found)`
  };

  precision_state(precision_options options, protocol::link& link, port threads, metrics& figures);
  ~precision_state();
  precision_state(const precision_state&) = delete;
  precision_state& operator=(const precision_state&) = delete;

  void on(protocol::link_event& event, time_point now);
  void on(protocol::planning_step& step, time_point now);
  void on(protocol::planning_done& done, time_point now);
  void on(protocol::shelf_found& found, time_point now);
  void on_wake(time_point now);
  [[nodiscard]] std::optional<time_point> next_wake() const;

 private:
  using peer_id = protocol::peer_id;
  using shared_plan = std::shared_ptr<const executor::precision_plan>;
  using sample_inputs = std::vector<tensor>;

  struct follower {
    bool asks_us = false;  ///< to plan
    shared_plan follows;   ///< what it computes by; null: by none
    shared_plan told;      ///< what was sent to it last
    std::string refused;
    time_point tell_again;  ///< it refused, perhaps for want of memory
    time_point ask_after;   ///< for samples
  };
  struct entry {
    bool is_looked_up = false;  ///< what lies beside the archive is known
    shared_plan plan;           ///< the newest; null: none
    tensor text;                ///< of it
    std::map<peer_id, follower> followers;
    std::vector<sample_inputs> samples;
    std::size_t sample_bytes = 0;
    bool has_no_room = false;              ///< for more samples: what there is has to do
    std::vector<sample_inputs> breaching;  ///< inputs by which the plan was breached
    shared_plan breached;                  ///< that plan
    bool wants_mending = false;
    std::deque<std::pair<std::uint64_t, std::string>> known;  ///< generations and epochs that counted, the last ones
    shared_plan planned_from;                                 ///< what counted when planning began
    std::uint32_t breaches = 0;
    std::string said;  ///< the last that happened to it, a sentence
    std::string phase;
    double share = 0;
    time_point not_before;
    milliseconds wait{0};
    prometheus::Gauge* speedup = nullptr;
    prometheus::Gauge* error = nullptr;
  };
  using entries = std::map<protocol::plan_target, entry>;

  enum class need : std::uint8_t { none, mend, first, renew };

  void on_message(peer_id from, protocol::follows& told, time_point now);
  void on_message(peer_id from, protocol::sample& given, time_point now);
  void on_message(peer_id from, protocol::breach& told, time_point now);
  /// Messages that no peer has a reason to send to a precision service.
  template <class Other>
  void on_message(peer_id, const Other&, time_point) {
    unexpected_.Increment();
  }

  void take(const protocol::plan_target& target, entry& of, shared_plan plan, bool keeps);
  void take_from_outside(const protocol::plan_target& target, entry& of, shared_plan plan, bool keeps);
  void publish(const protocol::plan_target& target, entry& of);
  void take_planned(const protocol::planning_done& done, entry& of);
  void forget_samples(entry& of);
  void ask_for_samples(time_point now);
  void start_next(time_point now);
  void go_on(time_point now, milliseconds until_report);
  [[nodiscard]] bool makes_plans() const {
    return options_.source != plan_source::fp32 && options_.source != plan_source::file;
  }
  [[nodiscard]] bool is_ours(const entry& of) const;
  [[nodiscard]] bool has_samples(const entry& of) const;
  [[nodiscard]] bool wants_samples(const entry& of) const;
  [[nodiscard]] need need_of(const protocol::plan_target& target, const entry& of) const;
  [[nodiscard]] shared_plan in_fp32(const protocol::plan_target& target, const entry& of, std::string policy) const;
  [[nodiscard]] protocol::plan_report report_on(const protocol::plan_target& target, const entry& of) const;
  void send_report();
  void show(const protocol::plan_target& target, entry& of);

  precision_options options_;
  protocol::link& link_;
  port threads_;
  metrics& figures_;
  entries entries_;
  std::set<peer_id> workers_;
  std::set<peer_id> schedulers_;
  std::optional<protocol::plan_target> planning_;
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::size_t sample_bytes_ = 0;
  std::optional<time_point> report_at_;
  time_point look_at_;

  prometheus::Counter& plannings_;
  prometheus::Counter& failures_;
  prometheus::Counter& breaches_;
  prometheus::Counter& samples_;
  prometheus::Counter& samples_dropped_;
  prometheus::Counter& unexpected_;
  prometheus::Gauge& plans_;
  prometheus::Gauge& under_way_;
  prometheus::Gauge& kept_bytes_;
};

}  // namespace shoal::precision
