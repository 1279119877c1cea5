#include <algorithm>
#include <cstring>
#include <optional>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include "link/codec.hpp"
#include "mesh.capnp.h"

namespace shoal::link {

static_assert(protocol::oldest_protocol == wire::PROTOCOL_VERSION &&
              protocol::newest_protocol == wire::NEWEST_VERSION && piece_size == wire::PIECE_SIZE &&
              tail_size == wire::TAIL_SIZE);

namespace {

using namespace shoal::protocol;

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
overloaded(Ts...) -> overloaded<Ts...>;

/// Most envelopes fit into this many words, kept per thread so that encoding one allocates only what it returns.
constexpr std::size_t scratch_words = 512;

bool has_data(const tensor& t) {
  if (!t.data.empty()) return true;
  return std::find(t.dims.begin(), t.dims.end(), 0) != t.dims.end();
}

expected<std::uint64_t> checked_size(const tensor& t) {
  if (!has_data(t)) {
    auto count = element_count(t.dims);  // a descriptor only
    if (!count) return count;
    return std::uint64_t{0};
  }
  auto size = byte_size(t.type, t.dims);
  if (!size) return size;
  if (*size != t.data.size())
    return fail(errc::invalid_argument, "tensor '" + t.name + "' of shape " + to_string(t.dims) + " needs " +
                                            std::to_string(*size) + " bytes but has " + std::to_string(t.data.size()));
  return size;
}

template <class Message, class Visit>
void visit_tensors(const Message& body, Visit&& visit) {
  if constexpr (std::is_same_v<Message, infer>) {
    for (const auto& t : body.inputs) visit(t);
  } else if constexpr (std::is_same_v<Message, outcome>) {
    if (body.result)
      for (const auto& t : *body.result) visit(t);
  } else if constexpr (std::is_same_v<Message, payload>) {
    if (body.inputs)
      for (const auto& t : *body.inputs) visit(t);
  } else if constexpr (std::is_same_v<Message, batch>) {
    for (const auto& member : body.members)
      for (const auto& t : member.request.inputs) visit(t);
  } else if constexpr (std::is_same_v<Message, store>) {
    visit(body.bytes);
  } else if constexpr (std::is_same_v<Message, follows> || std::is_same_v<Message, plan_news>) {
    visit(body.plan);
  } else if constexpr (std::is_same_v<Message, sample> || std::is_same_v<Message, breach>) {
    for (const auto& t : body.inputs) visit(t);
  }
}

std::int64_t saturated(microseconds time) { return std::clamp(time.count(), -max_time_us, max_time_us); }
std::uint64_t duration(microseconds time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, saturated(time)));
}

/// Fills one envelope and remembers the first thing the receiver would refuse.
class writer {
 public:
  explicit writer(std::vector<buffer>& tensors) : tensors_(tensors) {}

  [[nodiscard]] const std::optional<error>& problem() const { return problem_; }

  void put(wire::Envelope::Builder to, const infer& body, std::uint64_t transfer) {
    auto out = to.initInfer();
    put(out, body);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const cancel& body, std::uint64_t) { put(to.initCancel(), body.key); }

  void put(wire::Envelope::Builder to, const outcome& body, std::uint64_t transfer) {
    auto out = to.initOutcome();
    out.setId(body.id);
    out.setAttempt(body.attempt);
    if (body.result)
      put(out.getResult().initOutputs(count(body.result->size(), max_tensors, "outputs")), *body.result);
    else
      put(out.getResult().initError(), body.result.error());
    out.setModel(name(body.model, "model"));
    out.setVersion(body.version);
    out.setQueueUs(duration(body.queue_time));
    out.setComputeUs(duration(body.compute_time));
    out.setBatchRows(body.batch_rows);
    out.setInputUs(duration(body.input_time));
    out.setOutputUs(duration(body.output_time));
    out.setPlan(name(body.plan, "plan"));
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const batch& body, std::uint64_t transfer) {
    auto out = to.initBatch();
    out.setId(body.id);
    out.setOffer(body.offer);
    auto members = out.initMembers(count(body.members.size(), max_members, "batch members"));
    for (unsigned i = 0; i < members.size(); ++i) {
      const auto& member = body.members[i];
      if (member.key.id != member.request.id)
        refuse(errc::invalid_argument, "a batch member's key and request must have the same id");
      members[i].setGateway(member.key.gateway);
      members[i].setQueueUs(duration(member.queue_time));
      put(members[i].initRequest(), member.request);
    }
    out.initBulk().setTransfer(transfer);
    out.setTakesUs(duration(body.takes));
    if (body.more) out.getMore().setMostUrgent(static_cast<wire::Priority>(*body.more));
  }

