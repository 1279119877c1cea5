#include "cache/storage.hpp"

#include "unit/cache/objects.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::test;
using cache::storage;
using kind = protocol::object_job::kind;

namespace {

struct fixture {
  temporary_folder folder;
  std::unique_ptr<storage> tiers;

  explicit fixture(bool with_disk = true) { open(with_disk); }
  void open(bool with_disk = true) {
    tiers.reset();
    auto opened = storage::open({with_disk ? folder.path() / "ssd" : std::filesystem::path(), memory()});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    tiers = std::move(*opened);
  }
  std::filesystem::path memory() const { return folder.path() / "dram"; }

  protocol::object_done::object run(kind what, const buffer& bytes, bool to_memory = true) {
    return run(what, {name_of(bytes), bytes.size(), {}, {}, what == kind::keep ? bytes : buffer(), to_memory});
  }
  protocol::object_done::object run(kind what, protocol::object_job::object object) {
    auto done = tiers->run({what, {std::move(object)}});
    REQUIRE(done.objects.size() == 1);
    return done.objects[0];
  }
  bool is_mapped(const buffer& bytes) const {
    const auto mapped = protocol::map_object(memory(), name_of(bytes));
    return mapped && std::ranges::equal(mapped->bytes(), bytes.bytes());
  }
};

}  // namespace

TEST_CASE("what is kept lies on the disk and in memory, and is filled from the disk when memory lost it") {
  fixture at;
  const auto bytes = object_bytes(1, 5'000'000);
  const auto kept = at.run(kind::keep, bytes);
  CHECK(kept.on_disk);
  CHECK(kept.in_memory);
  CHECK_FALSE(kept.problem);
  CHECK(at.is_mapped(bytes));
  std::filesystem::remove_all(at.memory());  // the host was restarted
  at.open();
  CHECK(at.tiers->on_disk().size() == 1);
  const auto filled = at.run(kind::fill, bytes);
  CHECK(filled.in_memory);
  CHECK(at.is_mapped(bytes));
}

TEST_CASE("bytes that are not what their name says are refused, those beside them are kept") {
  fixture at;
  const auto right = object_bytes(1, 5000);
  const auto wrong = object_bytes(2, 5000);
  const auto done = at.tiers->run({kind::keep,
                                   {{name_of(wrong), 5000, {}, {}, right, true},
                                    {name_of(right), 5000, {}, {}, right, true},
                                    {name_of(right), 5000, name_of(wrong), "packed", right, true}}});
  REQUIRE(done.objects.size() == 3);
  for (const std::size_t i : {0, 2}) {
    REQUIRE(done.objects[i].problem);
    CHECK(done.objects[i].problem->code == errc::corrupt);
    CHECK_FALSE(done.objects[i].in_memory);
  }
  CHECK(done.objects[1].on_disk);
  CHECK(at.tiers->on_disk().size() == 1);
  CHECK_FALSE(std::filesystem::exists(protocol::object_path(at.memory(), name_of(wrong))));
}

TEST_CASE("a derived object is named by what it was made of and how") {
  fixture at;
  const auto source = object_bytes(1, 64);
  const auto packed = object_bytes(2, 5000);
  const auto key = protocol::derived_key(name_of(source), "linear-f32-1-avx512");
  CHECK(key != protocol::derived_key(name_of(source), "linear-f32-1-avx2"));
  CHECK(key != protocol::derived_key(name_of(packed), "linear-f32-1-avx512"));
  const auto kept = at.run(kind::keep, {key, 5000, name_of(source), "linear-f32-1-avx512", packed, true});
  CHECK_FALSE(kept.problem);
  CHECK(protocol::map_object(at.memory(), key));
}

TEST_CASE("after a restart what lies in memory is taken over; what is damaged is removed and filled again") {
  fixture at;
  const auto intact = object_bytes(1, 9000);
  const auto flipped = object_bytes(2, 9000);
  const auto cut = object_bytes(3, 9000);
  for (const auto& each : {intact, flipped, cut}) CHECK(at.run(kind::keep, each).in_memory);
  flip_bit(protocol::object_path(at.memory(), name_of(flipped)), 1234);
  std::filesystem::resize_file(protocol::object_path(at.memory(), name_of(cut)), 4096);
  at.open();
  const auto adopted = at.tiers->adopt();
  std::size_t taken = 0;
  std::size_t quarantined = 0;
  for (const auto& each : adopted.objects) {
    taken += each.in_memory;
    quarantined += each.quarantined;
    CHECK(each.in_memory == (each.key == name_of(intact)));
  }
  CHECK(taken == 1);
  CHECK(quarantined == 2);
  CHECK_FALSE(at.is_mapped(flipped));
  CHECK(at.run(kind::fill, flipped).in_memory);
  CHECK(at.is_mapped(flipped));
}

