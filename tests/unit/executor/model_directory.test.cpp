#include "executor/model_directory.hpp"

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using executor::apply_model_toml;
using executor::scan_models;

namespace {

/// ids, mask [batch, length] -> hidden [batch, length]
model_spec encoder() {
  auto spec = matrix_model();
  const std::vector<dimension> dims{{1, 8, "batch"}, {1, 512, "length"}};
  spec.inputs = {{"ids", dtype::int64, dims, 0}, {"mask", dtype::uint8, dims, 0}};
  spec.outputs = {{"hidden", dtype::fp32, dims, 0}, {"output_1", dtype::fp32, dims, 0}};
  return spec;
}

std::string refusal(const std::string& text) {
  const temporary_folder at;
  const auto file = at.write("model.toml", text);
  auto spec = encoder();
  const auto applied = apply_model_toml(at.path(), spec);
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code == errc::invalid_argument);
  REQUIRE(applied.error().message.starts_with(file));
  return applied.error().message.substr(file.size());
}

expected<model_spec> with(const std::string& text) {
  const temporary_folder at;
  at.write("model.toml", text);
  auto spec = encoder();
  if (auto applied = apply_model_toml(at.path(), spec); !applied) return tl::unexpected(applied.error());
  return spec;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("models and versions are found in order of number, and what does not fit is left out") {
  const temporary_folder at;
  for (const auto* name : {"b/10/model.pt2", "b/9/model.pt2", "a/1/model.pt2", "a/latest/model.pt2", "a/0/model.pt2",
                           "a/2x/model.pt2", "a/-1/model.pt2", "a/3/model.onnx", ".hidden/1/model.pt2",
                           "b/.11.partial/model.pt2", "no model/1/model.pt2", "a/model.pt2", "loose.pt2"})
    at.write(name, "x");
  const auto found = scan_models(at.path());
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK(found->at(0).name == "a");
  CHECK(found->at(0).version == 1);
  CHECK(found->at(0).folder == at.path() / "a" / "1");
  CHECK(found->at(1).version == 9);
  CHECK(found->at(2).version == 10);
}

TEST_CASE("a directory without models is empty, one that is not there is an error that says what it holds") {
  const temporary_folder at;
  CHECK(scan_models(at.path())->empty());
  const auto missing = scan_models(at.path() / "absent");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == errc::not_found);
  CHECK(contains(missing.error().message, "<name>/<version>/model.pt2"));
}

TEST_CASE("a model without model.toml is as the archive says, an empty file changes nothing either") {
  const temporary_folder at;
  auto spec = encoder();
  REQUIRE(apply_model_toml(at.path(), spec));
  CHECK(spec == encoder());
  CHECK(with("").value() == encoder());
}

TEST_CASE("model.toml sets the batch, names and padding") {
  const auto spec = with(R"(max_batch = 64
[rename]
ids = "input_ids"
output_1 = "pooled"
[padding]
input = "mask"
dimension = 1
[padding.values]
mask = 1
)");
  REQUIRE(spec);
  CHECK(spec->max_batch == 64);
  CHECK(spec->inputs[0].name == "input_ids");
  CHECK(spec->outputs[1].name == "pooled");
  CHECK(spec->pad_symbol == "length");
  CHECK(spec->inputs[0].pad_value == 0);
  CHECK(spec->inputs[1].pad_value == 1);
}

TEST_CASE("padding is declared under the exported names, wherever the new ones stand in the file") {
  const std::string rename = "[rename]\nids = \"input_ids\"\n";
  const std::string padding = "[padding]\ninput = \"ids\"\ndimension = 1\nvalues = { ids = 5 }\n";
  for (const auto& text : {rename + padding, padding + rename}) {
    const auto spec = with(text);
    if (!spec) FAIL(spec.error().message);
    CHECK(spec->inputs[0].name == "input_ids");
    CHECK(spec->inputs[0].pad_value == 5);
    CHECK(spec->pad_symbol == "length");
  }
}

TEST_CASE("two names can be exchanged") {
  const auto spec = with("[rename]\nids = \"mask\"\nmask = \"ids\"\n");
  if (!spec) FAIL(spec.error().message);
  CHECK(spec->inputs[0].name == "mask");
  CHECK(spec->inputs[1].name == "ids");
}

TEST_CASE("every mistake in model.toml is told with line and column") {
  CHECK(refusal("max_batch = 0\n") == ":1:13: max_batch must be an integer from 1 to 65536");
  CHECK(contains(refusal("max_batch = \"8\"\n"), ":1:13: max_batch"));
  CHECK(contains(refusal("max_batch = 70000\n"), "1 to 65536"));
  CHECK(contains(refusal("maxbatch = 8\n"), "there is no key 'maxbatch'"));
  CHECK(refusal("max_batch = \n").starts_with(":1:"));
  CHECK(contains(refusal("rename = 1\n"), ":1:10: rename must be a table"));
  CHECK(contains(refusal("[rename]\nidz = \"a\"\n"), ":2:7: the model has no input or output 'idz'"));
  CHECK(contains(refusal("[rename]\nids = 7\n"), "must be a string"));
  CHECK(contains(refusal("[rename]\nids = \"\"\n"), "must be a string"));
  CHECK(contains(refusal("[rename]\nids = \"mask\"\n"), "two tensors would be called 'mask'"));
  CHECK(contains(refusal("padding = true\n"), "padding must be a table"));
  CHECK(contains(refusal("[padding]\ninput = \"ids\"\n"), "padding needs input"));
  CHECK(contains(refusal("[padding]\ninput = \"idz\"\ndimension = 1\n"), "no input 'idz'"));
  CHECK(contains(refusal("[padding]\ninput = \"ids\"\ndimension = 2\n"), "has rank 2"));
  CHECK(contains(refusal("[padding]\ninput = \"ids\"\ndimension = -1\n"), "has rank 2"));
  CHECK(contains(refusal("[padding]\ninput = \"ids\"\ndimension = 0\n"), "not a free dimension"));
  CHECK(contains(refusal("[padding]\ninput = \"ids\"\ndimension = 1\nvalue = 0\n"), ":4:9: padding has"));
  const std::string padding = "[padding]\ninput = \"ids\"\ndimension = 1\n[padding.values]\n";
  CHECK(contains(refusal(padding + "idz = 0\n"), ":5:7: padding.values: the model has no input 'idz'"));
  CHECK(contains(refusal(padding + "ids = \"zero\"\n"), "a number is needed"));
  CHECK(contains(refusal(padding + "ids = 0.5\n"), ":5:7: padding.values: INT64 cannot hold that number"));
  CHECK(contains(refusal(padding + "ids = 1e19\n"), "INT64 cannot hold"));
  CHECK(contains(refusal(padding + "ids = nan\n"), "INT64 cannot hold"));
  CHECK(contains(refusal(padding + "mask = -1\n"), "UINT8 cannot hold"));
  CHECK(contains(refusal(padding + "mask = 256\n"), "UINT8 cannot hold"));
}