  void put(wire::Envelope::Builder to, const offer& body, std::uint64_t) {
    auto out = to.initOffer();
    out.setId(body.id);
    out.setBusyUs(duration(body.busy));
  }

  void put(wire::Envelope::Builder to, const completion& body, std::uint64_t) {
    auto out = to.initCompletion();
    out.setBatch(body.batch);
    put(out.initFinished(count(body.finished.size(), max_keys, "finished requests")), body.finished);
    put(out.initReturned(count(body.returned.size(), max_keys, "returned requests")), body.returned);
    out.setComputeUs(duration(body.compute_time));
    out.setRows(body.rows);
    out.setBatchOver(body.batch_over);
    out.setOffer(body.offer);
    out.setFailed(body.failed);
    out.setBusyUs(duration(body.busy));
    out.setApart(body.apart);
  }

  void put(wire::Envelope::Builder to, const recall& body, std::uint64_t) { to.initRecall().setBatch(body.batch); }
  void put(wire::Envelope::Builder to, const want& body, std::uint64_t) {
    to.setWant(static_cast<wire::Priority>(body.most_urgent));
  }
  void put(wire::Envelope::Builder to, const withdraw& body, std::uint64_t) { to.setWithdraw(body.offer); }
  void put(wire::Envelope::Builder to, const started& body, std::uint64_t) { to.setStarted(body.batch); }

  void put(wire::Envelope::Builder to, const fetch& body, std::uint64_t) {
    auto out = to.initFetch();
    out.setId(body.id);
    out.setAttempt(body.attempt);
  }

  void put(wire::Envelope::Builder to, const payload& body, std::uint64_t transfer) {
    auto out = to.initPayload();
    out.setId(body.id);
    out.setAttempt(body.attempt);
    if (body.inputs)
      put(out.getInputs().initTensors(count(body.inputs->size(), max_tensors, "inputs")), *body.inputs);
    else
      put(out.getInputs().initError(), body.inputs.error());
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const catalogue& body, std::uint64_t) {
    auto models = to.initCatalogue().initModels(count(body.models.size(), max_models, "models"));
    for (unsigned i = 0; i < models.size(); ++i) put(models[i], body.models[i]);
  }

  void put(wire::Envelope::Builder to, const describe&, std::uint64_t) { to.setDescribe(); }
  void put(wire::Envelope::Builder to, const inquire&, std::uint64_t) { to.setInquire(); }

  static void put(wire::DurationSum::Builder to, const duration_sum& from) {
    to.setCount(from.count);
    to.setTotalNs(static_cast<std::uint64_t>(from.total.count()));
  }

  void put(wire::ModelStatistics::Builder to, const model_statistics& from) {
    to.setModel(name(from.model, "model"));
    to.setVersion(from.version);
    to.setLastInferenceMs(static_cast<std::uint64_t>(from.last_inference.count()));
    to.setRows(from.rows);
    to.setExecutions(from.executions);
    put(to.initSuccess(), from.success);
    put(to.initFail(), from.fail);
    put(to.initQueue(), from.queue);
    put(to.initComputeInput(), from.compute_input);
    put(to.initComputeInfer(), from.compute_infer);
    put(to.initComputeOutput(), from.compute_output);
  }

