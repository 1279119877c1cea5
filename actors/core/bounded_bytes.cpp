#include "core/bounded_bytes.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace shoal {

namespace {
/// All that a claim without a byte behind it takes from the others.
constexpr std::size_t first_step = std::size_t{64} << 10;
/// The second, if a length was claimed: what most requests bring. Pages that nobody writes to cost nothing.
constexpr std::size_t known_length_step = std::size_t{4} << 20;
constexpr std::size_t growth = 4;
}  // namespace

bounded_bytes::bounded_bytes(std::shared_ptr<byte_budget> budget, std::size_t most, std::optional<std::size_t> expected)
    : budget_(std::move(budget)),
      most_(expected ? *expected : most),
      second_step_(expected ? known_length_step : first_step * growth) {}

std::span<std::byte> bounded_bytes::room() {
  if (size_ == most_ || (size_ == capacity_ && !grow())) return {};
  return {bytes_.get() + size_, capacity_ - size_};
}

std::size_t bounded_bytes::append(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    auto to = room();
    if (to.empty()) break;
    auto count = std::min(to.size(), bytes.size() - done);
    std::memcpy(to.data(), bytes.data() + done, count);
    commit(count);
    done += count;
  }
  return done;
}

bool bounded_bytes::grow() {
  auto wanted =
      capacity_ == 0 ? first_step : std::max(second_step_, capacity_ > most_ / growth ? most_ : capacity_ * growth);
  wanted = std::min(wanted, most_);
  if (!budget_->take(wanted)) {
    exhausted_ = true;
    return false;
  }
  // Rounded up because aligned_alloc demands a multiple of the alignment.
  auto* raw = static_cast<std::byte*>(std::aligned_alloc(64, (wanted + 63) / 64 * 64));
  if (raw == nullptr) {
    budget_->give(wanted);
    exhausted_ = true;
    return false;
  }
  if (size_ != 0) std::memcpy(raw, bytes_.get(), size_);
  bytes_.reset(raw, [budget = budget_, wanted](std::byte* p) {
    std::free(p);
    budget->give(wanted);
  });
  capacity_ = wanted;
  return true;
}

buffer bounded_bytes::take() {
  buffer taken(bytes_, {bytes_.get(), size_});
  bytes_.reset();
  size_ = capacity_ = 0;
  return taken;
}

}  // namespace shoal
