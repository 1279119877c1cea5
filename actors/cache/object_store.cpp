#include "cache/object_store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <unordered_set>

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

/// From this size on an object lies in an extent file.
constexpr std::uint64_t extent_from = 64ull << 10;
constexpr std::uint64_t piece_bytes = 4ull << 20;
constexpr std::string_view identity_name = "identity";

struct head {
  std::uint64_t size = 0;
  std::uint64_t checksum = 0;
  std::uint64_t extent = 0;  ///< number of its file; 0: the bytes are a value in the index
  std::uint64_t offset = 0;
};

tl::unexpected<error> disk_error(const fs::path& file, const char* doing) {
  return fail(errc::unavailable,
              "the cache cannot " + std::string(doing) + " " + file.string() + ": " + std::strerror(errno));
}

/// A descriptor that is closed.
class open_file {
 public:
  explicit open_file(int descriptor = -1) : descriptor_(descriptor) {}
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() { reset(-1); }
  void reset(int descriptor) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = descriptor;
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
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

std::string value_name(const protocol::object_key& key) {
  return "v" + std::string(slice(key.bytes).data(), key.bytes.size());
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
  rocks_store(fs::path folder, std::unique_ptr<rocksdb::DB> db)
      : folder_(std::move(folder)), extents_(folder_ / "extents"), db_(std::move(db)) {}

  /// Reads or makes the name, and removes extents that no head speaks of.
  expected<void> prepare() {
    std::error_code problem;
    fs::create_directories(extents_, problem);
    if (problem) return fail(errc::unavailable, extents_.string() + " cannot be made: " + problem.message());
    if (auto named = name_it(); !named) return named;
    std::unordered_set<std::string> spoken_of;
    for_each_head([&](const object_key&, const head& found) {
      spoken_of.insert(std::to_string(found.extent));
      next_extent_ = std::max(next_extent_, found.extent + 1);
    });
    for (const auto& entry : fs::directory_iterator(extents_, problem))
      if (!spoken_of.contains(entry.path().filename().string())) fs::remove(entry.path(), problem);
    return {};
  }

  std::unique_ptr<batch> begin() override { return std::make_unique<writing>(*this); }

  expected<std::uint64_t> read(const object_key& key, const sink& take) override {
    const auto found = head_of(key);
    if (!found) return tl::unexpected(found.error());
    const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> sum(XXH3_createState(), &XXH3_freeState);
    XXH3_64bits_reset_withSeed(sum.get(), protocol::checksum_seed(key));
    const auto pass = [&](std::span<const std::byte> bytes) {
      XXH3_64bits_update(sum.get(), bytes.data(), bytes.size());
      return take(bytes);
    };
    const auto passed = found->extent == 0 ? read_value(key, *found, pass) : read_extent(key, *found, pass);
    if (!passed) return tl::unexpected(passed.error());
    if (XXH3_64bits_digest(sum.get()) != found->checksum) return damaged(key);
    return found->size;
  }

  expected<void> forget(const object_key& key) override {
    const auto found = head_of(key);
    rocksdb::WriteBatch gone;
    gone.Delete(head_name(key));
    gone.Delete(value_name(key));
    rocksdb::WriteOptions synced;
    synced.sync = true;  // its bytes must not go before it is forgotten for good
    const auto status = db_->Write(synced, &gone);
    if (!status.ok()) return tl::unexpected(about(folder_, status, "written"));
    if (!found || found->extent == 0) return {};
    const open_file file(::open(extent(found->extent).c_str(), O_WRONLY | O_CLOEXEC));
    // Where holes cannot be made the space comes back when the folder does.
    if (file.get() >= 0)
      static_cast<void>(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                    static_cast<off_t>(found->offset), static_cast<off_t>(found->size)));
    return {};
  }

  std::vector<std::pair<object_key, std::uint64_t>> index() override {
    std::vector<std::pair<object_key, std::uint64_t>> all;
    for_each_head([&](const object_key& key, const head& found) { all.emplace_back(key, found.size); });
    return all;
  }

  [[nodiscard]] std::uint64_t identity() const override { return identity_; }

 private:
  class writing final : public batch {
   public:
    explicit writing(rocks_store& to) : to_(to) {}
    ~writing() override {
      if (file_.get() >= 0 && !committed_) ::unlink(path_.c_str());
    }

    expected<void> add(const object_key& key, std::span<const std::byte> bytes, std::uint64_t checksum) override {
      head made{bytes.size(), checksum, 0, 0};
      if (bytes.size() < extent_from) {
        heads_.Put(value_name(key), slice(bytes));
      } else {
        if (auto opened = open_extent(); !opened) return opened;
        made.extent = number_;
        made.offset = size_;
        if (auto written = append(bytes); !written) {
          static_cast<void>(::ftruncate(file_.get(), static_cast<off_t>(made.offset)));
          size_ = made.offset;
          return written;
        }
      }
      heads_.Put(head_name(key), raw(made));
      return {};
    }

