#include <algorithm>
#include <cstring>
#include <optional>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "link/codec.hpp"
#include "mesh.capnp.h"

namespace shoal::link {

namespace {

using namespace shoal::protocol;

constexpr int max_nesting = 16;

/// A word is read once or twice; pointers that lead to the same words over and over run into this.
capnp::ReaderOptions reader_options(std::size_t words) {
  return {.traversalLimitInWords = words * 4 + 1024, .nestingLimit = max_nesting};
}

microseconds time_of(std::int64_t us) { return microseconds(std::clamp(us, -max_time_us, max_time_us)); }
microseconds duration_of(std::uint64_t us) {
  return microseconds(static_cast<std::int64_t>(std::min(us, static_cast<std::uint64_t>(max_time_us))));
}

/// Reads one envelope. The first thing that is wrong is remembered, and what follows is read as if it were empty, so
/// nothing is allocated for it; the caller looks at `problem` once, at the end.
class reader {
 public:
  reader(std::span<const std::byte> tail, std::span<buffer> frames, std::uint64_t& copies)
      : tail_(tail), has_tail_(!tail.empty()), frames_(frames), copies_(copies) {}

  expected<envelope> read(wire::Envelope::Reader from) {
    envelope result;
    result.epoch = from.getEpoch();
    switch (from.which()) {
      case wire::Envelope::HELLO: result.content = get(from.getHello()); break;
      case wire::Envelope::WELCOME: result.content = control(welcome{get(from.getWelcome())}); break;
      case wire::Envelope::REFUSED: result.content = control(refused{get(from.getRefused())}); break;
      case wire::Envelope::HEARTBEAT: result.content = control(heartbeat{from.getHeartbeat().getSequence()}); break;
      case wire::Envelope::GOODBYE: result.content = control(goodbye{}); break;
      case wire::Envelope::PIECE: result.content = control(get(from.getPiece())); break;
      case wire::Envelope::MORE: result.content = control(more{from.getMore()}); break;
      case wire::Envelope::INFER: {
        auto body = from.getInfer();
        transfer_ = body.getBulk().getTransfer();
        result.content = message(get(body));
        break;
      }
      case wire::Envelope::CANCEL: result.content = message(cancel{get(from.getCancel())}); break;
      case wire::Envelope::OUTCOME: result.content = message(get(from.getOutcome())); break;
      case wire::Envelope::BATCH: result.content = message(get(from.getBatch())); break;
      case wire::Envelope::OFFER: result.content = message(get(from.getOffer())); break;
      case wire::Envelope::COMPLETION: result.content = message(get(from.getCompletion())); break;
      case wire::Envelope::RECALL: result.content = message(recall{from.getRecall().getBatch()}); break;
      case wire::Envelope::WANT: result.content = message(want{get(from.getWant())}); break;
      case wire::Envelope::WITHDRAW: result.content = message(withdraw{from.getWithdraw()}); break;
      case wire::Envelope::STARTED: result.content = message(started{from.getStarted()}); break;
      case wire::Envelope::FETCH: {
        auto body = from.getFetch();
        result.content = message(fetch{body.getId(), body.getAttempt()});
        break;
      }
      case wire::Envelope::PAYLOAD: result.content = message(get(from.getPayload())); break;
      case wire::Envelope::CATALOGUE: result.content = message(get(from.getCatalogue())); break;
      case wire::Envelope::DESCRIBE: result.content = message(describe{}); break;
      case wire::Envelope::INQUIRE: result.content = message(inquire{}); break;
      case wire::Envelope::REPORT: result.content = message(get(from.getReport())); break;
      case wire::Envelope::ACQUIRE: {
        auto body = from.getAcquire();
        result.content = message(acquire{body.getId(), get(body.getKeys()), body.getVerify()});
        break;
      }
      case wire::Envelope::LEASED: result.content = message(get(from.getLeased())); break;
      case wire::Envelope::STORE: result.content = message(get(from.getStore())); break;
      case wire::Envelope::STORED: {
        auto body = from.getStored();
        stored told{body.getId(), {}};
        if (body.getFailed()) told.result = tl::unexpected(get(body.getError()));
        result.content = message(std::move(told));
        break;
      }
      case wire::Envelope::RELEASE: result.content = message(release{get(from.getRelease().getKeys())}); break;
      case wire::Envelope::MANAGE: result.content = message(get(from.getManage())); break;
      case wire::Envelope::FOLLOWS: result.content = message(get(from.getFollows())); break;
      case wire::Envelope::PLAN_NEWS: result.content = message(get(from.getPlanNews())); break;
      case wire::Envelope::SAMPLING: {
        auto body = from.getSampling();
        result.content = message(sampling{get(body.getTarget()), body.getExecutions()});
        break;
      }
      case wire::Envelope::SAMPLE: result.content = message(get(from.getSample())); break;
      case wire::Envelope::BREACH: result.content = message(get(from.getBreach())); break;
      case wire::Envelope::MANAGED: result.content = message(get(from.getManaged())); break;
      default:
        return fail(errc::unsupported, "a message of kind " + std::to_string(static_cast<unsigned>(from.which())) +
                                           ", which this version does not know");
    }
    if (!problem_ && !tail_.empty())
      refuse(errc::corrupt, "an envelope with " + std::to_string(tail_.size()) + " bytes after its end");
    if (!problem_ && next_ != frames_.size())
      refuse(errc::corrupt, "a message with " + std::to_string(frames_.size()) + " tensor frames for " +
                                std::to_string(next_) + " tensors with data");
    if (problem_) return tl::unexpected(std::move(*problem_));
    if (transfer_ == 0) return result;
    bulk whole;
    whole.transfer = transfer_;
    whole.body = std::move(std::get<message>(result.content));
    whole.parts = std::move(parts_);
    whole.bytes = bytes_;
    result.content = std::move(whole);
    return result;
  }

