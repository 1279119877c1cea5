// Where bytes of strangers are received: one 64-byte aligned run that becomes a shoal::buffer.
//
// How many there will be is a claim. Memory is taken in steps as bytes really arrive (64 KiB for none), each step
// counted against a budget that is shared, and given back when the last slice of them goes, wherever it is. (A step
// costs one copy of what is there; what fits the first step is never copied.)
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "core/buffer.hpp"
#include "core/byte_budget.hpp"

namespace shoal {

class bounded_bytes {
 public:
  /// `most`: how many there may become. `expected`: how many the sender says there will be, at most `most`.
  bounded_bytes(std::shared_ptr<byte_budget> budget, std::size_t most, std::optional<std::size_t> expected);

  /// Where the next bytes go; grows if there is no room. Empty: complete, or the budget is used up (`exhausted`).
  std::span<std::byte> room();
  void commit(std::size_t bytes) noexcept { size_ += bytes; }

  /// Copies bytes that were received elsewhere; returns how many there was room for.
  std::size_t append(std::span<const std::byte> bytes);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool exhausted() const noexcept { return exhausted_; }

  /// The bytes received so far. Nothing is left here afterwards.
  buffer take();

 private:
  bool grow();

  std::shared_ptr<byte_budget> budget_;
  std::size_t most_;
  std::size_t second_step_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::shared_ptr<std::byte> bytes_;
  bool exhausted_ = false;
};

}  // namespace shoal
