#include "unit/simulation/stores.hpp"

#include <utility>

#include "protocol/object_file.hpp"

namespace shoal::test {

using protocol::checksum_of;
using protocol::object_key;

bool kept_object::verifies(const object_key& key) const { return checksum_of(key, bytes) == checksum; }

// --- a disk ---------------------------------------------------------------------------------------------------------

class remembered_objects::pending final : public batch {
 public:
  explicit pending(remembered_objects& disk) : disk_(disk) {}
  expected<void> add(const object_key& key, std::span<const std::byte> bytes, std::uint64_t checksum) override {
    added_[key] = {{bytes.begin(), bytes.end()}, checksum};
    return {};
  }
  expected<void> commit() override {
    if (disk_.on_.is_cut_off || disk_.time_.chance(disk_.errors_)) return fail(errc::unavailable, "the disk is full");
    for (auto& [key, object] : added_) disk_.on_.objects[key] = std::move(object);
    return {};
  }

 private:
  remembered_objects& disk_;
  kept_objects added_;
};

std::unique_ptr<cache::object_store::batch> remembered_objects::begin() { return std::make_unique<pending>(*this); }

expected<std::uint64_t> remembered_objects::read(const object_key& key, const sink& take) {
  const auto found = on_.objects.find(key);
  if (found == on_.objects.end()) return fail(errc::not_found, "there is no such object");
  if (auto taken = take(found->second.bytes); !taken) return tl::unexpected(taken.error());
  if (!found->second.verifies(key)) return fail(errc::corrupt, "its bytes do not verify");
  return found->second.bytes.size();
}

expected<void> remembered_objects::forget(const object_key& key) {
  on_.objects.erase(key);
  return {};
}

std::vector<std::pair<object_key, std::uint64_t>> remembered_objects::index() {
  std::vector<std::pair<object_key, std::uint64_t>> all;
  for (const auto& [key, object] : on_.objects) all.emplace_back(key, object.bytes.size());
  return all;
}

// --- memory ---------------------------------------------------------------------------------------------------------

namespace {

class memory_writer final : public cache::dram_tier::writer {
 public:
  memory_writer(host_memory& to, const object_key& key, std::uint64_t size) : to_(to), key_(key), size_(size) {}
  expected<void> write(std::span<const std::byte> bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return {};
  }
  expected<void> finish() override {
    if (bytes_.size() != size_) return fail(errc::corrupt, "it is not as large as was promised");
    const auto checksum = checksum_of(key_, bytes_);
    to_.objects[key_] = {std::move(bytes_), checksum};
    return {};
  }

 private:
  host_memory& to_;
  object_key key_;
  std::uint64_t size_;
  std::vector<std::byte> bytes_;
};

}  // namespace

expected<std::unique_ptr<cache::dram_tier::writer>> remembered_tier::begin(const object_key& key, std::uint64_t size,
                                                                           std::optional<std::uint64_t>) {
  return std::make_unique<memory_writer>(of_, key, size);
}

expected<std::uint64_t> remembered_tier::check(const object_key& key) const {
  const auto found = of_.objects.find(key);
  if (found == of_.objects.end()) return fail(errc::not_found, "there is no such file");
  if (!found->second.verifies(key)) return fail(errc::corrupt, "its bytes do not verify");
  return found->second.bytes.size();
}

expected<void> remembered_tier::remove(const object_key& key) {
  of_.objects.erase(key);
  return {};
}

std::vector<std::pair<object_key, std::uint64_t>> remembered_tier::scan() {
  std::vector<std::pair<object_key, std::uint64_t>> all;
  for (const auto& [key, object] : of_.objects) all.emplace_back(key, object.bytes.size());
  return all;
}

}  // namespace shoal::test
