// `shoal check`: what it prints and the exit codes that scripts rely on.
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mesh/process.hpp"

using namespace shoal::test;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

struct result {
  int code;
  std::string output;

  [[nodiscard]] bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
};

result check(const scratch_folder& folder, std::vector<std::string> arguments) {
  static int runs = 0;
  arguments.insert(arguments.begin(), {executable("shoal"), "check"});
  process started(std::move(arguments), folder / ("check." + std::to_string(runs++) + ".log"));
  const auto code = started.wait(60s);
  return {code.value_or(-1), started.output()};
}

std::string archive(const std::string& name) { return models_folder() + "/../" + name + "/1/model.pt2"; }

}  // namespace

TEST_CASE("shoal check says how a model will run and ends with 0") {
  scratch_folder folder;
  const auto text = check(folder, {archive("graphs/convolutional")});
  CHECK(text.code == 0);
  CHECK(text.says("it runs"));
  CHECK(text.says("joined along"));
  CHECK(text.says("torch.ops.shoal.convolution"));
  CHECK(text.says("measured at shape image=2x3x12x16"));

  const auto printed = check(folder, {archive("graphs/convolutional"), "--input", "image=8x3x12x16", "--json"});
  CHECK(printed.code == 0);
  const auto report = json::parse(printed.output, nullptr, false);
  REQUIRE_MESSAGE(report.is_object(), printed.output);
  CHECK(report["runs"] == true);
  CHECK(report["refusals"].empty());
  CHECK(report["inputs"][0]["dims"][0]["max"] == 64);
  CHECK(report["nodes"]["exported"]["kinds"]["torch.ops.aten.conv2d.default"] == 2);
  CHECK(report["nodes"]["run"]["kinds"]["torch.ops.shoal.convolution.default"] == 2);
  CHECK(report["memory"]["measured_at"]["image"] == json({8, 3, 12, 16}));
  CHECK(report["memory"]["arena_bytes"] > 0);
  CHECK(report["memory"]["packed_bytes"] > 0);
  for (const auto* key : {"file", "outputs", "batch", "padding", "passes", "weights"}) CHECK(report.contains(key));
}

TEST_CASE("shoal check names the node, operator and reason of what is refused, and ends with 1") {
  scratch_folder folder;
  const auto text = check(folder, {archive("graphs/random")});
  CHECK(text.code == 1);
  CHECK(text.says("it will not run"));
  const auto printed = check(folder, {archive("graphs/random"), "--json"});
  CHECK(printed.code == 1);
  const auto report = json::parse(printed.output, nullptr, false);
  REQUIRE_MESSAGE(report.is_object(), printed.output);
  CHECK(report["runs"] == false);
  CHECK(report["memory"].is_null());
  REQUIRE(report["refusals"].size() == 1);
  CHECK(report["refusals"][0]["node"] == "rand_like");
  CHECK(report["refusals"][0]["operator"] == "torch.ops.aten.rand_like.default");
  CHECK(report["refusals"][0]["code"] == "unsupported");
  CHECK(check(folder, {archive("graphs/mutates_buffer")}).says("the weight or buffer count"));
}

TEST_CASE("what is wrong with the command of shoal check ends it with 2") {
  scratch_folder folder;
  const auto file = archive("graphs/convolutional");
  CHECK(check(folder, {}).code == 2);
  CHECK(check(folder, {file, "--nonsense"}).code == 2);
  for (const auto* shape : {"image", "image=", "image=8x", "image=axb", "image=8x3", "image=-1x3x12x16", "other=1",
                            "image=65x3x12x16", "image=99999999999999999999x3x12x16"}) {
    CAPTURE(shape);
    const auto refused = check(folder, {file, "--input", shape});
    CHECK(refused.code == 2);
    CHECK(refused.says("image"));
  }
  CHECK(check(folder, {file, "--input", "image=1x3x12x16", "--input", "image=2x3x12x16"}).code == 2);
}

TEST_CASE("shoal check ends with 1 on what is no archive, whatever it is") {
  scratch_folder folder;
  std::ofstream(folder / "empty");
  std::ofstream(folder / "text") << "not an archive, but a text\n";
  std::ifstream whole(archive("graphs/several"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(whole), {}};
  std::ofstream(folder / "half", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  for (const auto& file : {folder.path().string(), folder / "empty", folder / "text", folder / "half",
                           folder / "nothing.pt2", std::string("/dev/null")}) {
    CAPTURE(file);
    const auto refused = check(folder, {file});
    CHECK(refused.code == 1);
    CHECK(refused.says("it will not run"));
    CHECK(refused.says("refused: "));
    const auto printed = check(folder, {file, "--json"});
    CHECK(printed.code == 1);
    CHECK(json::parse(printed.output, nullptr, false).is_object());
  }
}