  void put(wire::Envelope::Builder to, const report& body, std::uint64_t) {
    auto services = to.initReport().initServices(count(body.services.size(), max_members, "service reports"));
    for (unsigned i = 0; i < services.size(); ++i) {
      const auto& from = body.services[i];
      services[i].setService(name(from.service, "service"));
      services[i].setInstance(from.instance);
      auto models = services[i].initModels(count(from.models.size(), max_models, "statistics of models"));
      for (unsigned j = 0; j < models.size(); ++j) put(models[j], from.models[j]);
      auto figures = services[i].initFigures(count(from.figures.size(), max_figures, "figures"));
      for (unsigned j = 0; j < figures.size(); ++j) {
        figures[j].setName(name(from.figures[j].name, "figure"));
        figures[j].setValue(from.figures[j].value);
      }
      auto plans = services[i].initPlans(count(from.plans.size(), max_models, "plans"));
      for (unsigned j = 0; j < plans.size(); ++j) put(plans[j], from.plans[j]);
    }
  }

  void put(wire::PlanTarget::Builder to, const plan_target& from) {
    to.setModel(name(from.model, "model"));
    to.setVersion(from.version);
    put(to.initArchive(), from.archive);
    to.setDevice(name(from.device, "device"));
  }

  void put(wire::PlanReport::Builder to, const plan_report& from) {
    put(to.initTarget(), from.target);
    to.setEpoch(name(from.epoch, "plan"));
    to.setPolicy(name(from.policy, "policy"));
    to.setCalibratedOn(name(from.calibrated_on, "kind of sample"));
    to.setGeneration(from.generation);
    to.setSpeedup(from.speedup);
    to.setError(from.error);
    to.setBudget(from.budget);
    to.setNodes(sentence(from.nodes));
    to.setState(sentence(from.state));
    to.setSaid(sentence(from.said));
    to.setIsPlannedHere(from.is_planned_here);
    to.setWorkers(from.workers);
    to.setFollowing(from.following);
    to.setSamples(from.samples);
    to.setBreaches(from.breaches);
  }

  void put(wire::Envelope::Builder to, const follows& body, std::uint64_t transfer) {
    auto out = to.initFollows();
    put(out.initTarget(), body.target);
    put(out.initPlan(), body.plan);
    out.setPlansHere(body.plans_here);
    out.setRefused(sentence(body.refused));
    out.setIsServed(body.is_served);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const plan_news& body, std::uint64_t transfer) {
    auto out = to.initPlanNews();
    put(out.initTarget(), body.target);
    put(out.initPlan(), body.plan);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const sampling& body, std::uint64_t) {
    auto out = to.initSampling();
    put(out.initTarget(), body.target);
    out.setExecutions(body.executions);
  }

  void put(wire::Envelope::Builder to, const sample& body, std::uint64_t transfer) {
    auto out = to.initSample();
    put(out.initTarget(), body.target);
    put(out.initInputs(count(body.inputs.size(), max_tensors, "inputs")), body.inputs);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const breach& body, std::uint64_t transfer) {
    auto out = to.initBreach();
    put(out.initTarget(), body.target);
    out.setEpoch(name(body.epoch, "plan"));
    out.setError(body.error);
    out.setBudget(body.budget);
    out.setSamples(body.samples);
    out.setNode(sentence(body.node));
    put(out.initInputs(count(body.inputs.size(), max_tensors, "inputs")), body.inputs);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const acquire& body, std::uint64_t) {
    auto out = to.initAcquire();
    out.setId(body.id);
    put(out.initKeys(count(body.keys.size(), max_keys, "object keys")), body.keys);
    out.setVerify(body.verify);
  }

  void put(wire::Envelope::Builder to, const leased& body, std::uint64_t) {
    auto out = to.initLeased();
    out.setId(body.id);
    auto objects = out.initObjects(count(body.objects.size(), max_keys, "leased objects"));
    for (unsigned i = 0; i < objects.size(); ++i) {
      put(objects[i].initKey(), body.objects[i].key);
      objects[i].setState(static_cast<std::uint8_t>(body.objects[i].state));
      objects[i].setSize(body.objects[i].size);
    }
  }

