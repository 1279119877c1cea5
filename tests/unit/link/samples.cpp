#include "unit/link/samples.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

namespace shoal::test {

using namespace protocol;
using namespace std::chrono_literals;

namespace {

template <class T>
tensor make(const std::string& name, dtype type, shape dims, const std::vector<T>& values) {
  return {name, type, std::move(dims), buffer::copy(std::as_bytes(std::span(values)))};
}

infer sample_infer() {
  infer body;
  body.id = 0x1122334455667788;
  body.attempt = 3;
  body.time_left = 9'876'543us;
  body.model = "mini.lm-v2";
  body.version = 12;
  body.inputs.push_back(make<std::int64_t>("input_ids", dtype::int64, {1, 3}, {101, 7592, 102}));
  body.inputs.push_back(make<float>("scale", dtype::fp32, {}, {0.5F}));
  body.inputs.push_back(make<std::uint8_t>("none", dtype::uint8, {0, 7}, {}));
  body.outputs = {"pooled", "tokens"};
  body.deaths = 1;
  body.trace = {0xa1, 0xb2, 0xc3};
  return body;
}

infer critical_infer() {
  auto body = sample_infer();
  body.priority = priority::critical;
  return body;
}

infer probing_infer() {
  auto body = sample_infer();
  body.is_probe = true;
  return body;
}

infer held_infer() {
  auto body = sample_infer();
  body.payload_held = true;
  for (auto& each : body.inputs) each.data = {};
  body.inputs.pop_back();
  body.outputs.clear();
  body.time_left = -5us;
  return body;
}

error sample_error() {
  error why{errc::overloaded, "the queue of model 'm' is full (64 requests): come back in 250 ms"};
  why.retry_after = 250ms;
  return why;
}

model_spec sample_model() {
  model_spec spec;
  spec.name = "mini.lm-v2";
  spec.version = 12;
  spec.state = model_state::failed;
  spec.reason = "node 'addmm_3' uses an operator that is not on the list";
  spec.inputs.push_back({"input_ids", dtype::int64, {{1, 32, "b"}, {2, 512, "s"}}, 0});
  spec.inputs.push_back({"mask", dtype::boolean, {{1, 32, "b"}, dimension::fixed(4)}, 1.5});
  spec.outputs.push_back({"pooled", dtype::bf16, {{1, 32, "b"}, {0, std::numeric_limits<std::int64_t>::max(), ""}}, 0});
  spec.batch_symbol = "b";
  spec.pad_symbol = "s";
  spec.max_batch = 17;
  return spec;
}

link::hello sample_hello() {
  return {1, 2, service_kind::scheduler, 0xfeedface, sample_epoch, {"bulk", "trace"}, 64, 1 << 20, 1 << 28};
}

object_key sample_key(unsigned first) {
  object_key key;
  for (std::size_t i = 0; i < key.bytes.size(); ++i) key.bytes[i] = static_cast<std::byte>(first + i);
  return key;
}

model_statistics sample_statistics() {
  using std::chrono::milliseconds;
  return {"m",       4,         milliseconds(1'700'000'000'123), 55, 7.25, {1, 2ns}, {3, 4ns}, {5, 6ns}, {7, 8ns},
          {9, 10ns}, {11, 12ns}};
}

store sample_store() {
  return {91, sample_key(1), sample_key(101), "linear-f32-1-avx512",
          make<std::uint8_t>("object", dtype::uint8, {5}, {9, 8, 7, 6, 5})};
}

plan_target sample_target() { return {"mini.lm-v2", 12, sample_key(7), "cpu/avx512_bf16/AMD EPYC"}; }

tensor sample_plan() { return make<std::uint8_t>("plan", dtype::uint8, {4}, {'{', '"', '"', '}'}); }

plan_report sample_plan_report() {
  return {sample_target(),   "05c1d4a1b2e3", "measured",   "traffic", 4, 3.5, 0.02, 0.03,
          "30 int8, 3 bf16", "settled",      "3.50 times", true,      2, 1,   32,   1};
}

std::vector<tensor> sample_outputs() { return {make<double>("pooled", dtype::fp64, {2, 1}, {1.25, -2.5})}; }

bool same(const tensor& a, const tensor& b) {
  return a.name == b.name && a.type == b.type && a.dims == b.dims && std::ranges::equal(a.data.bytes(), b.data.bytes());
}
bool same(const std::vector<tensor>& a, const std::vector<tensor>& b) {
  return std::ranges::equal(a, b, [](const tensor& x, const tensor& y) { return same(x, y); });
}
bool same(const expected<std::vector<tensor>>& a, const expected<std::vector<tensor>>& b) {
  if (a.has_value() != b.has_value()) return false;
  return a ? same(*a, *b) : a.error() == b.error();
}
bool same_body(const infer& a, const infer& b) {
  return a.id == b.id && a.attempt == b.attempt && a.time_left == b.time_left && a.model == b.model &&
         a.version == b.version && same(a.inputs, b.inputs) && a.payload_held == b.payload_held &&
         a.outputs == b.outputs && a.deaths == b.deaths && a.trace == b.trace && a.priority == b.priority &&
         a.is_probe == b.is_probe;
}
bool same_body(const cancel& a, const cancel& b) { return a.key == b.key; }
bool same_body(const outcome& a, const outcome& b) {
  return a.id == b.id && a.attempt == b.attempt && same(a.result, b.result) && a.model == b.model &&
         a.version == b.version && a.queue_time == b.queue_time && a.compute_time == b.compute_time &&
         a.batch_rows == b.batch_rows && a.input_time == b.input_time && a.output_time == b.output_time &&
         a.plan == b.plan;
}
bool same_body(const follows& a, const follows& b) {
  return a.target == b.target && same(a.plan, b.plan) && a.plans_here == b.plans_here && a.refused == b.refused &&
         a.is_served == b.is_served;
}
bool same_body(const plan_news& a, const plan_news& b) { return a.target == b.target && same(a.plan, b.plan); }
bool same_body(const sampling& a, const sampling& b) { return a.target == b.target && a.executions == b.executions; }
bool same_body(const protocol::sample& a, const protocol::sample& b) {
  return a.target == b.target && same(a.inputs, b.inputs);
}
bool same_body(const breach& a, const breach& b) {
  return a.target == b.target && a.epoch == b.epoch && a.error == b.error && a.budget == b.budget &&
         a.samples == b.samples && a.node == b.node && same(a.inputs, b.inputs);
}
bool same_body(const batch& a, const batch& b) {
  return a.id == b.id && a.offer == b.offer && a.takes == b.takes && a.more == b.more &&
         std::ranges::equal(a.members, b.members, [](const batch_member& x, const batch_member& y) {
           return x.key == y.key && same_body(x.request, y.request) && x.queue_time == y.queue_time;
         });
}
bool same_body(const offer& a, const offer& b) { return a.id == b.id && a.busy == b.busy; }
bool same_body(const want& a, const want& b) { return a.most_urgent == b.most_urgent; }
bool same_body(const withdraw& a, const withdraw& b) { return a.offer == b.offer; }
bool same_body(const started& a, const started& b) { return a.batch == b.batch; }
bool same_body(const recall& a, const recall& b) { return a.batch == b.batch; }
bool same_body(const completion& a, const completion& b) {
  return a.batch == b.batch && a.finished == b.finished && a.returned == b.returned &&
         a.compute_time == b.compute_time && a.rows == b.rows && a.batch_over == b.batch_over && a.offer == b.offer &&
         a.failed == b.failed && a.busy == b.busy && a.apart == b.apart;
}
bool same_body(const fetch& a, const fetch& b) { return a.id == b.id && a.attempt == b.attempt; }
bool same_body(const payload& a, const payload& b) {
  return a.id == b.id && a.attempt == b.attempt && same(a.inputs, b.inputs);
}
bool same_body(const catalogue& a, const catalogue& b) { return a.models == b.models; }
bool same_body(const describe&, const describe&) { return true; }
bool same_body(const inquire&, const inquire&) { return true; }
bool same_body(const report& a, const report& b) { return a.services == b.services; }
bool same_body(const manage& a, const manage& b) {
  return a.key == b.key && a.verb == b.verb && a.model == b.model && a.version == b.version && a.replace == b.replace &&
         a.time_left == b.time_left;
}
bool same_body(const managed& a, const managed& b) {
  if (a.key != b.key || a.result.has_value() != b.result.has_value()) return false;
  if (!a.result) return a.result.error() == b.result.error();
  return std::ranges::equal(*a.result, *b.result, [](const worker_answer& x, const worker_answer& y) {
    return x.worker == y.worker && x.result == y.result;
  });
}

bool same_body(const acquire& a, const acquire& b) { return a.id == b.id && a.keys == b.keys && a.verify == b.verify; }
bool same_body(const leased& a, const leased& b) { return a.id == b.id && a.objects == b.objects; }
bool same_body(const store& a, const store& b) {
  return a.id == b.id && a.key == b.key && a.source == b.source && a.layout == b.layout && same(a.bytes, b.bytes);
}
bool same_body(const stored& a, const stored& b) {
  return a.id == b.id && a.result.has_value() == b.result.has_value() &&
         (a.result || a.result.error() == b.result.error());
}
bool same_body(const release& a, const release& b) { return a.keys == b.keys; }

bool same_body(const link::hello& a, const link::hello& b) { return a == b; }
bool same_body(const link::welcome& a, const link::welcome& b) { return a.self == b.self; }
bool same_body(const link::refused& a, const link::refused& b) { return a.reason == b.reason; }
bool same_body(const link::heartbeat& a, const link::heartbeat& b) { return a.sequence == b.sequence; }
bool same_body(const link::goodbye&, const link::goodbye&) { return true; }
bool same_body(const link::piece& a, const link::piece& b) {
  return a.transfer == b.transfer && a.tensor == b.tensor && a.offset == b.offset &&
         std::ranges::equal(a.bytes.bytes(), b.bytes.bytes());
}
bool same_body(const link::more& a, const link::more& b) { return a.transfer == b.transfer; }

template <class Variant>
bool same_variant(const Variant& a, const Variant& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& x) { return same_body(x, std::get<std::decay_t<decltype(x)>>(b)); }, a);
}

}  // namespace

