// Text requests, with a gateway that the test plays. Token ids stand for text: what tokenizers do is tested elsewhere.
#include "gateway/text/text_state.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <map>

namespace {

using namespace shoal;
using namespace shoal::gateway;
using namespace shoal::protocol;

model_spec embedder(bool pads = true, std::int64_t most = 16) {
  model_spec spec;
  spec.name = "embedder";
  spec.version = 3;
  spec.state = model_state::ready;
  const dimension rows{1, 64, "b"};
  const dimension tokens{1, most, "s"};
  spec.inputs = {{"input_ids", dtype::int64, {rows, tokens}}, {"attention_mask", dtype::int64, {rows, tokens}}};
  spec.outputs = {{"embedding", dtype::fp32, {rows, dimension::fixed(2)}},
                  {"hidden", dtype::fp32, {rows, tokens, dimension::fixed(2)}}};
  spec.batch_symbol = "b";
  if (pads) spec.pad_symbol = "s";
  return spec;
}

std::string ids(std::initializer_list<std::int64_t> values) {
  std::string bytes;
  for (const auto each : values) bytes.append(reinterpret_cast<const char*>(&each), sizeof each);
  return bytes;
}

struct bench {
  struct sent {
    request_id ticket;
    std::uint32_t part;
    request_id job;
    infer request;
  };
  metrics figures;
  std::shared_ptr<board> shown = std::make_shared<board>();
  std::vector<sent> parts;
  std::vector<request_id> withdrawn;
  std::vector<text_done> done;
  time_point now{std::chrono::hours(1)};
  text_state mind;

  explicit bench(model_spec spec = embedder(), text_options options = {})
      : mind(std::move(options), shown,
             {[this](request_id ticket, std::uint32_t part, request_id job, infer request) {
                parts.push_back({ticket, part, job, std::move(request)});
              },
              [this](request_id ticket) { withdrawn.push_back(ticket); },
              [this](text_done told) { done.push_back(std::move(told)); }},
             figures) {
    auto models = std::make_shared<gateway::model_list>();
    models->is_known = true;
    models->models = {std::move(spec)};
    shown->models = models;
  }

  void ask(request_id id, const std::vector<std::string>& lists, bool truncates = false,
           std::vector<std::string> outputs = {}, bool any_version = true) {
    text_order order{id, {}, now + std::chrono::seconds(10), any_version};
    order.request.version = 3;
    order.request.model = "embedder";
    order.request.outputs = std::move(outputs);
    order.request.inputs.push_back(bytes_tensor(token_ids_input, {lists.begin(), lists.end()}));
    if (truncates) {
      const std::byte yes{1};
      order.request.inputs.push_back({std::string(truncate_input), dtype::boolean, {1}, buffer::copy({&yes, 1})});
    }
    mind.on(order, now);
    read();
  }
  void read() {
    while (mind.turn(now)) {
    }
  }
  /// Each row's embedding: its first id, and how many the mask keeps.
  static std::vector<tensor> answer_to(const infer& request) {
    const auto rows = static_cast<std::size_t>(request.inputs[0].dims[0]);
    const auto length = static_cast<std::size_t>(request.inputs[0].dims[1]);
    const auto* first = reinterpret_cast<const std::int64_t*>(request.inputs[0].data.data());
    const auto* mask = reinterpret_cast<const std::int64_t*>(request.inputs[1].data.data());
    std::vector<float> values;
    for (std::size_t row = 0; row < rows; ++row) {
      std::int64_t kept = 0;
      for (std::size_t i = 0; i < length; ++i) kept += mask[row * length + i];
      values.push_back(static_cast<float>(first[row * length]));
      values.push_back(static_cast<float>(kept));
    }
    return {{"embedding",
             dtype::fp32,
             {static_cast<std::int64_t>(rows), 2},
             buffer::copy(std::as_bytes(std::span(values)))}};
  }
  void answer(const sent& which, expected<std::vector<tensor>> result) {
    text_part told{which.job, which.part, {}};
    told.result.result = std::move(result);
    told.result.plan = "fp32";
    told.result.version = 3;
    mind.on(told, now);
    read();
  }
  void answer_all() {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto copy = parts[i];
      answer(copy, answer_to(copy.request));
    }
    parts.clear();
  }
  std::string refusal() {
    REQUIRE(done.size() == 1);
    REQUIRE(!done[0].result.result);
    auto message = done[0].result.result.error().message;
    done.clear();
    return message;
  }
};

