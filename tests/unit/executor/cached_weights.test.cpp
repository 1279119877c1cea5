// Weights and packed tensors from a cache that the test plays.
#include <cstring>
#include <fstream>
#include <map>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

#include "executor/apply_passes.hpp"
#include "executor/cached_records.hpp"
#include "executor/derived_tensors.hpp"
#include "executor/device_signature.hpp"
#include "executor/graph_reader.hpp"
#include "executor/graph_uses.hpp"
#include "executor/kernels/packed_linear.hpp"
#include "executor/object_source.hpp"
#include "executor/passes_precision.hpp"
#include "executor/program.hpp"
#include "executor/stored_weights.hpp"
#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;
using namespace executor;
using protocol::object_key;

class fake_source final : public executor::object_source {
 public:
  std::vector<found> acquire(std::span<const object_key> keys) override {
    asked += keys.size();
    ++calls;
    std::vector<found> result;
    for (const auto& key : keys) {
      const auto object = objects.find(key);
      if (object != objects.end())
        result.push_back({object->second, false});
      else
        result.push_back({std::nullopt, takes});
    }
    return result;
  }
  void publish(const object_key& key, buffer bytes, const object_key& source, std::string_view layout) override {
    CHECK(key == (layout.empty() ? protocol::key_of(bytes.bytes()) : protocol::derived_key(source, layout)));
    objects[key] = buffer::copy(bytes.bytes());
  }
  void settle() override { ++settled; }
  std::size_t settled = 0;
  std::map<object_key, buffer> objects;
  std::size_t asked = 0;
  std::size_t calls = 0;
  bool takes = true;
};

/// A copy of a fixture's archive in a folder of its own.
struct copied {
  scratch_file file;
  explicit copied(const std::string& name) : file(read_file(fixture_archive(name))) {}
  [[nodiscard]] const fs::path& path() const { return file.path(); }
  [[nodiscard]] fs::path manifest() const { return manifest_path(path()); }
};

std::string answers(executor::model& model, const std::string& name) {
  for (const auto& each : fixture_cases(name)) {
    const auto outputs = model.run(each.inputs);
    if (!outputs) return outputs.error().message;
    if (auto differs = difference(*outputs, each.outputs); !differs.empty()) return differs;
  }
  return {};
}

std::unique_ptr<executor::model> load(const fs::path& archive, executor::object_source* source) {
  auto loaded = executor::model::load(archive, executor::pass_options::none(), source);
  REQUIRE_MESSAGE(loaded, (loaded ? "" : loaded.error().message));
  return std::move(*loaded);
}

constexpr const char* weighty = "graphs/recurrent";

}  // namespace

TEST_CASE("the first load gives the weights to the cache, the second has them from there, and both answer the same") {
  const copied archive(weighty);
  fake_source source;
  auto first = load(archive.path(), &source);
  CHECK(fs::exists(archive.manifest()));
  REQUIRE_FALSE(source.objects.empty());
  CHECK(answers(*first, weighty).empty());
  const auto given = source.objects.size();
  auto second = load(archive.path(), &source);
  CHECK(source.objects.size() == given);
  CHECK(second->describe().weight_bytes == first->describe().weight_bytes);
  CHECK(answers(*second, weighty).empty());
  // Changed objects change the answers: they really are what is used.
  for (auto& [key, bytes] : source.objects)
    bytes = buffer::make(bytes.size(), [&](std::byte* to) { std::memset(to, 0, bytes.size()); });
  CHECK_FALSE(answers(*load(archive.path(), &source), weighty).empty());
}

TEST_CASE("objects of another size than the record are not used") {
  const copied archive(weighty);
  fake_source source;
  load(archive.path(), &source);
  for (auto& [key, bytes] : source.objects) bytes = bytes.slice(0, bytes.size() - 1);
  CHECK(answers(*load(archive.path(), &source), weighty).empty());
}

TEST_CASE("a cache that has nothing and takes nothing changes nothing") {
  const copied archive(weighty);
  fake_source source;
  source.takes = false;
  CHECK(answers(*load(archive.path(), &source), weighty).empty());
  CHECK(source.objects.empty());
}

