// The zip reader on files that were damaged, cut off or made to mislead it.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cstring>

#include "executor/archive.hpp"
#include "executor/crc32.hpp"
#include "unit/executor/archive_writer.hpp"

namespace {

using namespace shoal;
using executor::archive;
using test::scratch_file;

const test::records good{{"a", "alpha"}, {"folder/b", std::string(300, 'b')}, {"empty", ""}};

std::string reason(const std::string& bytes) {
  const scratch_file file(bytes);
  const auto opened = archive::open(file.path());
  if (opened) return "";
  CHECK(opened.error().code == errc::corrupt);
  return opened.error().message;
}

/// Overwrites `size` bytes at `from`, counted from the end if negative.
template <class Number>
std::string patched(std::string bytes, std::ptrdiff_t from, Number value) {
  std::memcpy(bytes.data() + (from < 0 ? static_cast<std::ptrdiff_t>(bytes.size()) + from : from), &value,
              sizeof value);
  return bytes;
}

}  // namespace

TEST_CASE("records are found by name, in place and aligned as they were written") {
  const scratch_file file(test::zip(good));
  const auto opened = archive::open(file.path());
  REQUIRE(opened.has_value());
  for (const auto& [name, bytes] : good) CHECK((*opened)->text(name).value() == bytes);
  CHECK(reinterpret_cast<std::uintptr_t>((*opened)->record("folder/b")->data()) % 64 == 0);
  CHECK((*opened)->contains("a"));
  CHECK_FALSE((*opened)->contains("model/a"));
  const auto missing = (*opened)->record("../a");
  REQUIRE(!missing.has_value());
  CHECK(missing.error().message.find("no record ../a") != std::string::npos);
}

TEST_CASE("the checksum is the one of zip") {
  const std::string check = "123456789";
  CHECK(executor::crc32(std::as_bytes(std::span(check))) == 0xCBF43926);
  const std::string longer(1000, 'x');
  std::uint32_t slow = 0xFFFFFFFF;
  for (const char c : longer) {
    slow ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) slow = (slow >> 1) ^ ((slow & 1) != 0 ? 0xEDB88320 : 0);
  }
  CHECK(executor::crc32(std::as_bytes(std::span(longer))) == ~slow);
}

TEST_CASE("what is not a regular file is not found, and a FIFO does not hang the reader") {
  CHECK(archive::open("/nonexistent/model.pt2").error().code == errc::not_found);
  const scratch_file file("");
  CHECK(archive::open(file.path().parent_path()).error().code == errc::not_found);
  const auto fifo = file.path().string() + ".fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(archive::open(fifo).error().code == errc::not_found);
}

TEST_CASE("an empty file and a file of another format are corrupt") {
  CHECK(reason("").find("is empty") != std::string::npos);
  CHECK(reason("not a zip file, but long enough for one").find("no central directory") != std::string::npos);
}

TEST_CASE("an archive cut off anywhere is corrupt") {
  const auto whole = test::zip(good);
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(reason(whole.substr(0, size)) != "");
  }
}

TEST_CASE("a flipped bit in a record is noticed when the record is read") {
  auto bytes = test::zip(good);
  bytes[bytes.find("alpha") + 2] ^= 1;
  const scratch_file file(bytes);
  const auto opened = archive::open(file.path());
  REQUIRE(opened.has_value());
  const auto read = (*opened)->record("a");
  REQUIRE(!read.has_value());
  CHECK(read.error().code == errc::corrupt);
  CHECK(read.error().message.find("checksum of its record a differs") != std::string::npos);
  CHECK((*opened)->record("folder/b").has_value());
}

TEST_CASE("any byte of the file set to any of several values is refused or harmless") {
  const auto whole = test::zip(good);
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      auto bytes = whole;
      bytes[at] = static_cast<char>(value);
      const scratch_file file(bytes);
      const auto opened = archive::open(file.path());
      if (!opened) continue;
      for (const auto& [name, content] : good) {
        const auto read = (*opened)->text(name);
        if (read) CHECK(*read == content);
      }
    }
}

TEST_CASE("names that could leave the archive's folder are refused") {
  for (const auto* name :
       {"../escape", "a/../../b", "/absolute", "a//b", "a/./b", "back\\slash", "drive:name", "line\nbreak", "a/"}) {
    CAPTURE(name);
    CHECK(reason(test::zip({{name, "x"}})).find("not a plain relative path") != std::string::npos);
  }
  CHECK(reason(test::zip({{std::string(600, 'n'), "x"}})).find("not a plain relative path") != std::string::npos);
}

TEST_CASE("records may not lie outside of the file, over each other, or be there twice") {
  const auto two = test::zip({{"a", std::string(100, 'a')}, {"b", std::string(100, 'b')}});
  const auto directory = two.find("PK\x01\x02");
  const auto second = two.find("PK\x01\x02", directory + 1);
  CHECK(reason(patched(two, static_cast<std::ptrdiff_t>(second + 42), std::uint32_t{0})).find("named otherwise") !=
        std::string::npos);
  CHECK(reason(patched(two, static_cast<std::ptrdiff_t>(second + 42), std::uint32_t{0x7FFFFFFF})).find("outside") !=
        std::string::npos);
  auto grown = patched(two, static_cast<std::ptrdiff_t>(directory + 24), std::uint32_t{150});
  grown = patched(grown, static_cast<std::ptrdiff_t>(directory + 20), std::uint32_t{150});
  CHECK(reason(grown).find("overlap") != std::string::npos);
  grown = patched(two, static_cast<std::ptrdiff_t>(second + 24), std::uint32_t{100000});
  grown = patched(grown, static_cast<std::ptrdiff_t>(second + 20), std::uint32_t{100000});
  CHECK(reason(grown).find("reaches beyond") != std::string::npos);
  // The second entry is made a copy of the first: its name is as long.
  auto twice = two;
  twice.replace(second, second - directory, two, directory, second - directory);
  CHECK(reason(twice).find("there twice") != std::string::npos);
}

TEST_CASE("compressed and encrypted records are refused") {
  const auto one = test::zip({{"a", "text"}});
  const auto directory = static_cast<std::ptrdiff_t>(one.find("PK\x01\x02"));
  CHECK(reason(patched(one, directory + 10, std::uint16_t{8})).find("compressed or encrypted") != std::string::npos);
  CHECK(reason(patched(one, directory + 8, std::uint16_t{1})).find("compressed or encrypted") != std::string::npos);
}

TEST_CASE("a directory that claims more than the file has is refused before anything is allocated") {
  const auto one = test::zip({{"a", "text"}});
  CHECK(reason(patched(one, -12, std::uint16_t{0xFFFF})).find("central directory") != std::string::npos);  // count
  CHECK(reason(patched(one, -10, std::uint32_t{0xFFFFFFF0})).find("central directory") != std::string::npos);
  CHECK(reason(patched(one, -6, std::uint32_t{0xFFFFFFF0})).find("central directory") != std::string::npos);
}