 private:
  void refuse(errc code, std::string why) {
    if (!problem_) problem_ = error{code, std::move(why)};
  }

  /// The number of elements to read: those of the list, or none if it is longer than it may be.
  template <class List>
  unsigned count(const List& list, std::size_t limit, const char* what) {
    if (problem_) return 0;
    if (list.size() <= limit) return list.size();
    refuse(errc::too_large, "a message with " + std::to_string(list.size()) + " " + what + ", above the limit of " +
                                std::to_string(limit));
    return 0;
  }

  std::string text(capnp::Text::Reader from, const char* what, std::size_t limit = max_name) {
    if (problem_) return {};
    if (from.size() <= limit) return {from.begin(), from.size()};
    refuse(errc::too_large, std::string(what) + " of " + std::to_string(from.size()) + " bytes, above the limit of " +
                                std::to_string(limit));
    return {};
  }

  dtype type_of(unsigned value) {
    if (auto type = dtype_of(value)) return *type;
    refuse(errc::unsupported, "a tensor of the unknown type " + std::to_string(value));
    return dtype::fp32;
  }

  hello get(wire::Hello::Reader from) {
    hello to;
    to.oldest = from.getProtocolVersion();
    to.newest = from.getNewestVersion() == 0 ? to.oldest : from.getNewestVersion();
    if (from.getService() > wire::ServiceKind::PRECISION)
      refuse(errc::unsupported,
             "a HELLO of the unknown service kind " + std::to_string(static_cast<unsigned>(from.getService())));
    else
      to.service = static_cast<service_kind>(from.getService());
    to.instance = from.getInstance();
    to.epoch = from.getEpoch();
    auto capabilities = from.getCapabilities();
    for (unsigned i = 0, n = count(capabilities, max_capabilities, "capabilities"); i < n; ++i)
      to.capabilities.push_back(text(capabilities[i], "a capability"));
    to.credit_messages = from.getCreditMessages();
    to.credit_bytes = from.getCreditBytes();
    to.max_message_bytes = from.getMaxMessageBytes();
    return to;
  }

