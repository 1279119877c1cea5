#include "cache/object_store.hpp"

#include <csignal>
#include <cstring>

#include <sys/resource.h>

#include "unit/cache/objects.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::test;
using cache::object_store;

namespace {

std::unique_ptr<object_store> open(const std::filesystem::path& folder) {
  auto opened = object_store::open(folder);
  REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
  return std::move(*opened);
}

expected<std::vector<std::byte>> read(object_store& store, const protocol::object_key& key) {
  std::vector<std::byte> bytes;
  const auto size = store.read(key, [&](std::span<const std::byte> part) -> expected<void> {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  });
  if (!size) return tl::unexpected(size.error());
  CHECK(*size == bytes.size());
  return bytes;
}

bool holds(object_store& store, const buffer& bytes) {
  const auto got = read(store, name_of(bytes));
  return got && got->size() == bytes.size() && std::memcmp(got->data(), bytes.data(), bytes.size()) == 0;
}

expected<void> put(object_store& store, const buffer& bytes) {
  const auto batch = store.begin();
  if (auto added = batch->add(name_of(bytes), bytes.bytes(), protocol::checksum_of(name_of(bytes), bytes.bytes()));
      !added)
    return added;
  return batch->commit();
}

}  // namespace

TEST_CASE("objects of every size survive a restart, and so does the store's name") {
  temporary_folder folder;
  std::vector<buffer> objects;
  for (const std::size_t size : {1, 100, 4096, 5000, 4 << 20, (4 << 20) + 1, 9'000'000})
    objects.push_back(object_bytes(static_cast<unsigned>(size), size));
  std::uint64_t identity = 0;
  {
    auto store = open(folder.path());
    identity = store->identity();
    for (const auto& each : objects) REQUIRE(put(*store, each));
  }
  auto store = open(folder.path());
  CHECK(store->identity() == identity);
  CHECK(store->index().size() == objects.size());
  for (const auto& each : objects) CHECK(holds(*store, each));
}

TEST_CASE("what was forgotten is not there, the others are") {
  temporary_folder folder;
  auto store = open(folder.path());
  const auto one = object_bytes(1, 5'000'000);
  const auto two = object_bytes(2, 5000);
  REQUIRE(put(*store, one));
  REQUIRE(put(*store, two));
  REQUIRE(store->forget(name_of(one)));
  CHECK(read(*store, name_of(one)).error().code == errc::not_found);
  CHECK(holds(*store, two));
  CHECK(store->index().size() == 1);
  REQUIRE(put(*store, one));
  CHECK(holds(*store, one));
}

TEST_CASE("a folder that another instance uses is refused with advice") {
  temporary_folder folder;
  auto store = open(folder.path());
  const auto second = object_store::open(folder.path());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::unavailable);
  CHECK(second.error().message.find("used by another instance") != std::string::npos);
  CHECK(second.error().message.find("cache.ssd") != std::string::npos);
}

TEST_CASE("a folder that cannot be made or holds a damaged store is an error with advice") {
  temporary_folder folder;
  folder.write("file", "in the way");
  for (const auto& where : {folder.path() / "file", std::filesystem::path("/proc/shoal")}) {
    const auto opened = object_store::open(where);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().message.find(where.string()) != std::string::npos);
    CHECK(opened.error().message.find("cache.ssd") != std::string::npos);
  }
  const auto damaged = folder.path() / "damaged";
  { REQUIRE(put(*open(damaged), object_bytes(1, 5'000'000))); }
  folder.write("damaged/index/CURRENT", "nonsense");
  const auto opened = object_store::open(damaged);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == errc::corrupt);
  CHECK(opened.error().message.find("move it away") != std::string::npos);
}

TEST_CASE("bytes that changed on the disk are never handed on as an object") {
  temporary_folder folder;
  const auto bytes = object_bytes(1, 6'000'000);
  const auto other = object_bytes(2, 6'000'000);
  {
    auto store = open(folder.path());
    REQUIRE(put(*store, bytes));
  }
  int flipped = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "extents")) {
    flip_bit(entry.path(), 3'000'000);
    ++flipped;
  }
  REQUIRE(flipped == 1);
  auto store = open(folder.path());
  const auto got = read(*store, name_of(bytes));
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::corrupt);
  REQUIRE(store->forget(name_of(bytes)));
  REQUIRE(put(*store, bytes));
  CHECK(holds(*store, bytes));
  REQUIRE(put(*store, other));
  CHECK(holds(*store, other));
}

TEST_CASE("a batch that was not committed was never there, and what a crash left is removed") {
  temporary_folder folder;
  const auto kept = object_bytes(1, 500'000);
  const auto dropped = object_bytes(2, 500'000);
  {
    auto store = open(folder.path());
    REQUIRE(put(*store, kept));
    const auto batch = store->begin();
    REQUIRE(batch->add(name_of(dropped), dropped.bytes(), 0));
  }
  folder.write("extents/99", "written before the process died");
  auto store = open(folder.path());
  CHECK(holds(*store, kept));
  CHECK(store->index().size() == 1);
  CHECK(read(*store, name_of(dropped)).error().code == errc::not_found);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "extents/99"));
}

TEST_CASE("an extent file that is cut or gone gives an error, never fewer bytes") {
  temporary_folder folder;
  const auto bytes = object_bytes(1, 500'000);
  auto store = open(folder.path());
  REQUIRE(put(*store, bytes));
  std::filesystem::resize_file(folder.path() / "extents/1", 400'000);
  CHECK(read(*store, name_of(bytes)).error().code == errc::corrupt);
  std::filesystem::remove(folder.path() / "extents/1");
  CHECK(read(*store, name_of(bytes)).error().code == errc::corrupt);
}

TEST_CASE("a full disk fails what is put and loses nothing that was acknowledged") {
  temporary_folder folder;
  auto store = open(folder.path());
  const auto kept = object_bytes(1, 2'000'000);
  REQUIRE(put(*store, kept));
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{1 << 20, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const auto refused = object_bytes(2, 8'000'000);
  const auto result = put(*store, refused);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::unavailable);
  CHECK(result.error().message.find(folder.path().string()) != std::string::npos);
  CHECK(holds(*store, kept));
  store.reset();
  store = open(folder.path());
  CHECK(holds(*store, kept));
  const auto again = object_bytes(3, 3'000'000);
  CHECK(put(*store, again));
  CHECK(holds(*store, again));
}