    expected<void> commit() override {
      if (size_ > 0) {
        if (::fdatasync(file_.get()) != 0) return disk_error(path_, "sync");
        const open_file folder(::open(to_.extents_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (::fsync(folder.get()) != 0) return disk_error(to_.extents_, "sync");
      }
      if (to_.failed_) static_cast<void>(to_.db_->Resume());  // after a full disk it takes nothing until asked again
      rocksdb::WriteOptions synced;
      synced.sync = true;
      const auto status = to_.db_->Write(synced, &heads_);
      to_.failed_ = !status.ok();
      if (!status.ok()) return tl::unexpected(about(to_.folder_, status, "written"));
      committed_ = true;
      return {};
    }

   private:
    expected<void> open_extent() {
      if (file_.get() >= 0) return {};
      number_ = to_.next_extent_++;
      path_ = to_.extent(number_);
      file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
      if (file_.get() < 0) return disk_error(path_, "make");
      return {};
    }

    expected<void> append(std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        const auto part = bytes.first(std::min<std::size_t>(bytes.size(), piece_bytes));
        const auto done = ::pwrite(file_.get(), part.data(), part.size(), static_cast<off_t>(size_));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return disk_error(path_, "write");
        // The disk begins at once, not with the sync; a hint, so its failure means nothing.
        static_cast<void>(::sync_file_range(file_.get(), static_cast<off_t>(size_), done, SYNC_FILE_RANGE_WRITE));
        size_ += static_cast<std::uint64_t>(done);
        bytes = bytes.subspan(static_cast<std::size_t>(done));
      }
      return {};
    }

    rocks_store& to_;
    rocksdb::WriteBatch heads_;
    open_file file_;
    fs::path path_;
    std::uint64_t number_ = 0;
    std::uint64_t size_ = 0;
    bool committed_ = false;
  };

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

  template <class Visit>
  void for_each_head(Visit&& visit) {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
    for (at->Seek("h"); at->Valid() && at->key().starts_with("h"); at->Next()) {
      object_key key;
      head found;
      if (at->key().size() != 1 + key.bytes.size() || at->value().size() != sizeof found) continue;
      std::memcpy(key.bytes.data(), at->key().data() + 1, key.bytes.size());
      std::memcpy(&found, at->value().data(), sizeof found);
      visit(key, found);
    }
  }

  expected<head> head_of(const object_key& key) {
    std::string value;
    const auto status = db_->Get({}, head_name(key), &value);
    if (status.IsNotFound()) return fail(errc::not_found, "there is no object " + to_hex(key));
    if (status.IsCorruption() || (status.ok() && value.size() != sizeof(head))) return damaged(key);
    if (!status.ok()) return tl::unexpected(about(folder_, status, "read"));
    head found;
    std::memcpy(&found, value.data(), sizeof found);
    return found;
  }

  template <class Pass>
  expected<void> read_value(const object_key& key, const head& from, Pass&& pass) {
    rocksdb::PinnableSlice value;
    const auto status = db_->Get({}, db_->DefaultColumnFamily(), value_name(key), &value);
    if (status.IsNotFound() || status.IsCorruption() || (status.ok() && value.size() != from.size)) return damaged(key);
    if (!status.ok()) return tl::unexpected(about(folder_, status, "read"));
    return pass(std::as_bytes(std::span(value.data(), value.size())));
  }

  template <class Pass>
  expected<void> read_extent(const object_key& key, const head& from, Pass&& pass) {
    const auto path = extent(from.extent);
    const open_file file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return damaged(key);
    // Read once, in order, into the memory tier: the page cache need not keep it as well.
    static_cast<void>(::posix_fadvise(file.get(), static_cast<off_t>(from.offset), static_cast<off_t>(from.size),
                                      POSIX_FADV_SEQUENTIAL));
    piece_.resize(std::min(from.size, piece_bytes));
    for (std::uint64_t done = 0; done < from.size;) {
      const auto got = ::pread(file.get(), piece_.data(), std::min<std::uint64_t>(piece_.size(), from.size - done),
                               static_cast<off_t>(from.offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return disk_error(path, "read");
      if (got == 0) return damaged(key);
      if (auto passed = pass(std::span<const std::byte>(piece_).first(static_cast<std::size_t>(got))); !passed)
        return passed;
      done += static_cast<std::uint64_t>(got);
    }
    static_cast<void>(::posix_fadvise(file.get(), static_cast<off_t>(from.offset), static_cast<off_t>(from.size),
                                      POSIX_FADV_DONTNEED));
    return {};
  }

  [[nodiscard]] tl::unexpected<error> damaged(const object_key& key) const {
    return fail(errc::corrupt, "the object " + to_hex(key) + " in " + folder_.string() + " is damaged");
  }
  [[nodiscard]] fs::path extent(std::uint64_t number) const { return extents_ / std::to_string(number); }

  fs::path folder_;
  fs::path extents_;
  std::unique_ptr<rocksdb::DB> db_;
  std::uint64_t identity_ = 0;
  std::uint64_t next_extent_ = 1;
  std::vector<std::byte> piece_;
  bool failed_ = false;
};

}  // namespace

expected<std::unique_ptr<object_store>> object_store::open(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder / "index", problem);
  if (problem)
    return fail(errc::unavailable, "the cache folder " + folder.string() + " cannot be made: " + problem.message() +
                                       "; give another one with cache.ssd");
  rocksdb::Options options;
  options.create_if_missing = true;
  options.enable_blob_files = true;
  options.min_blob_size = 4096;
  options.enable_blob_garbage_collection = true;
  options.compression = rocksdb::kNoCompression;  // weights do not compress
  options.write_buffer_size = 16ull << 20;
  options.keep_log_file_num = 2;
  options.max_open_files = 256;
  options.paranoid_checks = true;
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::Open(options, (folder / "index").string(), &opened);
  std::unique_ptr<rocksdb::DB> db(opened);
  if (!status.ok()) return tl::unexpected(about(folder, status, "opened"));
  auto store = std::make_unique<rocks_store>(folder, std::move(db));
  if (auto prepared = store->prepare(); !prepared) return tl::unexpected(prepared.error());
  return store;
}

}  // namespace shoal::cache