  piece get(wire::Piece::Reader from) {
    piece to{from.getTransfer(), from.getTensor(), from.getOffset(), {}};
    if (frames_.size() == 1)
      to.bytes = std::move(frames_[next_++]);
    else if (has_tail_)
      to.bytes = buffer::copy(std::exchange(tail_, {}));
    else
      refuse(errc::corrupt, "a piece with " + std::to_string(frames_.size()) + " frames of bytes instead of one");
    return to;
  }

  error get(wire::Error::Reader from) {
    error to;
    // A code that was appended after this build is still an error, only less precise.
    to.code = from.getCode() <= static_cast<unsigned>(last_errc) ? static_cast<errc>(from.getCode()) : errc::internal;
    to.message = text(from.getMessage(), "an error's sentence", max_sentence);
    to.retryable = from.getRetryable();
    to.retry_after = std::chrono::milliseconds(from.getRetryAfterMs());
    return to;
  }

  static request_key get(wire::RequestKey::Reader from) { return {from.getGateway(), from.getId()}; }

  std::vector<request_key> get(capnp::List<wire::RequestKey>::Reader from) {
    std::vector<request_key> to(count(from, max_keys, "request keys"));
    for (unsigned i = 0; i < to.size(); ++i) to[i] = get(from[i]);
    return to;
  }

  static object_key get(wire::ObjectKey::Reader from) {
    const std::uint64_t words[4] = {from.getWord0(), from.getWord1(), from.getWord2(), from.getWord3()};
    object_key to;
    std::memcpy(to.bytes.data(), words, sizeof words);
    return to;
  }

  std::vector<object_key> get(capnp::List<wire::ObjectKey>::Reader from) {
    std::vector<object_key> to(count(from, max_keys, "object keys"));
    for (unsigned i = 0; i < to.size(); ++i) to[i] = get(from[i]);
    return to;
  }

  std::vector<tensor> get(capnp::List<wire::Tensor>::Reader from) {
    const auto n = count(from, max_tensors - std::min(seen_, max_tensors), "tensors");
    std::vector<tensor> to;
    to.reserve(n);
    for (unsigned i = 0; i < n; ++i) to.push_back(get(from[i]));
    return to;
  }

  tensor get(wire::Tensor::Reader from) {
    tensor to;
    const auto index = seen_++;
    to.name = text(from.getName(), "a tensor's name");
    to.type = type_of(from.getDtype());
    auto dims = from.getDims();
    to.dims.resize(count(dims, max_rank, "dimensions"));
    for (unsigned i = 0; i < to.dims.size(); ++i) to.dims[i] = dims[i];
    if (problem_) return to;
    if (!from.getHasData()) {
      if (auto elements = element_count(to.dims); !elements) refuse(errc::corrupt, elements.error().message);
      return to;
    }
    auto size = byte_size(to.type, to.dims);
    if (!size)
      refuse(size.error().code, "tensor '" + to.name + "': " + size.error().message);
    else if (transfer_ != 0)
      expect_pieces(index, *size);
    else if (has_tail_)
      take_of_tail(to, *size);
    else
      take_frame(to, *size);
    return to;
  }

  void take_of_tail(tensor& to, std::uint64_t size) {
    if (size > tail_.size())
      return refuse(errc::corrupt, "tensor '" + to.name + "' of shape " + to_string(to.dims) + " needs " +
                                       std::to_string(size) + " bytes but " + std::to_string(tail_.size()) +
                                       " are left after the envelope");
    to.data = buffer::copy(tail_.first(size));
    tail_ = tail_.subspan(size);
  }

  void expect_pieces(std::size_t index, std::uint64_t size) {
    if (__builtin_add_overflow(bytes_, size, &bytes_))
      return refuse(errc::too_large, "a message with more bytes than can be addressed");
    parts_.push_back({index, size});
  }

  void take_frame(tensor& to, std::uint64_t size) {
    if (next_ == frames_.size()) return refuse(errc::corrupt, "no frame for tensor '" + to.name + "'");
    auto& frame = frames_[next_++];
    if (frame.size() != size)
      return refuse(errc::corrupt, "tensor '" + to.name + "' of shape " + to_string(to.dims) + " needs " +
                                       std::to_string(size) + " bytes but its frame has " +
                                       std::to_string(frame.size()));
    if (reinterpret_cast<std::uintptr_t>(frame.data()) % size_of(to.type) == 0) {
      to.data = std::move(frame);
    } else {
      to.data = buffer::copy(frame.bytes());
      ++copies_;
    }
  }

