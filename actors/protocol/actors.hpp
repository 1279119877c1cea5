// Every actor of the mesh and the messages it takes: the map of what happens inside a service. (messages.hpp is the map
// of what happens between services; link events carry those into the actors.)
//
//   gateway    one per gateway service; holds every request from its arrival to its one outcome
//   text       one per gateway service, detached: reads text; requests of token ids become of it
//   scheduler  one per scheduler service; queues, batches, dispatches
//   worker     one per worker service; offers capacity, collects payloads, answers
//   loader     one per worker service, detached: reads models while others are served
//   compute    one per worker service, detached: the one thread that runs models
//   cache      one per cache service; which objects lie where, who has them leased
//   precision  one per precision service; which plans there are, who computes by them, what is planned next
//   planner    one per precision service, detached, at idle priority: measures and plans
//   shelf      one per precision service, detached: reads and writes plans' files
//   storage    one per cache service, detached: the one thread that waits for disks and copies objects
//
// None of these messages leaves its process, so none is serialisable.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>

#include "protocol/link.hpp"
#include "protocol/statistics.hpp"

namespace shoal::worker {
class served_model;
}
namespace shoal::executor {
class model;
struct precision_plan;
}  // namespace shoal::executor

namespace shoal::protocol {

/// A timer that the actor set for itself has run out.
using wake_atom = caf::atom_constant<caf::atom("wake")>;
/// Finish what was taken, take nothing new; answered when nothing is left or the time is over.
using drain_atom = caf::atom_constant<caf::atom("drain")>;
using drained_atom = caf::atom_constant<caf::atom("drained")>;

/// A door of the gateway hands in a request (gateway/front.hpp).
struct submission {
  request_id ticket = 0;
  infer request;
  std::function<void(outcome)> done;
  bool is_part = false;  ///< of a text request that was taken already: also while the gateway drains
};

/// A door takes a request back.
struct withdrawal {
  request_id ticket = 0;
};

/// A door asks to load or unload a model.
struct management {
  manage request;
  std::function<void(expected<std::vector<worker_answer>>)> done;
};

/// A door asks for what the mesh's gateways have counted.
struct statistics_question {
  std::function<void(std::vector<model_statistics>)> done;
};

/// gateway -> text: this request carries text (gateway/text/text_request.hpp). Answered by `text_done`; the requests
/// that it becomes come as `submission`s meanwhile.
struct text_order {
  request_id ticket = 0;
  infer request;
  std::chrono::steady_clock::time_point deadline;
  bool any_version = false;  ///< the highest that is ready was asked for: another may take over
};

/// text -> gateway.
struct text_done {
  request_id ticket = 0;
  outcome result;
};

/// What became of a part of a text request. gateway -> text.
struct text_part {
  request_id job = 0;
  std::uint32_t part = 0;
  outcome result;
};

/// To itself: another request's text has its turn.
using turn_atom = caf::atom_constant<caf::atom("turn")>;

using text_actor = caf::typed_actor<caf::reacts_to<text_order>, caf::reacts_to<withdrawal>, caf::reacts_to<text_part>,
                                    caf::reacts_to<turn_atom>, caf::reacts_to<wake_atom>>;

/// The gateway's actor shall give text to this one from now on.
struct text_reader {
  text_actor reads;
};

using gateway_actor =
    caf::typed_actor<caf::reacts_to<link_event>, caf::reacts_to<submission>, caf::reacts_to<withdrawal>,
                     caf::reacts_to<management>, caf::reacts_to<statistics_question>, caf::reacts_to<text_reader>,
                     caf::reacts_to<text_done>, caf::reacts_to<wake_atom>,
                     caf::replies_to<drain_atom>::with<drained_atom>>;

using scheduler_actor = caf::typed_actor<caf::reacts_to<link_event>, caf::reacts_to<wake_atom>>;

/// worker -> loader: which version is meant (0: the newest in the directory), and where it lies. Answered by `found`.
struct lookup {
  request_key key;  ///< of the `manage` that asks
  std::string model;
  std::uint64_t version = 0;
};

/// worker -> loader: read the archive of one version of a model and give the model to the compute thread. Answered by
/// `loaded`.
struct load {
  std::filesystem::path folder;  ///< holds model.pt2 and, optionally, model.toml
  std::string name;
  std::uint64_t version = 0;
};

/// loader -> worker.
struct found {
  request_key key;
  expected<load> what;
};

/// compute -> worker, or from the loader if it failed there.
struct loaded {
  model_spec spec;  ///< ready, or failed with the reason
  double seconds = 0;
  std::filesystem::path folder;
  plan_target target;                                    ///< no device: it follows no plans
  std::shared_ptr<const executor::precision_plan> plan;  ///< by which it computes; null: in fp32, since it has none
};

inline loaded failed_load(const load& what, std::string reason, double seconds) {
  loaded failed;
  failed.spec.name = what.name;
  failed.spec.version = what.version;
  failed.spec.state = model_state::failed;
  failed.spec.reason = std::move(reason);
  failed.seconds = seconds;
  return failed;
}

/// loader -> compute: warm this model up and keep it.
struct adopt {
  std::shared_ptr<worker::served_model> model;
  load what;
  double seconds = 0;  ///< spent so far
  std::function<void(loaded)> done;
};

/// worker -> loader: compute by this plan from now on, while the model serves. Answered by `replanned`.
struct replan {
  load what;
  std::shared_ptr<const executor::precision_plan> plan;
};

/// compute -> worker, or from the loader if it failed there: batches that start from now on are computed by it.
struct replanned {
  std::string name;
  std::uint64_t version = 0;
  std::shared_ptr<const executor::precision_plan> plan;
  std::string refused;  ///< why not; empty: they are
};

/// loader -> compute: warm this up and put it in the place of what computes by the plan before.
struct adopt_plan {
  load what;
  std::shared_ptr<const executor::precision_plan> plan;
  std::shared_ptr<executor::model> graph;  ///< null: fp32, which the compute thread has
  std::function<void(replanned)> done;
};

/// compute -> worker: answers by the plan were too far from fp32's; the model computes in fp32 from now on.
struct given_up {
  std::string name;
  std::uint64_t version = 0;
  std::string epoch;
  double error = 0;
  double budget = 0;
  std::uint32_t samples = 0;
  std::string node;            ///< as in `breach`
  std::vector<tensor> inputs;  ///< likewise
};

/// worker -> compute: nothing is staged for this version any more, free it. Answered by `unloaded`.
struct unload {
  std::string name;
  std::uint64_t version = 0;
};

/// compute -> worker: the version's memory is given back.
struct unloaded {
  std::string name;
  std::uint64_t version = 0;
};

/// worker -> compute: run these requests together.
struct compute {
  batch_id batch = 0;
  std::string model;
  std::uint64_t version = 0;
  struct member {
    request_key key;
    std::vector<tensor> inputs;        ///< in the order of the spec
    std::vector<std::string> outputs;  ///< wanted; empty: all
  };
  std::vector<member> members;
  bool is_sample = false;  ///< its joined inputs are handed back
};

/// compute -> worker: one result per member, in their order.
struct computed {
  batch_id batch = 0;
  std::vector<expected<std::vector<tensor>>> results;
  microseconds compute_time{};  ///< the whole
  microseconds input_time{};    ///< of it: joining the members' inputs
  microseconds output_time{};   ///< of it: parting the outputs
  std::uint32_t rows = 0;
  bool apart = false;          ///< the batch failed as a whole, and its members ran one by one
  std::string plan;            ///< epoch of the plan that all of it was computed by
  std::vector<tensor> sample;  ///< its joined inputs, if they were asked for
};

using worker_actor = caf::typed_actor<caf::reacts_to<link_event>, caf::reacts_to<found>, caf::reacts_to<loaded>,
                                      caf::reacts_to<unloaded>, caf::reacts_to<computed>, caf::reacts_to<replanned>,
                                      caf::reacts_to<given_up>, caf::reacts_to<wake_atom>,
                                      caf::replies_to<drain_atom>::with<drained_atom>>;

using loader_actor = caf::typed_actor<caf::reacts_to<lookup>, caf::reacts_to<load>, caf::reacts_to<replan>>;

using compute_actor = caf::typed_actor<caf::reacts_to<adopt>, caf::reacts_to<adopt_plan>, caf::reacts_to<compute>,
                                       caf::reacts_to<unload>>;

/// cache -> storage: blocking work on objects, done in order. Answered by an `object_done` of the same kind.
struct object_job {
  enum class kind : std::uint8_t {
    fill,   ///< from the disk to memory
    keep,   ///< new bytes: verify their name, then to the disk, and to memory where it says so
    check,  ///< verify what lies in memory; what is damaged is removed
    drop,   ///< remove from memory
    scan,   ///< which objects lie in memory; takes none
  };
  struct object {
    object_key key;
    std::uint64_t size = 0;
    object_key source;   ///< keep
    std::string layout;  ///< keep
    buffer bytes;        ///< keep
    bool to_memory = false;
  };
  kind what = kind::fill;
  std::vector<object> objects;
};

/// storage -> cache. One entry per object of the job, in their order (scan: what was found).
struct object_done {
  struct object {
    object_key key;
    std::uint64_t size = 0;
    bool in_memory = false;
    bool on_disk = false;
    bool quarantined = false;      ///< a copy was damaged and has been removed
    std::optional<error> problem;  ///< why it is not where it should be
  };
  object_job::kind what = object_job::kind::fill;
  std::vector<object> objects;
};

using cache_actor =
    caf::typed_actor<caf::reacts_to<link_event>, caf::reacts_to<object_done>, caf::reacts_to<wake_atom>>;

using storage_actor = caf::typed_actor<caf::reacts_to<object_job>>;

/// precision -> planner: make a plan, or mend one. Answered by `planning_step`s and one `planning_done`.
struct planning_order {
  plan_target target;
  std::string policy;  ///< measured, bf16 or rule
  double budget = 0;
  double seconds = 0;                        ///< of processor time, about
  std::vector<std::vector<tensor>> samples;  ///< inputs of executions; none: seeded ones
  std::shared_ptr<const executor::precision_plan>
      mends;                                ///< not null: this one, so that it is within its budget on the samples
  std::shared_ptr<std::atomic<bool>> stop;  ///< true: nobody wants it any more
};

/// planner -> precision.
struct planning_step {
  plan_target target;
  std::string phase;
  double share = 0;
};
struct planning_done {
  plan_target target;
  expected<std::shared_ptr<const executor::precision_plan>> plan;  ///< without a generation
  std::string said;                                                ///< what was gained, or why it is fp32
  bool is_mended = false;
  double seconds = 0;
};

/// precision -> shelf: what lies beside the archive? Or, with a plan, keep this there. Answered by `shelf_found`; looks
/// that find what was there before are not.
struct shelf_order {
  plan_target target;
  std::shared_ptr<const executor::precision_plan> keep;
  bool is_first = false;  ///< a look that is answered in any case
};
struct shelf_found {
  plan_target target;
  bool is_kept = false;                                            ///< the answer to an order with a plan
  expected<std::shared_ptr<const executor::precision_plan>> plan;  ///< or why there is none, or it cannot be kept
};

using precision_actor =
    caf::typed_actor<caf::reacts_to<link_event>, caf::reacts_to<planning_step>, caf::reacts_to<planning_done>,
                     caf::reacts_to<shelf_found>, caf::reacts_to<wake_atom>>;

using planner_actor = caf::typed_actor<caf::reacts_to<planning_order>>;

using shelf_actor = caf::typed_actor<caf::reacts_to<shelf_order>>;

}  // namespace shoal::protocol

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::link_event)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::submission)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::withdrawal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::management)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::statistics_question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::text_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::text_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::text_part)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::text_reader)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::lookup)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::found)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::load)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::adopt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::unload)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::unloaded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::loaded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::compute)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::computed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::object_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::object_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::replan)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::replanned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::adopt_plan)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::given_up)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::planning_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::planning_step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::planning_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::shelf_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(shoal::protocol::shelf_found)
