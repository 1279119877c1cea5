#include "cache/dram_tier.hpp"

#include <csignal>
#include <cstring>

#include <sys/resource.h>
#include <sys/stat.h>

#include "unit/cache/objects.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::test;
using cache::dram_tier;

namespace {

std::unique_ptr<dram_tier> open(const std::filesystem::path& folder, std::uint64_t name = 7) {
  auto opened = dram_tier::open(folder, name);
  REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
  return std::move(*opened);
}

std::size_t files_in(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) count += entry.is_regular_file();
  return count;
}

}  // namespace

TEST_CASE("an object in the memory tier is mapped as it was put, read-only, by its name") {
  temporary_folder folder;
  auto tier = open(folder.path());
  const auto bytes = object_bytes(1, 5000);
  const auto key = name_of(bytes);
  REQUIRE(tier->put(key, bytes.bytes()));
  const auto mapped = protocol::map_object(folder.path(), key);
  REQUIRE(mapped);
  CHECK(mapped->size() == bytes.size());
  CHECK(std::memcmp(mapped->data(), bytes.data(), bytes.size()) == 0);
  struct stat status {};
  REQUIRE(::stat(protocol::object_path(folder.path(), key).c_str(), &status) == 0);
  CHECK((status.st_mode & 0222) == 0);
  CHECK(tier->check(key) == bytes.size());
}

TEST_CASE("who has an object mapped keeps it when its file is removed") {
  temporary_folder folder;
  auto tier = open(folder.path());
  const auto bytes = object_bytes(2, 9000);
  REQUIRE(tier->put(name_of(bytes), bytes.bytes()));
  const auto mapped = protocol::map_object(folder.path(), name_of(bytes));
  REQUIRE(mapped);
  REQUIRE(tier->remove(name_of(bytes)));
  CHECK(std::memcmp(mapped->data(), bytes.data(), bytes.size()) == 0);
  CHECK(tier->check(name_of(bytes)).error().code == errc::not_found);
  CHECK(tier->remove(name_of(bytes)));
}

TEST_CASE("a flipped bit, a cut file and a file under another's name do not verify") {
  temporary_folder folder;
  auto tier = open(folder.path());
  const auto bytes = object_bytes(3, 5000);
  const auto key = name_of(bytes);
  const auto path = protocol::object_path(folder.path(), key);
  const auto code = [&] {
    const auto mapped = protocol::map_object(folder.path(), key);
    REQUIRE_FALSE(mapped);
    return mapped.error().code;
  };
  for (const std::uint64_t at : {0, 4999, 5000, 5010, 5020}) {
    CAPTURE(at);
    REQUIRE(tier->put(key, bytes.bytes()));
    flip_bit(path, at);
    CHECK(code() == errc::corrupt);
  }
  for (const std::uint64_t size : {0, 16, 4096, 5031}) {
    CAPTURE(size);
    REQUIRE(tier->put(key, bytes.bytes()));
    std::filesystem::resize_file(path, size);
    CHECK(code() == errc::corrupt);
  }
  const auto other = object_bytes(4, 5000);
  REQUIRE(tier->put(name_of(other), other.bytes()));
  std::filesystem::rename(protocol::object_path(folder.path(), name_of(other)), path);
  CHECK(code() == errc::corrupt);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/etc/passwd", path);
  CHECK(code() == errc::not_found);
}

TEST_CASE("a file that was not finished is never seen, and what a dead writer left is removed") {
  temporary_folder folder;
  const auto bytes = object_bytes(5, 5000);
  const auto key = name_of(bytes);
  {
    auto tier = open(folder.path());
    auto file = tier->begin(key, bytes.size());
    REQUIRE(file);
    REQUIRE((*file)->write(bytes.bytes().first(100)));
    CHECK_FALSE((*file)->finish());
    CHECK(tier->check(key).error().code == errc::not_found);
    CHECK_FALSE((*file)->write(bytes.bytes()));
  }
  CHECK(files_in(folder.path()) == 0);
  folder.write(".00000000000000ff.12", "left by a writer that died");
  folder.write(".keep", "not ours");
  auto tier = open(folder.path());
  CHECK(tier->scan().empty());
  CHECK_FALSE(std::filesystem::exists(folder.path() / ".00000000000000ff.12"));
  CHECK(std::filesystem::exists(folder.path() / ".keep"));
}

TEST_CASE("what a living instance is writing is left alone") {
  temporary_folder folder;
  auto one = open(folder.path(), 1);
  auto two = open(folder.path(), 2);
  auto file = one->begin(name_of(object_bytes(6, 10)), 10);
  REQUIRE(file);
  two->scan();
  REQUIRE((*file)->write(object_bytes(6, 10).bytes()));
  CHECK((*file)->finish());
}

TEST_CASE("instances on one folder know who lives") {
  temporary_folder folder;
  auto one = open(folder.path(), 1);
  {
    auto two = open(folder.path(), 2);
    CHECK(one->members() == std::vector<std::uint64_t>{1, 2});
    CHECK(two->members() == std::vector<std::uint64_t>{1, 2});
    const auto same = dram_tier::open(folder.path(), 2);
    REQUIRE_FALSE(same);
    CHECK(same.error().message.find("another cache of the same name") != std::string::npos);
  }
  CHECK(one->members() == std::vector<std::uint64_t>{1});
  folder.write(".members/00000000000000aa", "");  // of a process that was killed: nobody locks it
  CHECK(one->members() == std::vector<std::uint64_t>{1});
}

TEST_CASE("a full memory tier is an error with a sentence and leaves nothing behind") {
  temporary_folder folder;
  auto tier = open(folder.path());
  const auto small = object_bytes(7, 1000);
  REQUIRE(tier->put(name_of(small), small.bytes()));
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{4096, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const auto large = object_bytes(8, 100000);
  const auto put = tier->put(name_of(large), large.bytes());
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(put);
  CHECK(put.error().message.find("no room for 100000 bytes") != std::string::npos);
  CHECK(files_in(folder.path()) == 1);
  CHECK(tier->check(name_of(small)));
}

TEST_CASE("a memory tier that cannot be made says where and what to do") {
  temporary_folder folder;
  folder.write("file", "in the way");
  for (const auto& where : {folder.path() / "file", std::filesystem::path("/proc/shoal")}) {
    const auto opened = dram_tier::open(where, 1);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().message.find(where.string()) != std::string::npos);
  }
}
