// Text in, vectors out, through real services: what one types, the C++ SDK, and a worker that dies meanwhile.
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include <doctest/doctest.h>
#include <shoal/client.hpp>

#include "mesh/command_line.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "mesh/wait_until.hpp"

using namespace shoal::test;
using namespace std::chrono_literals;
namespace client = shoal::client;

namespace {

constexpr std::size_t width = 384;

std::string minilm(const std::string& file) { return models_folder() + "/minilm/1/" + file; }

using result = command_result;

result run(const scratch_folder& folder, std::vector<std::string> arguments) {
  return run_shoal(folder, std::move(arguments), 120s);
}

/// Lines of a few to many words, from a seed.
std::vector<std::string> sentences(std::size_t count) {
  static const std::vector<std::string> words{"river", "Gitarre", "stone",   "running", "the",
                                              "of",    "café",    "quickly", "7"};
  std::uint64_t state = 42;
  std::vector<std::string> made;
  for (std::size_t i = 0; i < count; ++i) {
    std::string line;
    for (std::size_t w = 0; w < 1 + (state >> 40) % 14; ++w) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      line += words[(state >> 33) % words.size()] + " ";
    }
    made.push_back(std::move(line));
  }
  return made;
}

void write_lines(const std::string& file, const std::vector<std::string>& lines) {
  std::ofstream to(file);
  for (const auto& each : lines) to << each << "\n";
}

/// The rows of an .npy file; the header must say so many.
std::vector<float> read_npy(const std::string& file, std::size_t rows) {
  std::ifstream from(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(from), {}};
  const auto shape = "'shape': (" + std::to_string(rows) + ", " + std::to_string(width) + ")";
  REQUIRE_MESSAGE(bytes.substr(0, 128).find(shape) != std::string::npos, bytes.substr(0, 128));
  std::vector<float> values(rows * width);
  REQUIRE(bytes.size() == 128 + values.size() * sizeof(float));
  std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(float));
  return values;
}

/// Of fp32, whichever texts were computed together.
double apart(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
  return most;
}

/// A mesh of MiniLM alone, imported with its tokenizer.
struct text_mesh {
  scratch_folder folder;
  std::string models = folder / "models";
  result imported = run(folder, {"import", minilm("model.pt2"), "--name", "sentences", "--toml", minilm("model.toml"),
                                 "--tokenizer", minilm("tokenizer.json"), "--models", models});
  mesh_of_processes mesh{{"--scale", "worker=2", "--threads", "1"}, models};
  std::string at;

  text_mesh() {
    REQUIRE_MESSAGE(imported.code == 0, imported.output);
    mesh.wait_until_ready();
    at = mesh.gateway();
  }
  client::mesh connect() {
    auto made = client::connect(at);
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
    return std::move(*made);
  }
};

}  // namespace

