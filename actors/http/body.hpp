// Where a request's body is received: one 64-byte aligned run of bytes that becomes a shoal::buffer.
//
// A Content-Length is a claim by a stranger. Memory is taken in steps as bytes really arrive, each step counted against
// the budget that all bodies of a server share and given back when the last slice of the body goes, wherever it is.
// (A step costs one copy of what is there; bodies up to the first step are never copied.)
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "core/buffer.hpp"
#include "core/byte_budget.hpp"

namespace shoal::http {

class body {
 public:
  /// `most`: how long the body can become. `expected`: what the client says it will be, at most `most`.
  body(std::shared_ptr<byte_budget> budget, std::size_t most, std::optional<std::size_t> expected);

  /// Where the next bytes go; grows if there is no room. Empty: complete, or the budget is used up (`exhausted`).
  std::span<std::byte> room();
  void commit(std::size_t bytes) noexcept { size_ += bytes; }

  /// Copies bytes that were received elsewhere; returns how many there was room for.
  std::size_t append(std::span<const std::byte> bytes);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool exhausted() const noexcept { return exhausted_; }

  /// The bytes received so far. The body is empty afterwards.
  buffer take();

 private:
  bool grow();

  std::shared_ptr<byte_budget> budget_;
  std::size_t most_;
  std::size_t first_step_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::shared_ptr<std::byte> bytes_;
  bool exhausted_ = false;
};

}  // namespace shoal::http
