// Plays the committed corpora again without a fuzzer, and one small archive with every byte damaged and cut off
// everywhere. The environment's SHOAL_FUZZ_STEP checks every n-th byte only (sanitizers are slow).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "fuzz/read_envelope.hpp"
#include "fuzz/read_grpc.hpp"
#include "fuzz/read_http.hpp"
#include "fuzz/read_model.hpp"
#include "unit/executor/archive_writer.hpp"

namespace {

using namespace shoal;

const std::filesystem::path corpus = SHOAL_FUZZ_CORPUS;

std::vector<std::filesystem::path> inputs(const char* target) {
  std::vector<std::filesystem::path> files;
  for (const auto& each : std::filesystem::directory_iterator(corpus / target)) files.push_back(each.path());
  std::sort(files.begin(), files.end());
  REQUIRE(!files.empty());
  return files;
}

std::size_t step() {
  const auto* given = std::getenv("SHOAL_FUZZ_STEP");
  return given == nullptr ? 1 : std::max<std::size_t>(1, std::strtoul(given, nullptr, 10));
}

}  // namespace

TEST_CASE("no input that a fuzzer kept or found breaks the reader, and those called good are read") {
  for (const auto& file : inputs("archive")) {
    CAPTURE(file.filename().string());
    const auto read = test::read_archive(test::read_file(file));
    if (file.filename().string().starts_with("good-")) CHECK(read.has_value());
  }
  for (const auto& file : inputs("graph")) {
    CAPTURE(file.filename().string());
    const auto read = test::read_graph_texts(test::read_file(file));
    if (file.filename().string().starts_with("good-")) CHECK(read.has_value());
  }
}

TEST_CASE("no message that a fuzzer kept or found breaks its reader, and those called good are read") {
  for (const auto& file : inputs("envelope")) {
    CAPTURE(file.filename().string());
    const auto bytes = test::read_file(file);
    const auto read = test::read_envelope(std::as_bytes(std::span(bytes)));
    if (file.filename().string().starts_with("good-")) CHECK(read.has_value());
  }
}

TEST_CASE("nothing that a fuzzer kept or found breaks a door, and what is called good is answered") {
  for (const auto& file : inputs("http")) {
    CAPTURE(file.filename().string());
    const auto bytes = test::read_file(file);
    const auto answer = test::read_http(std::as_bytes(std::span(bytes)));
    if (file.filename().string().starts_with("good-")) CHECK(answer.starts_with("HTTP/1.1 200"));
  }
  for (const auto& file : inputs("grpc")) {
    CAPTURE(file.filename().string());
    const auto bytes = test::read_file(file);
    const auto answer = test::read_grpc(std::as_bytes(std::span(bytes)));
    if (file.filename().string().starts_with("good-")) CHECK(answer.has_value());
  }
}

TEST_CASE("an archive with any byte damaged is refused, or read as the very same graph") {
  const auto whole = test::read_file(corpus / "archive" / "good-tuple.pt2");
  const auto wanted = test::read_archive(whole);
  REQUIRE(wanted.has_value());
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); at += step())
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
      auto damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      const auto read = test::read_archive(damaged);
      refused += read ? 0 : 1;
      if (read && *read != *wanted) FAIL_CHECK("byte ", at, " flipped by ", flip, " gives another graph");
    }
  CHECK(refused > whole.size() / step());
}

TEST_CASE("an archive cut off anywhere is refused") {
  const auto whole = test::read_file(corpus / "archive" / "good-tuple.pt2");
  for (std::size_t size = 0; size < whole.size(); size += step())
    if (test::read_archive(whole.substr(0, size))) FAIL_CHECK("read though cut off after ", size, " bytes");
}