  infer get(wire::Infer::Reader from) {
    infer to;
    to.id = from.getId();
    to.attempt = from.getAttempt();
    to.time_left = time_of(from.getTimeLeftUs());
    to.model = text(from.getModel(), "a model's name");
    to.version = from.getVersion();
    to.inputs = get(from.getInputs());
    to.payload_held = from.getPayloadHeld();
    auto outputs = from.getOutputs();
    for (unsigned i = 0, n = count(outputs, max_tensors, "outputs"); i < n; ++i)
      to.outputs.push_back(text(outputs[i], "an output's name"));
    to.deaths = from.getDeaths();
    auto trace = from.getTrace();
    to.trace = {trace.getTraceHigh(), trace.getTraceLow(), trace.getSpan()};
    // A class that a later release added is served as any other request.
    to.priority = get(from.getPriority());
    to.is_probe = from.getIsProbe();
    return to;
  }

  outcome get(wire::Outcome::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    outcome to;
    to.id = from.getId();
    to.attempt = from.getAttempt();
    auto result = from.getResult();
    switch (result.which()) {
      case wire::Outcome::Result::OUTPUTS: to.result = get(result.getOutputs()); break;
      case wire::Outcome::Result::ERROR: to.result = tl::unexpected(get(result.getError())); break;
      default: refuse(errc::unsupported, "an outcome of an unknown kind");
    }
    to.model = text(from.getModel(), "a model's name");
    to.version = from.getVersion();
    to.queue_time = duration_of(from.getQueueUs());
    to.compute_time = duration_of(from.getComputeUs());
    to.batch_rows = from.getBatchRows();
    to.input_time = duration_of(from.getInputUs());
    to.output_time = duration_of(from.getOutputUs());
    to.plan = text(from.getPlan(), "a plan's name");
    return to;
  }

  batch get(wire::Batch::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    batch to{from.getId(), from.getOffer(), {}, duration_of(from.getTakesUs()), {}};
    if (from.getMore().isMostUrgent()) to.more = get(from.getMore().getMostUrgent());
    auto members = from.getMembers();
    for (unsigned i = 0, n = count(members, max_members, "batch members"); i < n && !problem_; ++i) {
      auto member = members[i];
      auto request = get(member.getRequest());
      request_key key{member.getGateway(), request.id};
      to.members.push_back({key, std::move(request), duration_of(member.getQueueUs())});
    }
    return to;
  }

  /// A class that came later is served as standard.
  static priority get(wire::Priority from) {
    return from <= wire::Priority::BATCH ? static_cast<priority>(from) : priority::standard;
  }

  static offer get(wire::Offer::Reader from) { return {from.getId(), duration_of(from.getBusyUs())}; }

  completion get(wire::Completion::Reader from) {
    return {from.getBatch(),
            get(from.getFinished()),
            get(from.getReturned()),
            duration_of(from.getComputeUs()),
            from.getRows(),
            from.getBatchOver(),
            from.getOffer(),
            from.getFailed(),
            duration_of(from.getBusyUs()),
            from.getApart()};
  }

  payload get(wire::Payload::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    payload to{from.getId(), from.getAttempt(), {}};
    auto inputs = from.getInputs();
    switch (inputs.which()) {
      case wire::Payload::Inputs::TENSORS: to.inputs = get(inputs.getTensors()); break;
      case wire::Payload::Inputs::ERROR: to.inputs = tl::unexpected(get(inputs.getError())); break;
      default: refuse(errc::unsupported, "a payload of an unknown kind");
    }
    return to;
  }

