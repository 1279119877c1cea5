#include "cache/object_store.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>
#include <xxhash.h>

#include "protocol/object_file.hpp"

namespace shoal::cache {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t extent_bytes = 4ull << 20;
/// Above this a write goes to blob files at once instead of through the log.
constexpr std::uint64_t flushed_from = 1ull << 20;
/// What one batch carries before it is handed to RocksDB.
constexpr std::uint64_t batch_bytes = 32ull << 20;
constexpr std::string_view identity_name = "identity";

struct head {
  std::uint64_t size = 0;
  std::uint64_t checksum = 0;
};

rocksdb::Slice slice(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Plain>
std::string raw(const Plain& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string head_name(const protocol::object_key& key) {
  return "h" + std::string(slice(key.bytes).data(), key.bytes.size());
}

/// Big-endian, so that extents lie in order.
std::string extent_name(const protocol::object_key& key, std::uint64_t index) {
  auto name = "x" + std::string(slice(key.bytes).data(), key.bytes.size());
  for (int shift = 56; shift >= 0; shift -= 8) name.push_back(static_cast<char>(index >> shift));
  return name;
}

bool takes_direct_reads(const fs::path& folder) {
  const auto probe = folder / ".direct";
  const int file = ::open(probe.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
  if (file < 0) return false;
  ::close(file);
  ::unlink(probe.c_str());
  return true;
}

error about(const fs::path& folder, const rocksdb::Status& status, const char* doing) {
  const auto text = status.ToString();
  const auto where = "the cache folder " + folder.string();
  if (text.find("lock") != std::string::npos || text.find("LOCK: ") != std::string::npos)
    return {errc::unavailable, where +
                                   " is used by another instance (or cannot be locked): each needs a folder of its "
                                   "own, give one with cache.ssd (" +
                                   text + ")"};
  if (status.IsCorruption() || status.IsInvalidArgument())
    return {errc::corrupt, where + " is damaged: " + text +
                               "; move it away or give another one with cache.ssd. Nothing is lost: it is filled again "
                               "from the models"};
  return {errc::unavailable, where + " cannot be " + doing + ": " + text};
}

class rocks_store final : public object_store {
 public:
  rocks_store(fs::path folder, std::unique_ptr<rocksdb::DB> db) : folder_(std::move(folder)), db_(std::move(db)) {}

  expected<void> name_it() {
    std::string value;
    auto status = db_->Get({}, slice(std::as_bytes(std::span(identity_name))), &value);
    if (status.ok() && value.size() == sizeof identity_) {
      std::memcpy(&identity_, value.data(), sizeof identity_);
      return {};
    }
    if (!status.ok() && !status.IsNotFound()) return tl::unexpected(about(folder_, status, "read"));
    std::random_device device;
    while (identity_ == 0) identity_ = (std::uint64_t{device()} << 32) | device();
    rocksdb::WriteOptions synced;
    synced.sync = true;
    status = db_->Put(synced, slice(std::as_bytes(std::span(identity_name))), raw(identity_));
    if (!status.ok()) return tl::unexpected(about(folder_, status, "written"));
    return {};
  }

  expected<void> put(std::span<const item> items) override {
    std::uint64_t total = 0;
    for (const auto& each : items) total += each.bytes.size();
    rocksdb::WriteOptions how;
    how.disableWAL = total >= flushed_from;
    how.sync = !how.disableWAL;
    if (failed_) static_cast<void>(db_->Resume());  // after a full disk it takes nothing until it is asked again
    auto status = write(items, how);
    if (status.ok() && how.disableWAL) status = db_->Flush({});
    failed_ = !status.ok();
    if (!status.ok()) return tl::unexpected(about(folder_, status, "written"));
    return {};
  }

  expected<std::uint64_t> read(const object_key& key, const sink& take) override {
    const auto found = head_of(key);
    if (!found) return tl::unexpected(found.error());
    rocksdb::ReadOptions once;
    once.fill_cache = false;
    const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> sum(XXH3_createState(), &XXH3_freeState);
    XXH3_64bits_reset_withSeed(sum.get(), protocol::checksum_seed(key));
    rocksdb::PinnableSlice value;
    std::uint64_t left = found->size;
    for (std::uint64_t index = 0; left > 0; ++index) {
      value.Reset();
      const auto status = db_->Get(once, db_->DefaultColumnFamily(), extent_name(key, index), &value);
      if (status.IsNotFound() || (status.ok() && value.size() != std::min(left, extent_bytes))) return damaged(key);
      if (status.IsCorruption()) return damaged(key);
      if (!status.ok()) return tl::unexpected(about(folder_, status, "read"));
      XXH3_64bits_update(sum.get(), value.data(), value.size());
      if (auto taken = take(std::as_bytes(std::span(value.data(), value.size()))); !taken)
        return tl::unexpected(taken.error());
      left -= value.size();
    }
    if (XXH3_64bits_digest(sum.get()) != found->checksum) return damaged(key);
    return found->size;
  }

  expected<void> forget(const object_key& key) override {
    rocksdb::WriteBatch batch;
    batch.Delete(head_name(key));
    batch.DeleteRange(extent_name(key, 0), extent_name(key, ~std::uint64_t{0}));
    const auto status = db_->Write({}, &batch);
    if (!status.ok()) return tl::unexpected(about(folder_, status, "written"));
    return {};
  }

  std::vector<std::pair<object_key, std::uint64_t>> index() override {
    std::vector<std::pair<object_key, std::uint64_t>> all;
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
    for (at->Seek("h"); at->Valid() && at->key().starts_with("h"); at->Next()) {
      object_key key;
      head found;
      if (at->key().size() != 1 + key.bytes.size() || at->value().size() != sizeof found) continue;
      std::memcpy(key.bytes.data(), at->key().data() + 1, key.bytes.size());
      std::memcpy(&found, at->value().data(), sizeof found);
      all.emplace_back(key, found.size);
    }
    return all;
  }

  [[nodiscard]] std::uint64_t identity() const override { return identity_; }

 private:
  rocksdb::Status write(std::span<const item> items, const rocksdb::WriteOptions& how) {
    rocksdb::WriteBatch batch;
    std::uint64_t held = 0;
    for (const auto& each : items) {
      const auto size = each.bytes.size();
      for (std::uint64_t offset = 0, index = 0; offset < size; offset += extent_bytes, ++index) {
        const auto part = each.bytes.subspan(offset, std::min<std::uint64_t>(extent_bytes, size - offset));
        batch.Put(extent_name(each.key, index), slice(part));
        held += part.size();
        if (held < batch_bytes) continue;
        if (auto status = db_->Write(how, &batch); !status.ok()) return status;
        batch.Clear();
        held = 0;
      }
      batch.Put(head_name(each.key), raw(head{size, protocol::checksum_of(each.key, each.bytes)}));
    }
    return db_->Write(how, &batch);
  }

  expected<head> head_of(const object_key& key) {
    std::string value;
    const auto status = db_->Get({}, head_name(key), &value);
    if (status.IsNotFound()) return fail(errc::not_found, "there is no object " + to_hex(key));
    if (status.IsCorruption() || (status.ok() && value.size() != sizeof(head)))
      return fail(errc::corrupt, "the head of object " + to_hex(key) + " is damaged");
    if (!status.ok()) return tl::unexpected(about(folder_, status, "read"));
    head found;
    std::memcpy(&found, value.data(), sizeof found);
    return found;
  }

  [[nodiscard]] tl::unexpected<error> damaged(const object_key& key) const {
    return fail(errc::corrupt, "the object " + to_hex(key) + " in " + folder_.string() + " is damaged");
  }

  fs::path folder_;
  std::unique_ptr<rocksdb::DB> db_;
  std::uint64_t identity_ = 0;
  bool failed_ = false;
};

}  // namespace

expected<std::unique_ptr<object_store>> object_store::open(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem)
    return fail(errc::unavailable, "the cache folder " + folder.string() + " cannot be made: " + problem.message() +
                                       "; give another one with cache.ssd");
  rocksdb::Options options;
  options.create_if_missing = true;
  options.enable_blob_files = true;
  options.min_blob_size = 4096;
  options.blob_file_size = 256ull << 20;
  options.enable_blob_garbage_collection = true;
  options.compression = rocksdb::kNoCompression;  // weights do not compress
  options.write_buffer_size = 64ull << 20;
  options.max_write_buffer_number = 4;
  options.bytes_per_sync = 4ull << 20;  // the disk begins before the sync that ends a file
  options.use_direct_reads = takes_direct_reads(folder);
  options.keep_log_file_num = 2;
  options.max_open_files = 256;
  options.paranoid_checks = true;
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::Open(options, folder.string(), &opened);
  std::unique_ptr<rocksdb::DB> db(opened);
  if (!status.ok()) return tl::unexpected(about(folder, status, "opened"));
  auto store = std::make_unique<rocks_store>(folder, std::move(db));
  if (auto named = store->name_it(); !named) return tl::unexpected(named.error());
  return store;
}

}  // namespace shoal::cache
