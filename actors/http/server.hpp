// A small HTTP/1.1 server: the bytes, the limits and the clocks of connections, and nothing of what is asked.
//
// One thread with one event loop serves every connection of one address. The handler runs on that thread and must not
// block: it takes the request, starts what is needed, and lets the responder be called from wherever the answer comes
// up. So a request costs no thread, and answers wait only for their own socket.
//
// Everything a stranger can make the server hold is bounded: connections, header, body, the sum of all bodies and of
// all answers, and the time for each of them. A slow sender is cut with 408, too much of something is answered with
// 413, 431 or 503, and what is not HTTP with 400; the connection then ends, the server goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "http/message.hpp"

namespace prometheus {
class Registry;
}

namespace shoal::http {

struct environment;
struct pending_answer;

struct limits {
  std::size_t connections = 1024;
  std::size_t header_bytes = std::size_t{16} << 10;
  std::size_t body_bytes = std::size_t{64} << 20;           ///< of one request
  std::size_t body_bytes_total = std::size_t{512} << 20;    ///< of all requests whose bodies anyone still holds
  std::size_t answer_bytes_total = std::size_t{512} << 20;  ///< of all answers (above 64 KiB) that are not written yet
  std::chrono::milliseconds slow_reader_time{1000};         ///< who takes longer gives way when answers need room
  std::chrono::milliseconds header_time{10'000};    ///< from the first byte of a request to the end of its header
  std::chrono::milliseconds transfer_time{60'000};  ///< for a whole body to come in, or an answer to go out
  std::chrono::milliseconds idle_time{75'000};      ///< between requests
};

/// Answers one request, once; later calls are ignored. Copies share the request. If all of them go without an answer,
/// the client is told 500, so no client waits for nothing. May outlive the server.
class responder {
 public:
  explicit responder(std::shared_ptr<pending_answer> pending);

  /// Callable from any thread.
  void operator()(response answer) const;

  /// As above, but `make` builds the answer on the server's thread: for callers that must not spend time on it.
  void build(std::function<response()> make) const;
  /// The same on the thread for long work, where it keeps nobody waiting.
  void build_aside(std::function<response()> make) const;

  /// For requests that take long to understand: `work` is done on the thread for long work, then `then` on the
  /// server's, unless the client has left. `work` must not own a responder. To be called within the handler, once.
  void aside(std::function<void()> work, std::function<void()> then) const;

  /// `gone` is called on the server's thread if the client leaves before it is answered. (A client that closes only its
  /// sending half has left, too.) To be called within the handler; not told while further requests wait unread behind
  /// this one on the same connection.
  void on_disconnect(std::function<void()> gone) const;

 private:
  std::shared_ptr<pending_answer> pending_;
};

using handler = std::function<void(request, responder)>;

/// Asked about a request whose header has come in, before any of its body is taken. What it returns is held until
/// there is an answer; the other one is the answer, and ends the connection if there is a body.
using gate = std::function<tl::expected<std::shared_ptr<const void>, response>(const request&)>;

struct options {
  std::string address = "127.0.0.1:0";  ///< HOST:PORT or [IPV6]:PORT; port 0: any free one
  http::limits limits;
  /// Others of this user may listen on the same address (SO_REUSEPORT); the system shares connections out among them.
  bool reuse_port = false;
  /// PEM files: with them, TLS (1.2 or later) and nothing else is spoken. Read again when they change.
  std::string certificate, certificate_key;
  http::gate gate;  ///< none: every request is let in
  /// Where to count requests, connections and times, with the label server=`name`; nowhere if null.
  std::shared_ptr<prometheus::Registry> registry;
  std::string name = "http";
};

/// Whether these PEM files are a certificate and its key. Errors: invalid_argument (which is not, and why).
expected<void> check_certificate(const std::string& chain_file, const std::string& key_file);

class server {
 public:
  /// Listens and serves until `stop`. Errors: invalid_argument (an address that cannot be read, a certificate),
  /// unavailable (an address that cannot be had, and why).
  static expected<server> start(options wanted, handler handle);

  server(server&&) noexcept;
  server& operator=(server&&) = delete;
  ~server();  ///< stop(0)

  /// The address that was bound, the port included.
  [[nodiscard]] const std::string& address() const noexcept;

  /// Takes no new connection or request from now on; what is in flight goes on until `stop`. Returns when that is so.
  void close_door();

  /// Takes no new connection or request, lets what is in flight finish for up to `grace`, then closes everything.
  /// Not to be called from the handler. A second call does nothing.
  void stop(std::chrono::milliseconds grace);

 private:
  class running;
  explicit server(std::unique_ptr<running> instance);
  std::unique_ptr<running> running_;
};

}  // namespace shoal::http