  std::vector<tensor_spec> get(capnp::List<wire::TensorSpec>::Reader from) {
    std::vector<tensor_spec> to;
    for (unsigned i = 0, n = count(from, max_tensors, "tensors of a model"); i < n && !problem_; ++i) {
      tensor_spec spec{
          text(from[i].getName(), "a tensor's name"), type_of(from[i].getDtype()), {}, from[i].getPadValue()};
      auto dims = from[i].getDims();
      for (unsigned j = 0, m = count(dims, max_rank, "dimensions"); j < m; ++j) {
        dimension d{dims[j].getMin(), dims[j].getMax(), text(dims[j].getSymbol(), "a symbol")};
        if (d.min < 0 || d.max < d.min)
          refuse(errc::corrupt, "tensor '" + spec.name + "' of a model with a dimension from " + std::to_string(d.min) +
                                    " to " + std::to_string(d.max));
        spec.dims.push_back(std::move(d));
      }
      to.push_back(std::move(spec));
    }
    return to;
  }

  catalogue get(wire::Catalogue::Reader from) {
    catalogue to;
    auto models = from.getModels();
    for (unsigned i = 0, n = count(models, max_models, "models"); i < n && !problem_; ++i) {
      auto m = models[i];
      model_spec spec;
      spec.name = text(m.getName(), "a model's name");
      spec.version = m.getVersion();
      if (m.getState() > static_cast<unsigned>(model_state::failed))
        refuse(errc::unsupported, "a model in the unknown state " + std::to_string(m.getState()));
      else
        spec.state = static_cast<model_state>(m.getState());
      spec.reason = text(m.getReason(), "a reason", max_sentence);
      spec.inputs = get(m.getInputs());
      spec.outputs = get(m.getOutputs());
      spec.batch_symbol = text(m.getBatchSymbol(), "a symbol");
      spec.pad_symbol = text(m.getPadSymbol(), "a symbol");
      spec.max_batch = m.getMaxBatch();
      to.models.push_back(std::move(spec));
    }
    return to;
  }

  leased get(wire::Leased::Reader from) {
    leased to;
    to.id = from.getId();
    auto objects = from.getObjects();
    for (unsigned i = 0, n = count(objects, max_keys, "leased objects"); i < n && !problem_; ++i) {
      const auto state = objects[i].getState();
      if (state > static_cast<unsigned>(object_state::failed))
        refuse(errc::unsupported, "an object in the unknown state " + std::to_string(state));
      else
        to.objects.push_back({get(objects[i].getKey()), static_cast<object_state>(state), objects[i].getSize()});
    }
    return to;
  }

  store get(wire::Store::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    store to;
    to.id = from.getId();
    to.key = get(from.getKey());
    to.source = get(from.getSource());
    to.layout = text(from.getLayout(), "a layout's name");
    to.bytes = get(from.getBytes());
    return to;
  }

  /// Sums beyond 2^60 ns (36 years) become that, so that some can be added.
  static duration_sum get(wire::DurationSum::Reader from) {
    return {from.getCount(), std::chrono::nanoseconds(std::min(from.getTotalNs(), std::uint64_t{1} << 60))};
  }

  model_statistics get(wire::ModelStatistics::Reader from) {
    model_statistics to;
    to.model = text(from.getModel(), "a model's name");
    to.version = from.getVersion();
    to.last_inference = std::chrono::milliseconds(std::min(from.getLastInferenceMs(), std::uint64_t{1} << 53));
    to.rows = from.getRows();
    to.executions = from.getExecutions();
    to.success = get(from.getSuccess());
    to.fail = get(from.getFail());
    to.queue = get(from.getQueue());
    to.compute_input = get(from.getComputeInput());
    to.compute_infer = get(from.getComputeInfer());
    to.compute_output = get(from.getComputeOutput());
    return to;
  }

  report get(wire::Report::Reader from) {
    report to;
    auto services = from.getServices();
    for (unsigned i = 0, n = count(services, max_members, "service reports"); i < n && !problem_; ++i) {
      service_report one{text(services[i].getService(), "a service's name"), services[i].getInstance(), {}, {}, {}};
      auto models = services[i].getModels();
      for (unsigned j = 0, m = count(models, max_models, "statistics of models"); j < m && !problem_; ++j)
        one.models.push_back(get(models[j]));
      auto figures = services[i].getFigures();
      for (unsigned j = 0, m = count(figures, max_figures, "figures"); j < m && !problem_; ++j)
        one.figures.push_back({text(figures[j].getName(), "a figure's name"), figures[j].getValue()});
      auto plans = services[i].getPlans();
      for (unsigned j = 0, m = count(plans, max_models, "plans"); j < m && !problem_; ++j)
        one.plans.push_back(get(plans[j]));
      to.services.push_back(std::move(one));
    }
    return to;
  }