  void put(wire::Envelope::Builder to, const store& body, std::uint64_t transfer) {
    auto out = to.initStore();
    out.setId(body.id);
    put(out.initKey(), body.key);
    put(out.initSource(), body.source);
    out.setLayout(name(body.layout, "layout"));
    put(out.initBytes(), body.bytes);
    out.initBulk().setTransfer(transfer);
  }

  void put(wire::Envelope::Builder to, const stored& body, std::uint64_t) {
    auto out = to.initStored();
    out.setId(body.id);
    out.setFailed(!body.result);
    if (!body.result) put(out.initError(), body.result.error());
  }

  void put(wire::Envelope::Builder to, const release& body, std::uint64_t) {
    put(to.initRelease().initKeys(count(body.keys.size(), max_keys, "object keys")), body.keys);
  }

  void put(wire::Envelope::Builder to, const manage& body, std::uint64_t) {
    auto out = to.initManage();
    put(out.initKey(), body.key);
    out.setVerb(body.verb == life_verb::load ? wire::LifeVerb::LOAD : wire::LifeVerb::UNLOAD);
    out.setModel(name(body.model, "model"));
    out.setVersion(body.version);
    out.setReplace(body.replace);
    out.setTimeLeftUs(saturated(body.time_left));
  }

  void put(wire::Envelope::Builder to, const managed& body, std::uint64_t) {
    auto out = to.initManaged();
    put(out.initKey(), body.key);
    if (!body.result) return put(out.getResult().initError(), body.result.error());
    auto workers = out.getResult().initWorkers(count(body.result->size(), max_members, "answers of workers"));
    for (unsigned i = 0; i < workers.size(); ++i) {
      const auto& from = (*body.result)[i];
      workers[i].setWorker(from.worker);
      if (from.result)
        workers[i].getResult().setDone(sentence(*from.result));
      else
        put(workers[i].getResult().initError(), from.result.error());
    }
  }

