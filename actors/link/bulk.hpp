// Large messages in pieces, so that heartbeats and control never wait behind them. Both halves belong to one peer and
// to the poll thread, and touch no socket.
//
// The sender lets `window` pieces be under way; the receiver says `more` for each one it has taken. Transfers to one
// peer go one after the other, so an honest peer never has more than one message's bytes begun at the other side, and
// the receiver may refuse more than that before it allocates.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "link/codec.hpp"

namespace shoal::link {

class bulk_sender {
 public:
  static constexpr unsigned window = 4;

  /// What is to be written next: the message's head, or one piece of it.
  struct step {
    std::uint64_t transfer = 0;
    const std::vector<std::byte>* head = nullptr;  ///< null: a piece
    piece part;
  };

  void add(std::uint64_t transfer, std::uint64_t bytes, encoded whole);
  /// Nothing: all is written, or the window is full.
  [[nodiscard]] std::optional<step> next() const;
  /// The step that `next` gave has been written. If it was the last one of its transfer: the transfer's bytes.
  std::optional<std::uint64_t> written();
  /// The other side has taken a piece. False: it had none to take.
  bool taken();

  [[nodiscard]] bool empty() const noexcept { return transfers_.empty(); }
  /// The other side has taken all there was.
  [[nodiscard]] bool arrived() const noexcept { return transfers_.empty() && under_way_ == 0; }

 private:
  struct transfer {
    std::uint64_t number;
    std::uint64_t bytes;
    encoded whole;
    bool head_written = false;
    std::size_t tensor = 0;
    std::uint64_t offset = 0;
  };
  static void skip_empty(transfer& current);

  std::deque<transfer> transfers_;
  unsigned under_way_ = 0;
};

class bulk_receiver {
 public:
  explicit bulk_receiver(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  enum class refusal { none, too_large, duplicate };
  /// Allocates room for the message, or says why not. A message that has no bytes to wait for is complete at once.
  refusal begin(bulk head);

  enum class result { partial, complete, unknown, broken };
  /// Takes one piece. `complete`: `finished` gives the message. `broken`: the transfer is over, `finished` gives its
  /// message without bytes.
  result take(const piece& part);
  protocol::message finished();

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  struct incoming {
    bulk head;
    std::vector<buffer> data;
    std::vector<std::byte*> to;
    std::size_t part = 0;
    std::uint64_t offset = 0;
  };
  void skip_empty(incoming& current);

  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::map<std::uint64_t, incoming> transfers_;
  protocol::message finished_;
};

}  // namespace shoal::link