  plan_target get(wire::PlanTarget::Reader from) {
    return {text(from.getModel(), "a model's name"), from.getVersion(), get(from.getArchive()),
            text(from.getDevice(), "a device's name")};
  }

  plan_report get(wire::PlanReport::Reader from) {
    plan_report to;
    to.target = get(from.getTarget());
    to.epoch = text(from.getEpoch(), "a plan's name");
    to.policy = text(from.getPolicy(), "a policy's name");
    to.calibrated_on = text(from.getCalibratedOn(), "a kind of sample");
    to.generation = from.getGeneration();
    to.speedup = from.getSpeedup();
    to.error = from.getError();
    to.budget = from.getBudget();
    to.nodes = text(from.getNodes(), "a plan's summary", max_sentence);
    to.state = text(from.getState(), "a plan's state", max_sentence);
    to.said = text(from.getSaid(), "a sentence about a plan", max_sentence);
    to.is_planned_here = from.getIsPlannedHere();
    to.workers = from.getWorkers();
    to.following = from.getFollowing();
    to.samples = from.getSamples();
    to.breaches = from.getBreaches();
    return to;
  }

  /// A plan's text: bytes.
  tensor get_text(wire::Tensor::Reader from) {
    auto to = get(from);
    if (!problem_ && (to.type != dtype::uint8 || to.dims.size() != 1))
      refuse(errc::corrupt, "a plan that is not a row of bytes");
    return to;
  }

  follows get(wire::Follows::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    follows to;
    to.target = get(from.getTarget());
    to.plan = get_text(from.getPlan());
    to.plans_here = from.getPlansHere();
    to.refused = text(from.getRefused(), "a refusal", max_sentence);
    to.is_served = from.getIsServed();
    return to;
  }

  plan_news get(wire::PlanNews::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    plan_news to;
    to.target = get(from.getTarget());
    to.plan = get_text(from.getPlan());
    return to;
  }

  sample get(wire::Sample::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    sample to;
    to.target = get(from.getTarget());
    to.inputs = get(from.getInputs());
    return to;
  }

  breach get(wire::Breach::Reader from) {
    transfer_ = from.getBulk().getTransfer();
    breach to;
    to.target = get(from.getTarget());
    to.epoch = text(from.getEpoch(), "a plan's name");
    to.error = from.getError();
    to.budget = from.getBudget();
    to.samples = from.getSamples();
    to.node = text(from.getNode(), "a node's name", max_sentence);
    to.inputs = get(from.getInputs());
    return to;
  }

  manage get(wire::Manage::Reader from) {
    manage to;
    to.key = get(from.getKey());
    switch (from.getVerb()) {
      case wire::LifeVerb::LOAD: to.verb = life_verb::load; break;
      case wire::LifeVerb::UNLOAD: to.verb = life_verb::unload; break;
      default: refuse(errc::unsupported, "something to do with a model that this version does not know");
    }
    to.model = text(from.getModel(), "a model's name");
    to.version = from.getVersion();
    to.replace = from.getReplace();
    to.time_left = time_of(from.getTimeLeftUs());
    return to;
  }

  managed get(wire::Managed::Reader from) {
    managed to{get(from.getKey()), {}};
    auto result = from.getResult();
    if (result.isError()) {
      to.result = tl::unexpected(get(result.getError()));
    } else if (result.isWorkers()) {
      auto workers = result.getWorkers();
      for (unsigned i = 0, n = count(workers, max_members, "answers of workers"); i < n && !problem_; ++i)
        to.result->push_back(get(workers[i]));
    } else {
      refuse(errc::unsupported, "an answer of an unknown kind");
    }
    return to;
  }