  void put(wire::Error::Builder to, const error& body) {
    to.setCode(static_cast<std::uint16_t>(body.code));
    to.setMessage(sentence(body.message));
    to.setRetryable(body.retryable);
    to.setRetryAfterMs(static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(body.retry_after.count(), 0, std::numeric_limits<std::uint32_t>::max())));
  }

 private:
  void refuse(errc code, std::string why) {
    if (!problem_) problem_ = error{code, std::move(why)};
  }

  unsigned count(std::size_t size, std::size_t limit, const char* what) {
    if (size <= limit) return static_cast<unsigned>(size);
    refuse(errc::too_large, std::string("a message with ") + std::to_string(size) + " " + what +
                                " is above the limit of " + std::to_string(limit));
    return 0;
  }

  capnp::Text::Reader name(const std::string& text, const char* what) {
    if (text.size() <= max_name) return {text.c_str(), text.size()};
    refuse(errc::too_large, std::string("the name of a ") + what + " has " + std::to_string(text.size()) +
                                " bytes, above the limit of " + std::to_string(max_name));
    return "";
  }

  static capnp::Text::Reader sentence(const std::string& text) {
    if (text.size() <= max_sentence) return {text.data(), text.size()};
    static thread_local std::string cut;
    cut.assign(text, 0, max_sentence);
    return {cut.data(), cut.size()};
  }

  void put(wire::RequestKey::Builder to, const request_key& key) {
    to.setGateway(key.gateway);
    to.setId(key.id);
  }

  void put(capnp::List<wire::RequestKey>::Builder to, const std::vector<request_key>& keys) {
    for (unsigned i = 0; i < to.size(); ++i) put(to[i], keys[i]);
  }

  static void put(wire::ObjectKey::Builder to, const object_key& key) {
    std::uint64_t words[4];
    std::memcpy(words, key.bytes.data(), sizeof words);
    to.setWord0(words[0]);
    to.setWord1(words[1]);
    to.setWord2(words[2]);
    to.setWord3(words[3]);
  }

  static void put(capnp::List<wire::ObjectKey>::Builder to, const std::vector<object_key>& keys) {
    for (unsigned i = 0; i < to.size(); ++i) put(to[i], keys[i]);
  }

  void put(wire::Tensor::Builder to, const tensor& t) {
    to.setName(name(t.name, "tensor"));
    to.setDtype(static_cast<std::uint8_t>(t.type));
    if (auto size = checked_size(t); !size) return refuse(size.error().code, size.error().message);
    auto dims = to.initDims(static_cast<unsigned>(t.dims.size()));
    for (unsigned j = 0; j < dims.size(); ++j) dims.set(j, t.dims[j]);
    if (!has_data(t)) return;
    to.setHasData(true);
    tensors_.push_back(t.data);
  }

  void put(capnp::List<wire::Tensor>::Builder to, const std::vector<tensor>& tensors) {
    for (unsigned i = 0; i < to.size(); ++i) put(to[i], tensors[i]);
    if (tensors_.size() > max_tensors)
      refuse(errc::too_large,
             "a message with more than " + std::to_string(max_tensors) + " tensors is above the limit");
  }

  void put(wire::Infer::Builder to, const infer& body) {
    to.setId(body.id);
    to.setAttempt(body.attempt);
    to.setTimeLeftUs(saturated(body.time_left));
    to.setModel(name(body.model, "model"));
    to.setVersion(body.version);
    put(to.initInputs(count(body.inputs.size(), max_tensors, "inputs")), body.inputs);
    to.setPayloadHeld(body.payload_held);
    auto outputs = to.initOutputs(count(body.outputs.size(), max_tensors, "outputs"));
    for (unsigned i = 0; i < outputs.size(); ++i) outputs.set(i, name(body.outputs[i], "output"));
    to.setDeaths(body.deaths);
    to.setPriority(static_cast<wire::Priority>(body.priority));
    to.setIsProbe(body.is_probe);
    if (body.trace == trace_context{}) return;
    auto trace = to.initTrace();
    trace.setTraceHigh(body.trace.trace_high);
    trace.setTraceLow(body.trace.trace_low);
    trace.setSpan(body.trace.span);
  }

  void put(capnp::List<wire::TensorSpec>::Builder to, const std::vector<tensor_spec>& specs) {
    for (unsigned i = 0; i < to.size(); ++i) {
      to[i].setName(name(specs[i].name, "tensor"));
      to[i].setDtype(static_cast<std::uint8_t>(specs[i].type));
      to[i].setPadValue(specs[i].pad_value);
      auto dims = to[i].initDims(count(specs[i].dims.size(), max_rank, "dimensions"));
      for (unsigned j = 0; j < dims.size(); ++j) {
        dims[j].setMin(specs[i].dims[j].min);
        dims[j].setMax(specs[i].dims[j].max);
        dims[j].setSymbol(name(specs[i].dims[j].symbol, "symbol"));
      }
    }
  }

  void put(wire::ModelSpec::Builder to, const model_spec& spec) {
    to.setName(name(spec.name, "model"));
    to.setVersion(spec.version);
    to.setState(static_cast<std::uint8_t>(spec.state));
    to.setReason(sentence(spec.reason));
    put(to.initInputs(count(spec.inputs.size(), max_tensors, "inputs")), spec.inputs);
    put(to.initOutputs(count(spec.outputs.size(), max_tensors, "outputs")), spec.outputs);
    to.setBatchSymbol(name(spec.batch_symbol, "symbol"));
    to.setPadSymbol(name(spec.pad_symbol, "symbol"));
    to.setMaxBatch(spec.max_batch);
  }

  std::vector<buffer>& tensors_;
  std::optional<error> problem_;
};

/// Standard framing (https://capnproto.org/encoding.html#serialization-over-a-stream).
std::vector<std::byte> flatten(capnp::MessageBuilder& message) {
  auto segments = message.getSegmentsForOutput();
  const std::size_t table = (segments.size() / 2 + 1) * sizeof(std::uint64_t);
  std::size_t total = table;
  for (auto segment : segments) total += segment.asBytes().size();
  std::vector<std::byte> bytes(total);
  std::vector<std::uint32_t> sizes(table / sizeof(std::uint32_t));
  sizes[0] = static_cast<std::uint32_t>(segments.size() - 1);
  for (std::size_t i = 0; i < segments.size(); ++i) sizes[i + 1] = static_cast<std::uint32_t>(segments[i].size());
  std::memcpy(bytes.data(), sizes.data(), table);
  auto* to = bytes.data() + table;
  for (auto segment : segments) {
    auto from = segment.asBytes();
    std::memcpy(to, from.begin(), from.size());
    to += from.size();
  }
  return bytes;
}

