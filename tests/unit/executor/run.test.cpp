#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <numeric>

#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using executor::pass_options;

template <class Element>
tensor of(dtype type, shape dims, const std::vector<Element>& elements) {
  return {"", type, std::move(dims), buffer::copy(std::as_bytes(std::span(elements)))};
}

tensor numbers(shape dims) {
  std::vector<float> elements(element_count(dims).value());
  std::iota(elements.begin(), elements.end(), 0.5F);
  return of(dtype::fp32, std::move(dims), elements);
}

/// Resident memory of this process, from the kernel.
std::int64_t resident_bytes() {
  std::ifstream status("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t resident = 0;
  status >> total >> resident;
  return resident * 4096;
}

std::string bytes_of(const tensor& from) { return {reinterpret_cast<const char*>(from.data.data()), from.data.size()}; }

}  // namespace

TEST_CASE("MiniLM is described by its archive: names, types, ranges, and the batch symbol") {
  const auto model = test::load_fixture("models/minilm");
  const auto& spec = model->spec();
  REQUIRE(spec.inputs.size() == 2);
  CHECK(spec.inputs[0].name == "input_ids");
  CHECK(spec.inputs[1].name == "attention_mask");
  for (const auto& input : spec.inputs) {
    CHECK(input.type == dtype::int64);
    CHECK((input.dims[0].min == 1 && input.dims[0].max == 1024));
    CHECK((input.dims[1].min == 1 && input.dims[1].max == 512));
    CHECK(input.dims[0].symbol == spec.batch_symbol);
    CHECK(input.dims[1].symbol != spec.batch_symbol);
  }
  REQUIRE(spec.outputs.size() == 1);
  CHECK(spec.outputs[0].name == "sentence_embedding");
  CHECK(spec.outputs[0].type == dtype::fp32);
  CHECK(spec.outputs[0].dims[1] == protocol::dimension::fixed(384));
  CHECK(!spec.batch_symbol.empty());
  const auto figures = model->describe();
  CHECK(figures.nodes < figures.nodes_exported);
  CHECK(figures.weight_bytes > 80'000'000);
}

TEST_CASE("padding a MiniLM batch changes a row by no more than noise") {
  const auto model = test::load_fixture("models/minilm");
  const std::vector<std::int64_t> ids{2023, 2003, 1037, 6251, 2005};
  const auto run = [&](std::int64_t width) {
    std::vector<std::int64_t> padded = ids;
    std::vector<std::int64_t> mask(ids.size(), 1);
    padded.resize(static_cast<std::size_t>(width));
    mask.resize(static_cast<std::size_t>(width));
    const std::vector inputs{of(dtype::int64, {1, width}, padded), of(dtype::int64, {1, width}, mask)};
    return model->run(inputs).value()[0];
  };
  const auto alone = run(5);
  for (const auto width : {6, 16, 64, 300}) CHECK(test::relative_error(run(width), alone) < 1e-5);
}

TEST_CASE("a row's result does not depend on the rows it is joined with") {
  const auto model = test::load_fixture("models/minilm");
  const auto joined = test::fixture_cases("models/minilm")[3];
  const auto& together = joined.outputs[0];
  const auto rows = together.dims[0];
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<tensor> alone;
    for (const auto& input : joined.inputs) {
      const auto size = input.data.size() / static_cast<std::size_t>(rows);
      alone.push_back(
          {"", input.type, {1, input.dims[1]}, input.data.slice(size * static_cast<std::size_t>(row), size)});
    }
    const auto size = together.data.size() / static_cast<std::size_t>(rows);
    const tensor wanted{"", dtype::fp32, {1, 384}, together.data.slice(size * static_cast<std::size_t>(row), size)};
    CHECK(test::relative_error(model->run(alone).value()[0], wanted) < 1e-5);
  }
}

TEST_CASE("an index out of range is the caller's error and names the node; the next request runs") {
  const auto model = test::load_fixture("graphs/gather");
  const auto x = numbers({1, 4});
  const auto run = [&](std::vector<std::int64_t> ids) {
    const std::vector inputs{of(dtype::int64, {1, 4}, ids), x};
    return model->run(inputs);
  };
  for (const auto wrong : {std::int64_t{10}, std::int64_t{-1}, std::int64_t{1} << 60}) {
    const auto failed = run({0, wrong, 2, 3});
    REQUIRE(!failed.has_value());
    CHECK(failed.error().code == errc::invalid_argument);
    CHECK(failed.error().message.find("the node embedding (torch.ops.aten.embedding.default)") != std::string::npos);
    CHECK(failed.error().message.find('\n') == std::string::npos);
    CHECK(run({0, 1, 2, 3}).has_value());
  }
  const auto beyond = run({0, 1, 2, 7});  // within the embedding, beyond what gather may take
  REQUIRE(!beyond.has_value());
  CHECK(beyond.error().code == errc::invalid_argument);
  CHECK(beyond.error().message.find("the node gather") != std::string::npos);
}