std::vector<float> floats(const tensor& of) {
  std::vector<float> values(of.data.size() / sizeof(float));
  std::memcpy(values.data(), of.data.data(), of.data.size());
  return values;
}

}  // namespace

TEST_CASE("rows of like length go together, and the answer has the order of the texts") {
  bench b;
  b.ask(7, {ids({5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), ids({6}), ids({8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), ids({9, 2})});
  REQUIRE(b.parts.size() == 2);
  CHECK(b.parts[0].request.inputs[0].dims == shape{2, 2});
  CHECK(b.parts[1].request.inputs[0].dims == shape{2, 12});
  CHECK(b.parts[0].request.version == 3);
  CHECK(b.parts[0].request.outputs == std::vector<std::string>{"embedding"});
  b.answer_all();
  REQUIRE(b.done.size() == 1);
  CHECK(b.done[0].ticket == 7);
  CHECK(b.done[0].result.plan == "fp32");
  REQUIRE(b.done[0].result.result);
  const auto& outputs = *b.done[0].result.result;
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].dims == shape{4, 2});
  CHECK(floats(outputs[0]) == std::vector<float>{5, 12, 6, 1, 8, 11, 9, 2});
  CHECK(outputs[1].name == token_counts_output);
  std::int64_t counts[4];
  std::memcpy(counts, outputs[1].data.data(), sizeof counts);
  CHECK(counts[0] == 12);
  CHECK(counts[1] == 1);
}

TEST_CASE("a model that cannot be padded gets rows of one length") {
  bench b(embedder(false));
  b.ask(1, {ids({1, 1}), ids({2, 2, 2}), ids({3, 3})});
  REQUIRE(b.parts.size() == 2);
  CHECK(b.parts[0].request.inputs[0].dims == shape{2, 2});
  CHECK(b.parts[1].request.inputs[0].dims == shape{1, 3});
  b.answer_all();
  REQUIRE(b.done.size() == 1);
  CHECK(floats((*b.done[0].result.result)[0]) == std::vector<float>{1, 2, 2, 3, 3, 2});
}

TEST_CASE("a long list is with the workers in part only, in full batches, and others go beside it") {
  text_options options;
  options.rows_in_flight = 64;
  bench b(embedder(), options);
  b.ask(1, std::vector<std::string>(300, ids({4, 4})));
  REQUIRE(b.parts.size() == 2);
  CHECK(b.parts[0].request.inputs[0].dims == shape{32, 2});
  b.ask(2, {ids({5})});
  CHECK(b.parts.size() == 3);
  std::size_t rounds = 0;
  while (b.done.size() < 2 && ++rounds < 100) b.answer_all();
  REQUIRE(b.done.size() == 2);
  CHECK(b.done[0].ticket == 2);
  CHECK((*b.done[1].result.result)[0].dims == shape{300, 2});
}

TEST_CASE("a short list goes in small parts, so that several workers have some") {
  bench b;
  b.ask(1, std::vector<std::string>(20, ids({4, 4})));
  REQUIRE(b.parts.size() == 3);
  CHECK(b.parts[0].request.inputs[0].dims == shape{8, 2});
}