TEST_CASE("a manifest of another archive, a damaged one and none are made anew") {
  const copied archive(weighty);
  fake_source source;
  load(archive.path(), &source);
  const auto right = read_file(archive.manifest());
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  const auto code = [&](const std::string& text) {
    std::ofstream(archive.manifest(), std::ios::trunc) << text;
    const auto read = read_manifest(archive.manifest(), **opened);
    load(archive.path(), &source);
    CHECK(read_file(archive.manifest()) == right);
    return read ? errc::internal : read.error().code;
  };
  auto other = right;
  other[other.find("\"archive\": \"") + 12] ^= 1;
  CHECK(code(other) == errc::incompatible);
  CHECK(code(right.substr(0, right.size() / 2)) == errc::corrupt);
  CHECK(code("[]") == errc::corrupt);
  auto size = right;
  size.replace(size.find("\"size\": ") + 8, 1, "9");
  CHECK(code(size) == errc::corrupt);
  fs::remove(archive.manifest());
  CHECK(read_manifest(archive.manifest(), **opened).error().code == errc::not_found);
}

TEST_CASE("an archive with other weights has another fingerprint, a copy has the same") {
  const copied one(weighty);
  const copied same(weighty);
  auto changed = read_records(fixture_archive(weighty));
  for (auto& [name, bytes] : changed)
    if (name.starts_with("data/weights/") && bytes.size() > 64) bytes[5] ^= 1;
  const scratch_file other(zip(changed));
  const auto fingerprint = [](const fs::path& path) {
    const auto opened = executor::archive::open(path);
    REQUIRE(opened);
    return (*opened)->fingerprint();
  };
  CHECK(fingerprint(one.path()) == fingerprint(same.path()));
  CHECK(fingerprint(one.path()) != fingerprint(other.path()));
}

TEST_CASE("a packed tensor goes into an object and comes out with its sizes; what is no such object does not") {
  const auto made = at::arange(30, at::TensorOptions().dtype(at::kFloat)).reshape({2, 3, 5});
  const auto object = to_object(made.transpose(0, 1));
  const auto back = from_object(object);
  REQUIRE(back);
  CHECK(back->sizes() == at::IntArrayRef{3, 2, 5});
  CHECK(at::equal(*back, made.transpose(0, 1)));
  const auto with = [&](std::size_t at, std::byte value) {
    return from_object(buffer::make(object.size(), [&](std::byte* to) {
      std::memcpy(to, object.data(), object.size());
      to[at] = value;
    }));
  };
  CHECK_FALSE(with(0, std::byte{0}));      // another kind of object
  CHECK_FALSE(with(8, std::byte{200}));    // an unknown type
  CHECK_FALSE(with(12, std::byte{100}));   // more dimensions than the header holds
  CHECK_FALSE(with(16, std::byte{4}));     // another size
  CHECK_FALSE(with(23, std::byte{0xff}));  // a negative one
  CHECK_FALSE(from_object(object.slice(0, object.size() - 4)));
  CHECK_FALSE(from_object(object.slice(0, 128)));
  CHECK_FALSE(from_object({}));
}

TEST_CASE("only the packing of a whole known weight with constants is derived, and its name holds all it depends on") {
  const copied archive(weighty);
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto records = cached_records::acquire(source, archive.path(), *opened, graph->stored);
  const auto& weight = graph->stored.front();
  node packing{"packed", "torch.ops.shoal.pack_linear.default", {{"weight", reference{weight.id}}}, {}};
  const auto plain = derivation_of(packing, *graph, records);
  REQUIRE(plain);
  CHECK(plain->source == *records.key_of(weight.record));
  CHECK(plain->layout.starts_with(kernels::packed_layout()));
  packing.inputs.push_back({"block", std::int64_t{16}});
  CHECK(derivation_of(packing, *graph, records)->layout != plain->layout);
  graph->stored.front().offset += 1;
  CHECK(derivation_of(packing, *graph, records)->layout.find("=16") != std::string::npos);
  packing.inputs.back().value = reference{weight.id};
  CHECK_FALSE(derivation_of(packing, *graph, records));
  packing.inputs = {{"weight", reference{graph->inputs.front().id}}};
  CHECK_FALSE(derivation_of(packing, *graph, records));
  packing.inputs.clear();
  CHECK_FALSE(derivation_of(packing, *graph, records));
  packing.target = "torch.ops.aten.t.default";
  packing.inputs = {{"weight", reference{weight.id}}};
  CHECK_FALSE(derivation_of(packing, *graph, records));
}