bool same(const message& a, const message& b) { return same_variant(a, b); }
bool same(const link::control& a, const link::control& b) { return same_variant(a, b); }

any_body as_of_version_1(any_body body) {
  const auto without = [](link::hello& said) { said.newest = said.oldest; };
  if (auto* said = std::get_if<link::control>(&body)) {
    if (auto* hello = std::get_if<link::hello>(said)) without(*hello);
    if (auto* welcome = std::get_if<link::welcome>(said)) without(welcome->self);
    return body;
  }
  auto& said = std::get<message>(body);
  if (auto* ended = std::get_if<outcome>(&said)) ended->input_time = ended->output_time = {}, ended->plan.clear();
  if (auto* over = std::get_if<completion>(&said))
    *over = completion{over->batch, over->finished,   over->returned, over->compute_time,
                       over->rows,  over->batch_over, over->offer};
  if (auto* given = std::get_if<batch>(&said)) given->takes = {}, given->more.reset();
  if (auto* offered = std::get_if<offer>(&said)) offered->busy = {};
  if (auto* told = std::get_if<report>(&said))
    for (auto& service : told->services) service.models.clear(), service.plans.clear();
  return body;
}

std::vector<std::vector<std::byte>> read_golden(const std::string& name) {
  std::ifstream file(std::filesystem::path(GOLDEN_DIR) / (name + ".hex"));
  std::vector<std::vector<std::byte>> result;
  for (std::string line; std::getline(file, line);) {
    auto& bytes = result.emplace_back();
    for (std::size_t i = 0; i + 1 < line.size(); i += 2)
      bytes.push_back(static_cast<std::byte>(std::stoi(line.substr(i, 2), nullptr, 16)));
  }
  return result;
}