TEST_CASE("what is too long is refused unless it may be cut") {
  bench b(embedder(true, 3));
  b.ask(1, {ids({1}), ids({1, 2, 3, 4})});
  const auto told = b.refusal();
  CHECK(told.find("text 1:") != std::string::npos);
  CHECK(told.find("4 tokens") != std::string::npos);
  CHECK(told.find("truncate") != std::string::npos);
  CHECK(b.parts.empty());
  b.ask(2, {ids({1}), ids({1, 2, 3, 4})}, true);
  b.answer_all();
  REQUIRE(b.done.size() == 1);
  CHECK(floats((*b.done[0].result.result)[0]) == std::vector<float>{1, 1, 1, 3});
}

TEST_CASE("the first part that fails ends the request, and the others are taken back") {
  bench b(embedder(false));
  b.ask(1, {ids({1}), ids({2, 2}), ids({3, 3, 3})});
  REQUIRE(b.parts.size() == 3);
  b.answer(b.parts[1], fail(errc::poisoned, "it ended two workers"));
  CHECK(b.refusal().find("two workers") != std::string::npos);
  CHECK(b.withdrawn.size() == 2);
  // What comes too late is nobody's.
  b.answer(b.parts[0], bench::answer_to(b.parts[0].request));
  CHECK(b.done.empty());
}

TEST_CASE("an overloaded mesh is asked again, until the deadline") {
  bench b;
  b.ask(1, {ids({1})});
  auto part = b.parts.at(0);
  b.parts.clear();
  b.answer(part, fail(errc::overloaded, "full"));
  CHECK(b.done.empty());
  REQUIRE(b.mind.next_wake());
  b.now = *b.mind.next_wake();
  b.mind.on_wake(b.now);
  REQUIRE(b.parts.size() == 1);
  part = b.parts.at(0);
  b.now += std::chrono::seconds(20);
  b.answer(part, fail(errc::overloaded, "full"));
  CHECK(b.refusal() == "full");
}