TEST_CASE("narrow weights of convolutions are derived, and the batch norm folded into one is part of its name") {
  const copied archive("zoo/resnet20");
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto records = cached_records::acquire(source, archive.path(), *opened, graph->stored);
  const auto stored = [&](std::size_t rank, std::int64_t first) {
    for (const auto& each : graph->stored)
      if (each.sizes.size() == rank && each.sizes[0] == first) return each;
    FAIL("there is no such weight");
    return graph->stored.front();
  };
  const auto weight = stored(4, 16);
  const auto norm = stored(1, 16);
  const auto folded = add_tensor(*graph, "folded");
  node fold{"fold",
            "torch.ops.shoal.fold_batch_norm_weight.default",
            {{"weight", reference{weight.id}}, {"scale", {}}, {"variance", reference{norm.id}}, {"eps", 1e-5}},
            {{false, {folded}}}};
  for (const auto* target :
       {"torch.ops.shoal.pack_convolution_int8.default", "torch.ops.shoal.pack_convolution_bf16.default"}) {
    graph->nodes = {fold};
    const node plain{"packed", target, {{"weight", reference{weight.id}}}, {}};
    const node normed{"packed", target, {{"weight", reference{folded}}}, {}};
    const auto without = derivation_of(plain, *graph, records);
    const auto with = derivation_of(normed, *graph, records);
    REQUIRE(without);
    REQUIRE(with);
    CHECK(with->source == without->source);
    CHECK(with->elements == without->elements);
    CHECK(with->layout != without->layout);
    graph->nodes[0].inputs[3].value = 1e-3;
    CHECK(derivation_of(normed, *graph, records)->layout != with->layout);
    graph->nodes[0].inputs[1].value = reference{norm.id};
    CHECK(derivation_of(normed, *graph, records)->layout != with->layout);
    graph->nodes[0].inputs[1].value = reference{graph->inputs.front().id};
    CHECK_FALSE(derivation_of(normed, *graph, records));
    graph->nodes.clear();
    CHECK_FALSE(derivation_of(normed, *graph, records));
  }
}

TEST_CASE("a second worker maps the narrow weights of convolutions, and answers alike") {
  const copied archive("zoo/resnet20");
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  apply_passes({}, *graph);
  precision_plan plan;
  plan.model = to_hex((*opened)->fingerprint());
  plan.device = device_signature();
  for (const auto& each : choosable_nodes(*graph))
    if (each.takes_range) plan.nodes[each.name].as = each.name.ends_with("1") ? precision::bf16 : precision::int8;
  REQUIRE(plan.nodes.size() > 10);
  const auto inputs = fixture_cases("zoo/resnet20").front().inputs;
  const auto answer = [&](executor::object_source* from) {
    const auto loaded = executor::model::load(archive.path(), {}, from, {}, &plan);
    REQUIRE_MESSAGE(loaded, (loaded ? "" : loaded.error().message));
    return (*loaded)->run(inputs).value();
  };
  const auto alone = answer(nullptr);
  CHECK(difference(answer(&source), alone) == "");
  const auto kept = source.objects.size();
  CHECK(kept > plan.nodes.size());
  CHECK(difference(answer(&source), alone) == "");
  CHECK(source.objects.size() == kept);
}

