// By which plans this worker's models compute: the worker's side of the precision services (actors/precision).
//
// Every precision service that is connected is told what each model computes by, and so carries it on to the others:
// plans are ordered (executor/precision_plan.hpp, `supersedes`), everybody keeps the newest it hears of, and so all
// come to the same one, whoever made it. One of the services, the same for all workers that see the same ones, is asked
// to plan; it gets inputs of executions when it asks for them, and hears of a plan that was given up.
//
// Owned by the worker's mind, on the worker's thread. No service connected: models go on by the plans they have.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "executor/precision_plan.hpp"
#include "protocol/actors.hpp"
#include "protocol/link.hpp"

namespace shoal::worker {

class plan_follower {
 public:
  using model_key = std::pair<std::string, std::uint64_t>;

  /// `replan` goes to the loader; answered with `on(replanned)`. Both must outlive this.
  plan_follower(protocol::link& link, std::function<void(protocol::replan)> replan, metrics& figures);

  /// True: the event was about a precision service and is done with.
  bool on(protocol::link_event& event);

  /// A model serves. One without a target (on a GPU, or told to compute in fp32) follows no plan.
  void serve(const protocol::loaded& model);
  void stop(const model_key& model);

  void on(const protocol::replanned& done);
  void on(protocol::given_up& what);

  /// Whether the inputs of the model's execution that is about to start shall be kept for a precision service.
  [[nodiscard]] bool wants_sample(const model_key& model, time_point now) const;
  /// Of an execution whose joined inputs are too large, those of one member (`alone`) are given.
  void give_sample(const model_key& model, std::vector<tensor> inputs, time_point now, std::vector<tensor> alone = {});

 private:
  using peer_id = protocol::peer_id;
  using shared_plan = std::shared_ptr<const executor::precision_plan>;

  struct service {
    protocol::instance_id instance = 0;
    std::string device;
  };
  struct followed {
    protocol::load where;
    protocol::plan_target target;
    shared_plan plan;                        ///< null: it has none, and computes in fp32
    shared_plan coming;                      ///< the loader has it
    std::string refused;                     ///< why not by the newest that it was told of
    std::optional<protocol::breach> breach;  ///< of `plan`, which it no longer computes by
    peer_id planner = 0;
    peer_id sampler = 0;  ///< who asked for samples
    std::uint32_t samples_wanted = 0;
    time_point next_sample;
  };

  void come(const protocol::peer_up& up);
  void take(peer_id from, const protocol::plan_news& news);
  void want(peer_id from, const protocol::sampling& asked);
  void choose_planner(followed& model);
  void tell(peer_id service, const followed& model);
  void tell_all(const followed& model);
  [[nodiscard]] followed* find(const protocol::plan_target& target);

  protocol::link& link_;
  std::function<void(protocol::replan)> replan_;
  std::map<peer_id, service> services_;
  std::map<model_key, followed> models_;
  prometheus::Counter& samples_;
  prometheus::Counter& too_large_;
  prometheus::Counter& changes_;
  prometheus::Counter& refused_;
};

}  // namespace shoal::worker
