#include "gateway/admission.hpp"

#include <set>

#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using gateway::admit;
using gateway::find_model;

namespace {

/// ids [batch, length], mask [batch, length], scale []: all different enough to be mixed up.
model_spec encoder() {
  model_spec spec = matrix_model("encoder");
  const dimension batch{1, 64, "batch"};
  const dimension length{1, 512, "length"};
  spec.inputs = {{"ids", dtype::int64, {batch, length}, 0},
                 {"mask", dtype::int64, {batch, length}, 0},
                 {"bias", dtype::fp32, {dimension::fixed(3)}, 0}};
  return spec;
}

tensor zeros(const char* name, dtype type, shape dims) {
  const auto bytes = byte_size(type, dims).value_or(0);
  return {name, type, std::move(dims), buffer::make(bytes, [&](std::byte* to) { std::memset(to, 0, bytes); })};
}

infer good() {
  infer request;
  request.model = "encoder";
  request.inputs = {zeros("ids", dtype::int64, {2, 5}), zeros("mask", dtype::int64, {2, 5}),
                    zeros("bias", dtype::fp32, {3})};
  return request;
}

std::string refusal(infer request) {
  const auto admitted = admit(encoder(), request);
  REQUIRE_FALSE(admitted);
  CHECK(admitted.error().code == errc::invalid_argument);
  CHECK_FALSE(admitted.error().retryable);
  return admitted.error().message;
}

error not_found(const catalogue& models, std::string_view name, std::uint64_t version = 0) {
  const gateway::model_list known{models, true};
  const auto found = find_model(known, name, version);
  REQUIRE_FALSE(found);
  return found.error();
}

}  // namespace

TEST_CASE("a good request is admitted and its inputs are brought into the model's order") {
  auto request = good();
  std::swap(request.inputs[0], request.inputs[2]);
  const auto* bytes = request.inputs[2].data.data();
  request.outputs = {"y"};
  REQUIRE(admit(encoder(), request));
  REQUIRE(request.inputs.size() == 3);
  CHECK(request.inputs[0].name == "ids");
  CHECK(request.inputs[0].data.data() == bytes);
  CHECK(request.inputs[1].name == "mask");
  CHECK(request.inputs[2].name == "bias");
}

TEST_CASE("each thing that can be wrong with a request has a sentence of its own that names the tensor") {
  std::vector<std::string> sentences;
  const auto said = [&](infer request) { return sentences.emplace_back(refusal(std::move(request))); };

  auto r = good();
  r.inputs[0].type = dtype::int32;
  CHECK(said(r) == "input 'ids' has type INT32, but the model takes INT64");

  r = good();
  r.inputs[1] = zeros("mask", dtype::int64, {2, 5, 1});
  CHECK(said(r) == "input 'mask' has shape [2, 5, 1], but the model takes rank 2");

  r = good();
  r.inputs[0] = zeros("ids", dtype::int64, {65, 5});
  CHECK(said(r) == "input 'ids' has shape [65, 5], but dimension 0 must be 1 to 64");

  r = good();
  r.inputs[2] = zeros("bias", dtype::fp32, {4});
  CHECK(said(r) == "input 'bias' has shape [4], but dimension 0 must be 3");

  r = good();
  r.inputs[1] = zeros("mask", dtype::int64, {2, 6});
  CHECK(said(r) ==
        "input 'mask' has size 6 in dimension 1 ('length'), but another input has 5 there: they must be equal");

  r = good();
  r.inputs[0].data = r.inputs[0].data.slice(0, 79);
  CHECK(said(r) == "input 'ids' of shape [2, 5] needs 80 bytes, but 79 came");

  r = good();
  r.inputs[0].dims = {2, -5};
  CHECK(contains(said(r), "input 'ids': the shape [2, -5] has a negative size"));

  r = good();
  r.inputs[0].dims = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  CHECK(contains(said(r), "input 'ids': "));

  r = good();
  r.inputs[0].dims = shape(17, 1);
  CHECK(contains(said(r), "input 'ids': a shape of rank 17"));

  r = good();
  r.inputs.pop_back();
  CHECK(said(r) == "input 'bias' is missing");

  r = good();
  r.inputs[1].name = "ids";
  CHECK(said(r) == "input 'ids' is given twice");

  r = good();
  r.inputs[1].name = "musk";
  CHECK(said(r) == "the model has no input 'musk'; its inputs are: ids, mask, bias");

  r = good();
  r.outputs = {"z"};
  CHECK(said(r) == "the model has no output 'z'; its outputs are: y");

  r = good();
  r.outputs = {"y", "y"};
  CHECK(said(r) == "output 'y' is asked for twice");

  CHECK(std::set(sentences.begin(), sentences.end()).size() == sentences.size());
}