  worker_answer get(wire::WorkerAnswer::Reader from) {
    worker_answer to{from.getWorker(), {}};
    auto result = from.getResult();
    if (result.isDone())
      to.result = text(result.getDone(), "a worker's sentence", max_sentence);
    else if (result.isError())
      to.result = tl::unexpected(get(result.getError()));
    else
      refuse(errc::unsupported, "a worker's answer of an unknown kind");
    return to;
  }

  std::span<const std::byte> tail_;  ///< of frame 1, not yet taken; if there is one, there are no frames
  bool has_tail_;
  std::span<buffer> frames_;
  std::uint64_t& copies_;
  std::size_t next_ = 0;        ///< the next frame not yet taken
  std::size_t seen_ = 0;        ///< tensors so far
  std::uint64_t transfer_ = 0;  ///< not zero: tensors come in pieces
  std::vector<bulk::part> parts_;
  std::uint64_t bytes_ = 0;
  std::optional<error> problem_;
};

template <class Tensors>
void collect(std::vector<tensor*>& to, Tensors& from) {
  for (auto& t : from) to.push_back(&t);
}

}  // namespace

expected<envelope> decode(std::span<const std::byte> head, std::span<buffer> frames, std::uint64_t& copies) {
  constexpr auto word = sizeof(capnp::word);
  if (head.empty() || head.size() > max_envelope_bytes + tail_size)
    return fail(errc::corrupt, "an envelope of " + std::to_string(head.size()) + " bytes");
  const auto whole = head.size();
  auto rest = head;
  head = head.first(head.size() / word * word);
  static thread_local std::vector<std::uint64_t> aligned;  // a capnp::word each
  if (reinterpret_cast<std::uintptr_t>(head.data()) % word != 0) {
    aligned.resize(head.size() / word);
    std::memcpy(aligned.data(), head.data(), head.size());
    head = std::as_bytes(std::span(aligned));
    ++copies;
  }
  const kj::ArrayPtr<const capnp::word> words(reinterpret_cast<const capnp::word*>(head.data()), head.size() / word);
  try {
    capnp::FlatArrayMessageReader message(words, reader_options(words.size()));
    rest = rest.subspan(static_cast<std::size_t>(message.getEnd() - words.begin()) * word);
    if (rest.size() > tail_size || (!rest.empty() && !frames.empty()))
      return fail(errc::corrupt, "an envelope with " + std::to_string(rest.size()) + " bytes after its end");
    if (whole - rest.size() > max_envelope_bytes)
      return fail(errc::corrupt, "an envelope of " + std::to_string(whole - rest.size()) + " bytes");
    return reader(rest, frames, copies).read(message.getRoot<wire::Envelope>());
  } catch (const kj::Exception& problem) {
    return fail(errc::corrupt, std::string("an envelope that is not Cap'n Proto: ") + problem.getDescription().cStr());
  }
}

void attach(bulk& whole, std::vector<buffer> data) {
  std::vector<tensor*> tensors;
  if (auto* request = std::get_if<infer>(&whole.body)) collect(tensors, request->inputs);
  if (auto* answer = std::get_if<outcome>(&whole.body); answer && answer->result) collect(tensors, *answer->result);
  if (auto* held = std::get_if<payload>(&whole.body); held && held->inputs) collect(tensors, *held->inputs);
  if (auto* many = std::get_if<batch>(&whole.body))
    for (auto& member : many->members) collect(tensors, member.request.inputs);
  if (auto* object = std::get_if<store>(&whole.body)) tensors.push_back(&object->bytes);
  if (auto* told = std::get_if<follows>(&whole.body)) tensors.push_back(&told->plan);
  if (auto* news = std::get_if<plan_news>(&whole.body)) tensors.push_back(&news->plan);
  if (auto* given = std::get_if<sample>(&whole.body)) collect(tensors, given->inputs);
  if (auto* told = std::get_if<breach>(&whole.body)) collect(tensors, told->inputs);
  for (std::size_t i = 0; i < whole.parts.size(); ++i) tensors[whole.parts[i].tensor]->data = std::move(data[i]);
}

}  // namespace shoal::link