TEST_CASE("packed tensors are asked for at once, offered when they had to be made, and mapped by the next load") {
  const copied archive(weighty);
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto records = cached_records::acquire(source, archive.path(), *opened, graph->stored);
  graph->nodes.clear();
  std::map<std::string, at::Tensor> made;
  for (const auto& weight : graph->stored) {
    if (weight.sizes.size() != 2) continue;
    const auto name = "packed" + std::to_string(made.size());
    graph->nodes.push_back({name, "torch.ops.shoal.pack_linear.default", {{"weight", reference{weight.id}}}, {}});
    made[name] = at::arange(kernels::packed_elements(weight.sizes[0], weight.sizes[1]).value(),
                            at::TensorOptions().dtype(at::kFloat));
  }
  REQUIRE(made.size() > 1);
  const auto before = source.calls;
  cached_derivations first(source, *graph, records);
  CHECK(source.calls == before + 1);
  for (const auto& each : graph->nodes) {
    CHECK_FALSE(first.find(each));
    first.offer(each, made[each.name]);
  }
  CHECK(source.objects.size() == made.size());
  first.offer({"packed0", "torch.ops.aten.t.default", {}, {}}, made["packed0"]);
  CHECK(source.objects.size() == made.size());
  cached_derivations second(source, *graph, records);
  for (const auto& each : graph->nodes) {
    const auto found = second.find(each);
    REQUIRE(found);
    CHECK(at::equal(*found, made[each.name]));
    CHECK_FALSE(second.find({each.name, "torch.ops.aten.t.default", {}, {}}));
  }
}

TEST_CASE("what one had to pack is mapped back from the cache and its own copy goes") {
  const copied archive(weighty);
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto records = cached_records::acquire(source, archive.path(), *opened, graph->stored);
  const auto& weight = graph->stored.front();
  graph->nodes = {{"packed", "torch.ops.shoal.pack_linear.default", {{"weight", reference{weight.id}}}, {}}};
  const auto elements = kernels::packed_elements(weight.sizes[0], weight.sizes[1]).value();
  const auto made = at::arange(elements, at::TensorOptions().dtype(at::kFloat));
  const auto reader = made;  // as an instruction has it
  const auto* own = made.const_data_ptr();
  cached_derivations derived(source, *graph, records);
  derived.offer(graph->nodes[0], made);
  derived.share();
  CHECK(source.settled == 1);
  CHECK(reader.const_data_ptr() != own);
  CHECK(at::equal(reader, at::arange(elements, at::TensorOptions().dtype(at::kFloat))));
}

TEST_CASE("a packed tensor of another size than the weight needs is packed again, not used") {
  const copied archive(weighty);
  fake_source source;
  const auto opened = executor::archive::open(archive.path());
  REQUIRE(opened);
  auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto records = cached_records::acquire(source, archive.path(), *opened, graph->stored);
  graph->nodes = {
      {"packed", "torch.ops.shoal.pack_linear.default", {{"weight", reference{graph->stored.front().id}}}, {}}};
  cached_derivations first(source, *graph, records);
  first.offer(graph->nodes[0], at::arange(7, at::TensorOptions().dtype(at::kFloat)));
  REQUIRE(source.objects.size() == 1);
  cached_derivations second(source, *graph, records);
  CHECK_FALSE(second.find(graph->nodes[0]));
}

TEST_CASE("program::build takes what a folded node would make from where it is, and gives what it had to make") {
  struct fake final : derived_tensors {
    std::map<std::string, at::Tensor> made;
    std::size_t taken = 0;
    std::optional<at::Tensor> find(const node& packing) override {
      const auto found = made.find(packing.name);
      if (found == made.end()) return std::nullopt;
      ++taken;
      return found->second;
    }
    void offer(const node& packing, const at::Tensor& result) override { made[packing.name] = result; }
  } shared;
  const auto opened = executor::archive::open(fixture_archive("graphs/folding"));
  REQUIRE(opened);
  const auto graph = read_graph(**opened);
  REQUIRE(graph);
  const auto weights = map_weights(*opened, graph->stored);
  REQUIRE(weights);
  const auto first = program::build(*graph, weights->tensors, true, &shared);
  REQUIRE(first);
  REQUIRE_FALSE(shared.made.empty());
  CHECK(shared.taken == 0);
  const auto second = program::build(*graph, weights->tensors, true, &shared);
  REQUIRE(second);
  CHECK(shared.taken == shared.made.size());
  CHECK(second->size() == first->size());
}

}  // namespace shoal::test
