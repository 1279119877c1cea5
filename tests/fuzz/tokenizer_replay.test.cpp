// Plays the committed corpus of the tokenizers' fuzz target again without a fuzzer, and its tokenizer.json files with
// every byte damaged and cut off everywhere.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/tokenizer_reader.hpp"

namespace {

using namespace shoal;

std::string read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::filesystem::path> inputs() {
  std::vector<std::filesystem::path> files;
  for (const auto& each : std::filesystem::directory_iterator(std::filesystem::path(SHOAL_FUZZ_CORPUS) / "tokenizer"))
    files.push_back(each.path());
  std::sort(files.begin(), files.end());
  REQUIRE(!files.empty());
  return files;
}

std::size_t step() {
  const auto* given = std::getenv("SHOAL_FUZZ_STEP");
  return given == nullptr ? 1 : std::max<std::size_t>(1, std::strtoul(given, nullptr, 10));
}

}  // namespace

TEST_CASE("no input of a tokenizer that a fuzzer kept or found breaks it, and those called good are read") {
  for (const auto& file : inputs()) {
    CAPTURE(file.filename().string());
    const auto ids = test::read_tokenizer_input(read(file));
    if (file.filename().string().starts_with("good-")) CHECK(ids.has_value());
  }
}

TEST_CASE("a tokenizer.json with any byte damaged, or cut off, is refused or encodes") {
  for (const auto& file : inputs()) {
    const auto whole = read(file);
    if (!whole.starts_with('j') || !file.filename().string().starts_with("good-")) continue;
    for (std::size_t at = 1; at < whole.size(); at += step()) {
      CHECK_FALSE(test::read_tokenizer_input(whole.substr(0, at)).has_value());
      for (const int flip : {0x01, 0x04, 0x20, 0x80}) {
        auto damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        (void)test::read_tokenizer_input(damaged);
      }
    }
  }
}