TEST_CASE("bytes for a tensor of strings are refused by name") {
  auto request = good();
  request.inputs[0].type = dtype::bytes;
  CHECK(contains(refusal(request), "input 'ids' has type BYTES"));
}

TEST_CASE("a stranger's endless name does not make an endless sentence") {
  auto request = good();
  request.inputs[0].name = std::string(1'000'000, 'x');
  CHECK(refusal(request).size() < 300);
}

TEST_CASE("before models are known, what is not found is to be asked for again") {
  gateway::model_list models;
  const auto early = find_model(models, "m", 0);
  REQUIRE_FALSE(early);
  CHECK(early.error().code == errc::unavailable);
  CHECK(early.error().retryable);
  CHECK(early.error().retry_after > std::chrono::milliseconds::zero());
  CHECK(find_model(models, "a/b", 0).error().code == errc::invalid_argument);
  models.is_known = true;
  CHECK(find_model(models, "m", 0).error().code == errc::not_found);
}

TEST_CASE("version 0 is the highest that is ready, or the highest at all") {
  auto old = matrix_model("m", 1);
  auto current = matrix_model("m", 3);
  auto coming = matrix_model("m", 9);
  coming.state = model_state::loading;
  coming.outputs.clear();
  const gateway::model_list models{{{old, coming, current}}, true};
  CHECK(find_model(models, "m", 0).value()->version == 3);
  CHECK(find_model(models, "m", 1).value()->version == 1);
  CHECK(not_found({{coming}}, "m").code == errc::unavailable);
  CHECK(not_found({{old, current}}, "m", 2).message == "model 'm' has no version 2");
}

TEST_CASE("a model that is being loaded is worth a retry, one that failed to load is not") {
  auto loading = matrix_model();
  loading.state = model_state::loading;
  loading.outputs.clear();
  const auto later = not_found({{loading}}, "m");
  CHECK(later.code == errc::unavailable);
  CHECK(later.retryable);
  CHECK(later.retry_after > milliseconds(0));

  auto failed = matrix_model();
  failed.state = model_state::failed;
  failed.reason = "node 7 is not allowed";
  const auto never = not_found({{failed}}, "m");
  CHECK(never.code == errc::unavailable);
  CHECK_FALSE(never.retryable);
  CHECK(contains(never.message, "node 7 is not allowed"));
}

TEST_CASE("a model whose workers are gone for the moment is still found") {
  auto spec = matrix_model();
  spec.state = model_state::loading;
  CHECK(find_model(gateway::model_list{{{spec}}, true}, "m", 0));
}

TEST_CASE("an unknown model is told with those there are, each once, and a path is no name") {
  const catalogue models{{matrix_model("a", 1), matrix_model("a", 2), matrix_model("b")}};
  const auto unknown = not_found(models, "c");
  CHECK(unknown.code == errc::not_found);
  CHECK(unknown.message == "there is no model 'c'; served are: a, b");
  CHECK(not_found({}, "c").message == "there is no model 'c'; served are: none");
  CHECK(not_found(models, "../a").code == errc::invalid_argument);
  CHECK(not_found(models, "").code == errc::invalid_argument);
}