TEST_CASE("a request that would rest beyond its deadline is told at once that the mesh is full") {
  bench b;
  b.ask(1, {ids({1})});
  error full{errc::overloaded, "full"};
  full.retry_after = milliseconds(60'000);
  b.answer(b.parts.at(0), tl::unexpected(full));
  CHECK(b.refusal() == "full");
}

TEST_CASE("a version that takes over computes all of a list, unless another was asked for by its number") {
  bench b(embedder(false));
  b.ask(1, {ids({1}), ids({2, 2})}, false, {}, true);
  REQUIRE(b.parts.size() == 2);
  b.answer(b.parts[0], bench::answer_to(b.parts[0].request));
  auto models = std::make_shared<gateway::model_list>();
  models->is_known = true;
  models->models = {embedder(false)};
  models->models[0].version = 4;
  b.shown->models = models;
  const auto before = std::exchange(b.parts, {});
  b.answer(before[1], fail(errc::not_found, "it was unloaded"));
  REQUIRE(b.parts.size() == 2);
  CHECK(b.parts[0].request.version == 4);
  // An answer to a part of the version before is nobody's.
  b.answer(before[0], bench::answer_to(before[0].request));
  CHECK(b.done.empty());
  b.answer_all();
  REQUIRE(b.done.size() == 1);
  CHECK(b.done[0].result.result);
  b.done.clear();
  b.ask(2, {ids({1})}, false, {}, false);
  CHECK(b.refusal().find("no version 3") != std::string::npos);
}

TEST_CASE("answers under way take no more room than they may") {
  text_options options;
  options.most_answer_bytes = 100;  // 16 a row: two numbers and a count
  bench b(embedder(), options);
  b.ask(1, {7, ids({1})});
  CHECK(b.refusal().find("fewer texts") != std::string::npos);
  b.ask(2, {4, ids({1})});
  b.ask(3, {4, ids({1})});
  CHECK(b.refusal().find("try again") != std::string::npos);
  b.answer_all();
  REQUIRE(b.done.size() == 1);
  b.done.clear();
  b.ask(4, {4, ids({1})});
  CHECK(b.done.empty());
}

TEST_CASE("a client that leaves takes its parts back") {
  bench b;
  b.ask(1, {ids({1}), ids({1, 2, 3, 4, 5, 6, 7, 8})});
  b.mind.on(withdrawal{1}, b.now);
  CHECK(b.withdrawn.size() == 2);
  b.mind.on(withdrawal{1}, b.now);
  CHECK(b.withdrawn.size() == 2);
}

TEST_CASE("requests that cannot be read are refused by what is wrong with them") {
  bench b;
  b.ask(1, {ids({1}), "12345"});
  CHECK(b.refusal().find("5 bytes") != std::string::npos);
  b.ask(2, {ids({-4})});
  CHECK(b.refusal().find("-4") != std::string::npos);
  b.ask(3, {""});
  CHECK(b.refusal().find("no token") != std::string::npos);
  b.ask(4, {ids({1})}, false, {"hidden"});
  CHECK(b.refusal().find("hidden") != std::string::npos);
  b.ask(5, {ids({1})}, false, {"token_counts"});
  CHECK(b.parts.size() == 1);
  for (const auto& [model, said] : {std::pair("embedder", "tokenizer.json"), {"nobody", "nobody"}}) {
    text_order order{6, {}, b.now + std::chrono::seconds(1)};
    order.request.model = model;
    order.request.inputs = {bytes_tensor(text_input, {"text"})};
    b.mind.on(order, b.now);
    CHECK(b.refusal().find(said) != std::string::npos);
  }
}

TEST_CASE("lists of BYTES are hostile until checked") {
  const auto read = [](tensor list) {
    infer request;
    request.inputs.push_back(std::move(list));
    return read_text(request);
  };
  auto good = bytes_tensor(text_input, {"a", "", "ccc"});
  REQUIRE(read(good));
  CHECK(read(good)->elements == std::vector<std::string_view>{"a", "", "ccc"});
  CHECK(read(bytes_tensor(text_input, {"a", "b"}, true))->elements.size() == 2);
  auto cut = good;
  for (std::size_t size = 0; size < good.data.size(); ++size) {
    cut.data = good.data.slice(0, size);
    CHECK(!read(cut));
  }
  auto other = good;
  other.dims = {4};
  CHECK(!read(other));
  other.dims = {3, 2};
  CHECK(!read(other));
  other = good;
  other.type = dtype::fp32;
  CHECK(!read(other));
  CHECK(!read(bytes_tensor(text_input, std::vector<std::string_view>(most_texts + 1, "x"))));
  CHECK(!read(bytes_tensor(text_input, {}, true)));
  infer both;
  both.inputs = {good, bytes_tensor(token_ids_input, {"12345678"})};
  CHECK(!read_text(both));
  both.inputs[1] = {"strange", dtype::fp32, {1}, {}};
  CHECK(read_text(both).error().message.find("strange") != std::string::npos);
}

TEST_CASE("models say whether they can be given text") {
  auto spec = embedder();
  REQUIRE(text_model_of(spec, nullptr));
  CHECK(text_model_of(spec, nullptr)->embedding() == std::size_t{0});
  CHECK(text_model_of(spec, nullptr)->outputs == std::vector<std::size_t>{0});
  spec.inputs.push_back({"image", dtype::fp32, {dimension{1, 64, "b"}}});
  CHECK(text_model_of(spec, nullptr).error().message.find("image") != std::string::npos);
  spec = embedder();
  spec.outputs.erase(spec.outputs.begin());
  CHECK(text_model_of(spec, nullptr).error().message.find("pooling") != std::string::npos);
  spec = embedder();
  spec.inputs[0].type = dtype::int32;
  CHECK(!text_model_of(spec, nullptr));
  spec = embedder();
  spec.inputs[0].name = "words";
  CHECK(!text_model_of(spec, nullptr));
  spec.inputs.pop_back();
  CHECK(text_model_of(spec, nullptr));
}