TEST_CASE("lines of a file become vectors, also if the work was interrupted, and the SDK gives the same") {
  text_mesh served;
  const auto& folder = served.folder;
  const auto lines = sentences(1500);
  write_lines(folder / "lines.txt", lines);
  const auto whole = run(folder, {"embed", "sentences", folder / "lines.txt", "--at", served.at});
  REQUIRE_MESSAGE(whole.code == 0, whole.output);
  const auto vectors = read_npy(folder / "lines.txt.npy", lines.size());

  SUBCASE("interrupted by kill -9") {
    const std::vector<std::string> command{
        executable("shoal"),  "embed",   "sentences", folder / "lines.txt", "--at", served.at, "--out",
        folder / "again.npy", "--batch", "1",         "--window",           "1"};
    {
      process started(command, folder / "killed.log");
      // What is done is noted every second; one line at a time takes several.
      CHECK(comes_true([&] { return std::filesystem::exists(folder / "again.npy.partial.json"); }));
      started.kill();
      started.wait(5s);
    }
    REQUIRE(!std::filesystem::exists(folder / "again.npy"));
    std::ofstream(folder / "again.npy.partial", std::ios::app) << "half a row";
    const auto rest = run(folder, {command.begin() + 1, command.end()});
    REQUIRE_MESSAGE(rest.code == 0, rest.output);
    CHECK(says(rest, "1500 vectors"));
    CHECK(!says(rest, "(1500 computed"));
    CHECK(apart(read_npy(folder / "again.npy", lines.size()), vectors) < 1e-5);
    CHECK(!std::filesystem::exists(folder / "again.npy.partial.json"));
  }
  SUBCASE("JSON lines") {
    REQUIRE(run(folder, {"embed", "sentences/1", folder / "lines.txt", "--out", folder / "v.jsonl", "--at", served.at})
                .code == 0);
    std::ifstream file(folder / "v.jsonl");
    std::size_t count = 0;
    for (std::string line; std::getline(file, line); ++count)
      CHECK(line.starts_with("{\"index\":" + std::to_string(count) + ",\"embedding\":["));
    CHECK(count == lines.size());
  }
  SUBCASE("the C++ SDK") {
    auto over = served.connect();
    std::size_t told = 0;
    client::embed_options how;
    how.batch = 100;
    how.progress = [&](std::size_t done, std::size_t total) {
      told = done;
      CHECK(total == lines.size());
    };
    const auto given = over.embed("sentences", lines, how);
    REQUIRE_MESSAGE(given.has_value(), (given ? "" : given.error().message));
    CHECK(told == lines.size());
    CHECK(given->rows == lines.size());
    CHECK(given->width == width);
    CHECK(given->token_counts.size() == lines.size());
    CHECK(given->plan == "fp32");
    CHECK(apart(given->values, vectors) < 1e-5);
    CHECK(over.embed("sentences", std::vector<std::string>{}).error().code == client::errc::invalid_argument);
    const auto wrong = over.embed("sentences", std::vector<std::string>{"fine", "\xC3"});
    REQUIRE(!wrong);
    CHECK(wrong.error().message.find("text 1") != std::string::npos);
  }
  SUBCASE("what is wrong is said") {
    CHECK(says(run(folder, {"embed", "sentences", folder / "lines.txt", "--at", served.at}), "is there already"));
    CHECK(run(folder, {"embed", "sentences", folder / "nothing.txt", "--at", served.at}).code == 3);
    CHECK(run(folder, {"embed", "nobody", folder / "lines.txt", "--out", folder / "n.npy", "--at", served.at}).code ==
          3);
    std::string longer;
    for (int i = 0; i < 600; ++i) longer += "the ";
    write_lines(folder / "long.txt", {"short", longer});
    const auto refused = run(folder, {"embed", "sentences", folder / "long.txt", "--at", served.at});
    CHECK(refused.code == 2);
    CHECK(says(refused, "602 tokens"));
    CHECK(run(folder, {"embed", "sentences", folder / "long.txt", "--truncate", "--at", served.at}).code == 0);
  }
}

TEST_CASE("no text is lost when a worker dies while a list is computed") {
  text_mesh served;
  auto over = served.connect();
  const auto lines = sentences(1200);
  const auto calm = over.embed("sentences", lines);
  REQUIRE_MESSAGE(calm.has_value(), (calm ? "" : calm.error().message));
  const auto victim = served.mesh.id_of("worker-1");
  REQUIRE(victim > 0);
  std::jthread killer([&] {
    std::this_thread::sleep_for(400ms);
    ::kill(victim, SIGKILL);
  });
  const auto disturbed = over.embed("sentences", lines);
  killer.join();
  REQUIRE_MESSAGE(disturbed.has_value(), (disturbed ? "" : disturbed.error().message));
  CHECK(served.mesh.is_replaced("worker-1", victim));
  CHECK(disturbed->token_counts == calm->token_counts);
  CHECK(apart(disturbed->values, calm->values) < 1e-5);
}

TEST_CASE("a tokenizer that does not fit its model is refused at import") {
  scratch_folder folder;
  const auto models = folder / "models";
  const auto import = [&](const std::string& file, const std::string& tokenizer) {
    return run(folder, {"import", file, "--name", "refused", "--tokenizer", tokenizer, "--models", models});
  };
  const auto images = import(models_folder() + "/identity/1/model.pt2", minilm("tokenizer.json"));
  CHECK(images.code != 0);
  CHECK(says(images, "cannot be given text"));
  std::ofstream(folder / "unigram.json")
      << R"({"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,)"
      << R"("decoder":null,"model":{"type":"Unigram","unk_id":0,"vocab":[["a",0.0]]}})";
  const auto kind = import(minilm("model.pt2"), folder / "unigram.json");
  CHECK(kind.code != 0);
  CHECK(says(kind, "Unigram"));
  CHECK(says(kind, "unigram.json"));
  CHECK(says(import(minilm("model.pt2"), folder / "nothing.json"), "nothing.json"));
  // A vocabulary that is larger than the model's.
  std::ifstream from(minilm("tokenizer.json"));
  std::string larger{std::istreambuf_iterator<char>(from), {}};
  const auto place = larger.find("\"vocab\"");
  const auto open = larger.find('{', place);
  larger.insert(open + 1, "\"a new word\":40000,");
  std::ofstream(folder / "larger.json") << larger;
  const auto beyond = import(minilm("model.pt2"), folder / "larger.json");
  CHECK(beyond.code != 0);
  CHECK_MESSAGE(says(beyond, "40000"), beyond.output);
  CHECK(!std::filesystem::exists(models + "/refused"));
}