std::vector<sample> samples() {
  using link::control;
  link::piece part{3, 2, 4194304, buffer::copy(std::as_bytes(std::span("piece", 5)))};
  batch members{31, 32, {}, 1750us, priority::critical};
  members.members.push_back({{0xabc, held_infer().id}, held_infer(), 1500us});
  members.members.push_back({{0xdef, sample_infer().id}, sample_infer(), 2500us});
  completion over{31, {{1, 2}, {3, 4}}, {{5, 6}}, 4321us, 8, true, 33, 1, 2300us, true};
  completion returns{31, {}, {{5, 6}}, 0us, 0, false, 0};
  return {
      {"hello", control(sample_hello())},
      {"welcome", control(link::welcome{sample_hello()})},
      {"refused", control(link::refused{{errc::incompatible, "this gateway speaks protocol version 1"}})},
      {"heartbeat", control(link::heartbeat{99})},
      {"goodbye", control(link::goodbye{})},
      {"piece", control(part)},
      {"infer", message(sample_infer())},
      {"infer_held", message(held_infer())},
      {"infer_critical", message(critical_infer())},
      {"infer_probe", message(probing_infer())},
      {"cancel", message(cancel{{0xabc, 77}})},
      {"outcome", message(outcome{7, 2, sample_outputs(), "m", 4, 11us, 22us, 5, 3us, 4us, "05c1d4a1b2e3"})},
      {"outcome_error", message(outcome{7, 2, tl::unexpected(sample_error()), "m", 4, 11us, 0us, 0})},
      {"batch", message(members)},
      {"offer", message(offer{41, 700us})},
      {"completion", message(over)},
      {"completion_returns", message(returns)},
      {"recall", message(recall{31})},
      {"want", message(want{priority::critical})},
      {"withdraw", message(withdraw{41})},
      {"started", message(started{32})},
      {"fetch", message(fetch{7, 2})},
      {"payload", message(payload{7, 2, sample_infer().inputs})},
      {"payload_error", message(payload{7, 2, tl::unexpected(sample_error())})},
      {"catalogue", message(catalogue{{sample_model(), model_spec{}}})},
      {"describe", message(describe{})},
      {"inquire", message(inquire{})},
      {"report", message(report{{{"worker", 5, {{"batches", 3}, {"rows_per_batch", 2.5}}, {}, {}},
                                 {"gateway", 6, {}, {sample_statistics()}, {sample_plan_report()}}}})},
      {"manage_load", message(manage{{0xabc, 9}, life_verb::load, "mini.lm-v2", 13, true, 30'000'000us})},
      {"manage_unload", message(manage{{0, 10}, life_verb::unload, "m", 0, false, 1us})},
      {"managed",
       message(managed{{0xabc, 9},
                       std::vector<worker_answer>{{5, "loaded version 13"}, {6, tl::unexpected(sample_error())}}})},
      {"managed_error", message(managed{{0, 10}, tl::unexpected(sample_error())})},
      {"more", control(link::more{3})},
      {"acquire", message(acquire{81, {sample_key(1), sample_key(101)}, true})},
      {"leased",
       message(leased{81, {{sample_key(1), object_state::ready, 4096}, {sample_key(101), object_state::failed, 7}}})},
      {"store", message(sample_store())},
      {"stored", message(stored{91, {}})},
      {"stored_error", message(stored{92, tl::unexpected(sample_error())})},
      {"release", message(release{{sample_key(101)}})},
      {"follows", message(follows{sample_target(), sample_plan(), true, "it is for another device", true})},
      {"follows_nothing",
       message(follows{sample_target(), make<std::uint8_t>("plan", dtype::uint8, {0}, {}), false, "", false})},
      {"plan_news", message(plan_news{sample_target(), sample_plan()})},
      {"sampling", message(sampling{sample_target(), 17})},
      {"sample", message(protocol::sample{sample_target(), sample_infer().inputs})},
      {"breach", message(breach{sample_target(), "05c1d4a1b2e3", 0.25, 0.03, 20, "linear_3", sample_infer().inputs})},
  };
}

std::vector<std::vector<std::byte>> frames_of(const any_body& body) {
  const auto bytes = [](const buffer& from) {
    return std::vector<std::byte>(from.bytes().begin(), from.bytes().end());
  };
  std::vector<std::vector<std::byte>> frames;
  if (const auto* said = std::get_if<link::control>(&body)) {
    frames.push_back(link::encode(sample_epoch, *said));
    if (const auto* part = std::get_if<link::piece>(said)) frames.push_back(bytes(part->bytes));
    return frames;
  }
  auto whole = link::encode(sample_epoch, std::get<message>(body));
  if (!whole) return frames;
  frames.push_back(std::move(whole->head));
  for (const auto& each : whole->tensors) frames.push_back(bytes(each));
  return frames;
}

expected<link::envelope> decode_frames(const std::vector<std::vector<std::byte>>& frames, std::uint64_t& copies) {
  if (frames.empty()) return link::decode({}, {}, copies);
  std::vector<buffer> rest;
  for (std::size_t i = 1; i < frames.size(); ++i) rest.push_back(buffer::copy(frames[i]));
  return link::decode(frames[0], rest, copies);
}

}  // namespace shoal::test