TEST_CASE("a check removes a damaged file and leaves a good one") {
  fixture at;
  const auto bytes = object_bytes(1, 9000);
  at.run(kind::keep, bytes);
  CHECK(at.run(kind::check, bytes).in_memory);
  flip_bit(protocol::object_path(at.memory(), name_of(bytes)), 8999);
  const auto checked = at.run(kind::check, bytes);
  CHECK(checked.quarantined);
  CHECK_FALSE(checked.in_memory);
  CHECK_FALSE(std::filesystem::exists(protocol::object_path(at.memory(), name_of(bytes))));
}

TEST_CASE("without a disk objects live in memory only") {
  fixture at(false);
  const auto bytes = object_bytes(1, 9000);
  const auto kept = at.run(kind::keep, bytes);
  CHECK(kept.in_memory);
  CHECK_FALSE(kept.on_disk);
  CHECK_FALSE(kept.problem);
  CHECK_FALSE(at.run(kind::drop, bytes).problem);
  const auto filled = at.run(kind::fill, bytes);
  CHECK_FALSE(filled.in_memory);
  CHECK(filled.problem);
}

TEST_CASE("a memory tier that is full or becomes read-only fails what does not fit; what lies there goes on") {
  small_tmpfs memory("256k");
  if (!memory.mounted()) return;
  temporary_folder disk;
  auto tiers = storage::open({disk.path(), memory.path()});
  REQUIRE(tiers);
  const auto keep = [&](const buffer& bytes) {
    return (*tiers)->run({kind::keep, {{name_of(bytes), bytes.size(), {}, {}, bytes, true}}}).objects[0];
  };
  const auto small = object_bytes(1, 50'000);
  const auto large = object_bytes(2, 1'000'000);
  CHECK(keep(small).in_memory);
  const auto kept = keep(large);
  CHECK(kept.on_disk);
  CHECK_FALSE(kept.in_memory);
  CHECK_FALSE(kept.problem);
  const auto filled = (*tiers)->run({kind::fill, {{name_of(large), large.size(), {}, {}, {}, true}}}).objects[0];
  CHECK_FALSE(filled.in_memory);
  CHECK(filled.on_disk);
  CHECK(filled.problem->message.find("no room for") != std::string::npos);
  CHECK(protocol::map_object(memory.path(), name_of(small)));
  memory.make_read_only();
  const auto late = keep(object_bytes(3, 1000));
  CHECK(late.on_disk);
  CHECK_FALSE(late.in_memory);
  CHECK(protocol::map_object(memory.path(), name_of(small)));
  tiers->reset();
  const auto again = storage::open({disk.path(), memory.path()});
  REQUIRE_FALSE(again);
  CHECK(again.error().message.find("Read-only") != std::string::npos);
}

TEST_CASE(
    "a disk that is full or read-only fails what is offered by a sentence, loses nothing, and takes more when it can") {
  small_tmpfs disk("8m");
  if (!disk.mounted()) return;
  temporary_folder memory;
  auto tiers = storage::open({disk.path() / "ssd", memory.path()});
  REQUIRE_MESSAGE(tiers, (tiers ? "" : tiers.error().message));
  const auto small = object_bytes(1, 500'000);
  const auto large = object_bytes(2, 9'000'000);
  const auto other = object_bytes(3, 400'000);
  const auto done = (*tiers)->run({kind::keep,
                                   {{name_of(small), small.size(), {}, {}, small, true},
                                    {name_of(large), large.size(), {}, {}, large, true},
                                    {name_of(other), other.size(), {}, {}, other, true}}});
  CHECK(done.objects[0].on_disk);
  REQUIRE(done.objects[1].problem);
  CHECK(done.objects[1].problem->message.find("No space left") != std::string::npos);
  CHECK(done.objects[1].in_memory);
  CHECK(done.objects[2].on_disk);
  (*tiers)->run({kind::drop, {{name_of(small), small.size(), {}, {}, {}, false}}});
  CHECK((*tiers)->run({kind::fill, {{name_of(small), small.size(), {}, {}, {}, true}}}).objects[0].in_memory);
  tiers->reset();
  disk.make_read_only();
  const auto again = storage::open({disk.path() / "ssd", memory.path()});
  REQUIRE_FALSE(again);
  CHECK(again.error().message.find(disk.path().string()) != std::string::npos);
}