TEST_CASE("a request that does not fit is refused before anything runs") {
  const auto model = test::load_fixture("graphs/gather");
  const std::vector one{numbers({1, 4})};
  CHECK(model->run(one).error().code == errc::invalid_argument);
  const std::vector swapped{numbers({1, 4}), numbers({1, 4})};
  CHECK(model->run(swapped).error().message == "the input ids is FP32, the model takes INT64");
}

TEST_CASE("inputs are used at any alignment") {
  const auto model = test::load_fixture("models/identity");
  const auto aligned = numbers({3, 5});
  for (std::size_t shift = 1; shift < 8; ++shift) {
    const auto shifted = buffer::make(aligned.data.size() + shift, [&](std::byte* to) {
      std::memcpy(to + shift, aligned.data.data(), aligned.data.size());
    });
    const std::vector inputs{tensor{"x", dtype::fp32, {3, 5}, shifted.slice(shift, aligned.data.size())}};
    CHECK(bytes_of(model->run(inputs).value()[0]) == bytes_of(aligned));
  }
}

TEST_CASE("identity gives back the request's own bytes without a copy") {
  const auto model = test::load_fixture("models/identity");
  const std::vector inputs{numbers({4, 256})};
  const auto outputs = model->run(inputs).value();
  CHECK(outputs[0].name == "y");
  CHECK(outputs[0].data.data() == inputs[0].data.data());
}

TEST_CASE("a graph that writes to its input leaves the request's bytes as they are") {
  for (const auto& passes : {pass_options{}, pass_options::none()}) {
    const auto model = test::load_fixture("graphs/writes_input", passes);
    const auto input = numbers({3, 4});
    const auto before = bytes_of(input);
    const std::vector inputs{input};
    const auto first = model->run(inputs).value();
    CHECK(bytes_of(input) == before);
    CHECK(bytes_of(model->run(inputs).value()[0]) == bytes_of(first[0]));
  }
}

TEST_CASE("outputs stay valid when the model has run again and is gone") {
  auto model = test::load_fixture("graphs/lists");
  const auto cases = test::fixture_cases("graphs/lists");
  const auto kept = model->run(cases[0].inputs).value();
  for (int i = 0; i < 5; ++i) CHECK(model->run(cases[1].inputs).has_value());
  model.reset();
  CHECK(test::difference(kept, cases[0].outputs) == "");
}

TEST_CASE("weights stay mapped when the archive's name is gone, as after a replacement by rename") {
  const auto cases = test::fixture_cases("graphs/constants");
  std::unique_ptr<executor::model> model;
  {
    const test::scratch_file copy(test::read_file(test::fixture_archive("graphs/constants")));
    model = executor::model::load(copy.path(), pass_options::none()).value();
  }
  CHECK(test::difference(model->run(cases[0].inputs).value(), cases[0].outputs) == "");
}

TEST_CASE("folding leaves only what depends on the request") {
  auto passes = pass_options::none();
  const auto plain = test::load_fixture("graphs/folding", passes)->describe();
  CHECK(plain.nodes == plain.nodes_exported);
  passes.fold_constants = true;
  const auto folded = test::load_fixture("graphs/folding", passes)->describe();
  CHECK(folded.nodes < plain.nodes);
  const auto all = test::load_fixture("graphs/folding")->describe();
  CHECK(all.nodes == 2);  // linear, add
}

// AddressSanitizer keeps freed memory aside.
#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("unloading a model gives its memory back") {
  const auto cases = test::fixture_cases("models/minilm");
  const auto serve = [&] {
    const auto model = test::load_fixture("models/minilm");
    CHECK(model->run(cases[3].inputs).has_value());
    return resident_bytes();
  };
  serve();  // what LibTorch itself keeps after a first run is not the model's
  const auto before = resident_bytes();
  const auto loaded = serve();
  CHECK(loaded - before > 80'000'000);
  CHECK(resident_bytes() - before < (loaded - before) / 20);
}
#endif
