// The map of the system: every message that one concern sends to another, as plain C++ values. schemas/mesh.capnp says
// how they look on the wire and who sends them to whom; actors/link translates between the two, and only there.
// Adding a message: here, in schemas/mesh.capnp, in link/codec.cpp, and a golden frame in tests/unit/link.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "protocol/model.hpp"
#include "protocol/object_key.hpp"
#include "protocol/statistics.hpp"

namespace shoal::protocol {

/// Unique within the service instance that created it (a gateway, or a client for its own link to a gateway).
using request_id = std::uint64_t;
using batch_id = std::uint64_t;
using offer_id = std::uint64_t;
/// Random, one per running process of a service: a restarted service is another instance.
using instance_id = std::uint64_t;

using microseconds = std::chrono::microseconds;

/// A request names its origin twice: the gateway that holds it, and the id it has there.
struct request_key {
  instance_id gateway = 0;
  request_id id = 0;
  auto operator<=>(const request_key&) const = default;
};

/// W3C trace context (https://www.w3.org/TR/trace-context/); all zero: not traced.
struct trace_context {
  std::uint64_t trace_high = 0;
  std::uint64_t trace_low = 0;
  std::uint64_t span = 0;
  bool operator==(const trace_context&) const = default;
};

/// How a request stands to others that wait for the same workers. The values travel on the wire: append only.
enum class priority : std::uint8_t {
  standard,
  critical,  ///< before standard
  batch,     ///< when nobody else waits, but never never (scheduler/model_queue.hpp)
};

/// 1 to 3: critical, standard, batch; who is smaller goes first.
constexpr int rank_of(priority as) noexcept {
  switch (as) {
    case priority::critical: return 1;
    case priority::standard: return 2;
    case priority::batch: return 3;
  }
  return 2;
}

/// client -> gateway, gateway -> scheduler. Time is what is left, never a wall clock.
struct infer {
  request_id id = 0;
  std::uint32_t attempt = 0;
  microseconds time_left{};  ///< client: zero asks for the gateway's default
  std::string model;
  std::uint64_t version = 0;  ///< client: zero asks for the highest that is ready
  std::vector<tensor> inputs;
  bool payload_held = false;         ///< inputs carry descriptors only; the worker fetches the bytes at the gateway
  std::vector<std::string> outputs;  ///< names wanted, in this order; empty: all
  std::uint32_t deaths = 0;          ///< workers that died while they ran this request alone
  trace_context trace;
  protocol::priority priority = protocol::priority::standard;
  bool is_probe = false;  ///< nobody's: whether the mesh answers. Such inputs say nothing of the traffic
};

/// client -> gateway -> scheduler -> worker: nobody waits for this request any more.
struct cancel {
  request_key key;
};

/// What became of a request: outputs, or why not. worker -> gateway, scheduler -> gateway (refusals), gateway ->
/// client. A gateway accepts the first outcome of a request and counts the others.
struct outcome {
  request_id id = 0;
  std::uint32_t attempt = 0;
  expected<std::vector<tensor>> result;
  std::string model;
  std::uint64_t version = 0;
  microseconds queue_time{};     ///< in the scheduler, and at the worker behind other batches
  microseconds compute_time{};   ///< of the batch it was part of
  std::uint32_t batch_rows = 0;  ///< rows of that batch, this request's included
  microseconds input_time{};     ///< of compute_time: joining the inputs of the batch
  microseconds output_time{};    ///< of compute_time: parting its outputs
  std::string plan;  ///< epoch of the plan that all of the batch was computed by ("fp32": none); empty: untold
};

/// A request inside a batch. scheduler -> worker.
struct batch_member {
  request_key key;
  infer request;
  microseconds queue_time{};  ///< so far
};

/// scheduler -> worker: run these together, against this offer. A second message with the id of a batch that is staged
/// and has not started adds its members to that batch (late batch formation); if it has started, they are returned.
struct batch {
  batch_id id = 0;
  offer_id offer = 0;
  std::vector<batch_member> members;
  microseconds takes{};  ///< of the worker's time, as predicted, all members; zero: not known
  std::optional<protocol::priority>
      more;  ///< more such requests wait, the most urgent of this class: as if `want` followed
};

/// worker -> scheduler: a place for one batch is leased to you (worker/places.hpp), until a batch comes against it or
/// `withdraw`. A worker has two places: one to run, one to stage. The id of an offer that is out: `busy` has changed.
struct offer {
  offer_id id = 0;
  microseconds busy{};  ///< how long the batches of other schedulers will still take there, as they predict
};

/// scheduler -> worker: requests that you could run wait, and I have no place for them.
struct want {
  protocol::priority most_urgent = protocol::priority::standard;
};

/// worker -> scheduler: this place is another's now. A batch that is on its way against it comes back with its
/// completion.
struct withdraw {
  offer_id offer = 0;
};

/// worker -> scheduler: your staged batch runs, that of another scheduler is over.
struct started {
  batch_id batch = 0;
};

/// worker -> scheduler: a batch is over, and your staged one, if any, starts; or only some members are over. Outcomes
/// went straight to the gateways.
struct completion {
  batch_id batch = 0;
  std::vector<request_key> finished;
  std::vector<request_key> returned;  ///< came too late for the staged batch: queue them again
  microseconds compute_time{};
  std::uint32_t rows = 0;
  bool batch_over = true;    ///< false when the message only returns or drops members
  offer_id offer = 0;        ///< not zero: the place that became free is offered again
  std::uint32_t failed = 0;  ///< of `finished`: for a reason that lies with the worker (internal)
  microseconds busy{};       ///< as in `offer`
  bool apart = false;        ///< it failed as a whole, and its members ran one by one
};

/// scheduler -> worker: somebody more urgent shall have the place of this batch. Unless it has started, the worker
/// answers with a completion that returns its members and offers the place again.
struct recall {
  batch_id batch = 0;
};

/// worker -> gateway: send me the payload you hold. gateway -> worker: `payload`.
struct fetch {
  request_id id = 0;
  std::uint32_t attempt = 0;
};

/// gateway -> worker. An error: the request is over, drop it.
struct payload {
  request_id id = 0;
  std::uint32_t attempt = 0;
  expected<std::vector<tensor>> inputs;
};

/// worker -> scheduler: all models of that worker. scheduler -> gateway -> client: the union over its workers.
/// Always the whole list; the newest one counts.
struct catalogue {
  std::vector<model_spec> models;
};

/// client -> gateway: ask for a catalogue, or for a report.
struct describe {};
struct inquire {};

struct figure {
  std::string name;
  double value = 0;
  bool operator==(const figure&) const = default;
};

/// Whose numbers a plan decides: one archive on one kind of device.
struct plan_target {
  std::string model;          ///< as it is served
  std::uint64_t version = 0;  ///< likewise: both lead to the archive
  object_key archive;         ///< its fingerprint (executor/archive.hpp)
  std::string device;         ///< its signature (executor/precision_plan.hpp)
  auto operator<=>(const plan_target&) const = default;
};

/// What a precision service knows of one plan.
struct plan_report {
  plan_target target;
  std::string epoch;  ///< empty: there is no plan yet
  std::string policy;
  std::string calibrated_on;
  std::uint64_t generation = 0;
  double speedup = 0;  ///< time in fp32 / time with it
  double error = 0;    ///< of the outputs against fp32's
  double budget = 0;   ///< of that error
  std::string nodes;   ///< how many in which numbers, such as "30 int8, 3 bf16"
  std::string state;   ///< what is done about it: "planning: 40%", "settled"
  std::string said;    ///< the last that happened to it, a sentence
  bool is_planned_here = false;
  std::uint32_t workers = 0;    ///< that compute this model
  std::uint32_t following = 0;  ///< of them: by this very plan
  std::uint32_t samples = 0;    ///< inputs of executions kept to plan with
  std::uint32_t breaches = 0;
  bool operator==(const plan_report&) const = default;
};

struct service_report {
  std::string service;  ///< "gateway", "scheduler", "worker", "cache", "precision"
  instance_id instance = 0;
  std::vector<figure> figures;
  std::vector<model_statistics> models;  ///< a gateway's
  std::vector<plan_report> plans;        ///< a precision service's
  bool operator==(const service_report&) const = default;
};

/// worker, cache, precision, gateway -> scheduler -> gateway, once a second while something changed; gateway -> client
/// as the answer to `inquire`. Of a service that several schedulers tell of, the first counts.
struct report {
  std::vector<service_report> services;
};

/// worker -> cache: lease these objects to me until I release them or am gone. Answered by `leased`.
struct acquire {
  std::uint64_t id = 0;
  std::vector<object_key> keys;
  bool verify = false;  ///< I could not use the files: check them, and fill those again that are damaged
};

enum class object_state : std::uint8_t {
  ready,   ///< leased: it lies in the host's memory tier under its name
  absent,  ///< the cache does not have it; `store` gives it
  failed,  ///< the cache has it, but cannot bring it to memory (no room, the disk)
};

/// cache -> worker: one entry per key that was asked for, in that order. Only what is ready is leased.
struct leased {
  std::uint64_t id = 0;
  struct object {
    object_key key;
    object_state state = object_state::absent;
    std::uint64_t size = 0;  ///< bytes
    bool operator==(const object&) const = default;
  };
  std::vector<object> objects;
};

/// worker -> cache: keep this object. Answered by `stored`, after a synced write.
struct store {
  std::uint64_t id = 0;
  object_key key;
  /// What it was made of and how; an empty layout: it is no derived object, and the key is that of the bytes.
  object_key source;
  std::string layout;
  tensor bytes;  ///< uint8, one dimension
};

/// cache -> worker.
struct stored {
  std::uint64_t id = 0;
  expected<void> result;
};

/// worker -> cache: I have these no longer mapped.
struct release {
  std::vector<object_key> keys;
};

enum class life_verb : std::uint8_t { load, unload };

/// client -> gateway -> every scheduler -> every worker: take a model into service, or out of it. Each hop answers with
/// one `managed`. A worker that hears of the same key from two schedulers does it once and answers both.
struct manage {
  request_key key;  ///< client: gateway is 0
  life_verb verb = life_verb::load;
  std::string model;          ///< is_name, checked at the gateway and again by the worker: never a path
  std::uint64_t version = 0;  ///< zero: load the newest in the directory, unload all
  bool replace = false;       ///< load: older versions are unloaded once this one serves
  microseconds time_left{};
};

struct worker_answer {
  instance_id worker = 0;
  expected<std::string> result;  ///< a sentence: what was done, or why not
};

/// worker -> scheduler -> gateway -> client. Error: nobody could be asked.
struct managed {
  request_key key;
  expected<std::vector<worker_answer>> result;
};

/// worker -> precision, when they meet and whenever something of it changes: by what I compute.
struct follows {
  plan_target target;
  tensor plan;              ///< its text (executor/precision_plan.hpp), uint8; no bytes: none, it computes in fp32
  bool plans_here = false;  ///< of all precision services that I see, you are the one to plan for it
  std::string refused;      ///< why not by the newest plan that I was told of; empty: I do
  bool is_served = true;    ///< false: no longer
};

/// precision -> worker: compute by this, if it is newer than what you have.
struct plan_news {
  plan_target target;
  tensor plan;  ///< as in `follows`
};

/// precision -> worker: send me the inputs of so many executions to come, as `sample`. The newest one counts.
struct sampling {
  plan_target target;
  std::uint32_t executions = 0;
};

/// worker -> precision: inputs of one execution, joined as they were, in the model's order.
struct sample {
  plan_target target;
  std::vector<tensor> inputs;
};

/// worker -> precision: by the plan `epoch` answers were too far from fp32's; I compute in fp32 from now on.
struct breach {
  plan_target target;
  std::string epoch;
  double error = 0;            ///< of the outputs, over the last requests compared
  double budget = 0;           ///< of that error
  std::uint32_t samples = 0;   ///< requests compared
  std::string node;            ///< that was seen to leave its range; empty: the outputs were
  std::vector<tensor> inputs;  ///< of a request by which it was seen; may be missing
};

using message = std::variant<infer, cancel, outcome, batch, offer, completion, fetch, payload, catalogue, describe,
                             inquire, report, acquire, leased, store, stored, release, manage, managed, recall, want,
                             withdraw, started, follows, plan_news, sampling, sample, breach>;

}  // namespace shoal::protocol
