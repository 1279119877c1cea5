// Requests over the HTTP door from several threads, one after the other on a connection that each keeps, and what
// became of them. Each is sent again until it has one of two outcomes: a right answer, or something `wrong`. What made
// it be sent again is counted, for tests to say how much of it there may be.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace shoal::test {

class raw_client;

class http_load {
 public:
  struct tally {
    std::size_t sent = 0;      ///< requests, however often each was
    std::size_t answered = 0;  ///< with what was asked for
    /// The connection, which had been used before, was closed before a byte of an answer: a server may do so with an
    /// idle connection, and the request was on its way meanwhile (RFC 9112, 9.3.1).
    std::size_t closed_while_idle = 0;
    std::size_t closed_when_new = 0;  ///< the connection was closed before a byte of its first answer
    std::size_t unreachable = 0;      ///< nobody listened
    std::size_t refused = 0;          ///< with 503
    std::string refusal;              ///< the last one's body
    std::vector<std::string> wrong;   ///< whatever else happened, in words
  };

  /// Begins to send at once.
  http_load(std::string address, std::size_t threads);
  ~http_load();

  /// Waits for the answers that are due.
  tally finish();
  [[nodiscard]] tally so_far() const;

 private:
  void run(std::size_t number);
  /// False: the request is to be sent again.
  bool send(std::unique_ptr<raw_client>& connection, bool& was_used, float first);
  bool count(std::size_t tally::*what);
  bool fail(std::string what);

  const std::string address_;
  mutable std::mutex mutex_;
  tally tally_;
  std::atomic<bool> ends_{false};
  std::vector<std::thread> threads_;
};

/// A request for `identity` with one row of three elements: `first` and the two numbers after it.
std::string identity_post(float first);

/// "HOST:PORT" of the HTTP door in the line `ready`.
std::string http_address(const std::string& ready);

}  // namespace shoal::test