/// The builder zeroes what it used of the scratch when it ends, as it demands to find it.
kj::ArrayPtr<capnp::word> scratch() {
  alignas(8) static thread_local std::byte words[scratch_words * sizeof(capnp::word)] = {};
  return {reinterpret_cast<capnp::word*>(words), scratch_words};
}

void put_hello(wire::Hello::Builder to, const hello& from) {
  to.setProtocolVersion(from.oldest);
  to.setNewestVersion(from.newest);
  to.setService(static_cast<wire::ServiceKind>(from.service));
  to.setInstance(from.instance);
  to.setEpoch(from.epoch);
  auto capabilities = to.initCapabilities(static_cast<unsigned>(std::min(from.capabilities.size(), max_capabilities)));
  for (unsigned i = 0; i < capabilities.size(); ++i) capabilities.set(i, from.capabilities[i].substr(0, max_name));
  to.setCreditMessages(from.credit_messages);
  to.setCreditBytes(from.credit_bytes);
  to.setMaxMessageBytes(from.max_message_bytes);
}

}  // namespace

std::optional<std::uint32_t> common_version(const hello& a, const hello& b) noexcept {
  const auto newest = std::min(a.newest, b.newest);
  if (newest < std::max(a.oldest, b.oldest)) return std::nullopt;
  return newest;
}

std::string versions_of(const hello& said) {
  if (said.oldest == said.newest) return "version " + std::to_string(said.oldest);
  return "versions " + std::to_string(said.oldest) + " to " + std::to_string(said.newest);
}

expected<std::uint64_t> tensor_bytes(const message& body) {
  std::uint64_t total = 0;
  std::optional<error> problem;
  std::visit(
      [&](const auto& m) {
        visit_tensors(m, [&](const tensor& t) {
          auto size = checked_size(t);
          if (size)
            total += *size;
          else if (!problem)
            problem = size.error();
        });
      },
      body);
  if (problem) return tl::unexpected(std::move(*problem));
  return total;
}

expected<encoded> encode(std::uint64_t epoch, const message& body, std::uint64_t transfer) {
  capnp::MallocMessageBuilder builder(scratch());
  auto root = builder.initRoot<wire::Envelope>();
  root.setEpoch(epoch);
  encoded result;
  writer out(result.tensors);
  std::visit([&](const auto& m) { out.put(root, m, transfer); }, body);
  if (out.problem()) return tl::unexpected(*out.problem());
  result.head = flatten(builder);
  if (result.head.size() > max_envelope_bytes)
    return fail(errc::too_large, "a message whose descriptors take " + std::to_string(result.head.size()) +
                                     " bytes is above the limit of " + std::to_string(max_envelope_bytes));
  return result;
}

std::vector<std::byte> encode(std::uint64_t epoch, const control& body) {
  capnp::MallocMessageBuilder builder(scratch());
  auto root = builder.initRoot<wire::Envelope>();
  root.setEpoch(epoch);
  std::vector<buffer> none;
  std::visit(overloaded{
                 [&](const hello& m) { put_hello(root.initHello(), m); },
                 [&](const welcome& m) { put_hello(root.initWelcome(), m.self); },
                 [&](const refused& m) { writer(none).put(root.initRefused(), m.reason); },
                 [&](const heartbeat& m) { root.initHeartbeat().setSequence(m.sequence); },
                 [&](const goodbye&) { root.setGoodbye(); },
                 [&](const piece& m) {
                   auto out = root.initPiece();
                   out.setTransfer(m.transfer);
                   out.setTensor(m.tensor);
                   out.setOffset(m.offset);
                 },
                 [&](const more& m) { root.setMore(m.transfer); },
             },
             body);
  return flatten(builder);
}

}  // namespace shoal::link
