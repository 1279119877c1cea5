// The gateway's gRPC door: Open Inference Protocol v2 as inference.GRPCInferenceService (schemas/inference.proto).
//
// What a stranger can make the door hold is bounded: calls, streams of one connection, the bytes of one message and of
// all messages that anyone still holds, of all answers that are not read yet, header fields, the time for a request to
// come in and for an answer to be read, and for which a connection or a stream may be silent. Health is answered above
// the limit of calls, too: a full server must not look like a dead one.
//
// The number of connections is not: gRPC 1.51 owns the listening socket and has no limit for it (later releases do).
// One that sends nothing is closed after `handshake_time`, one without calls after `connection_idle_time`; what bounds
// their number is the descriptors of the process, which the service raises as far as it may (host/descriptors.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "access/doorman.hpp"
#include "core/error.hpp"
#include "gateway/front.hpp"

namespace prometheus {
class Registry;
}

namespace shoal::gateway::grpc_door {

struct limits {
  std::size_t calls = 4096;                                  ///< at a time; further ones are refused
  std::size_t health_calls = 64;                             ///< above `calls`: of ServerLive and ServerReady
  std::size_t streams_per_connection = 256;                  ///< calls of one connection; it keeps others waiting
  std::size_t stream_window = 64;                            ///< requests of one stream that wait for their answers
  std::size_t message_bytes = std::size_t{64} << 20;         ///< of one request
  std::size_t message_bytes_total = std::size_t{512} << 20;  ///< of all requests whose bytes anyone still holds
  std::size_t answer_bytes_total = std::size_t{512} << 20;   ///< of all answers that are not written yet
  std::size_t header_bytes = std::size_t{16} << 10;
  std::chrono::milliseconds transfer_time{60'000};          ///< for a request to come in, or an answer to go out
  std::chrono::milliseconds slow_reader_time{1000};         ///< who takes longer gives way when answers need room
  std::chrono::milliseconds stream_idle_time{600'000};      ///< of a stream all of whose requests are answered
  std::chrono::milliseconds handshake_time{10'000};         ///< for a connection to become one of HTTP/2
  std::chrono::milliseconds connection_idle_time{300'000};  ///< of a connection without calls
};

struct options {
  std::string address = "127.0.0.1:0";  ///< HOST:PORT or [IPV6]:PORT; port 0: any free one
  grpc_door::limits limits;
  /// Others of this user may listen on the same address (SO_REUSEPORT); the system shares connections out among them.
  bool reuse_port = false;
  /// PEM files (http::check_certificate): with them, TLS and nothing else is spoken. Read again when they change.
  std::string certificate, certificate_key;
  /// Lets calls in; must live as long as the server. Null: all are let in.
  access::doorman* doorman = nullptr;
  /// Where to count calls and their times; nowhere if null.
  std::shared_ptr<prometheus::Registry> registry;
};

class server {
 public:
  /// Listens and serves until `stop`. `behind` must live as long. Errors: invalid_argument (an address that cannot be
  /// read), unavailable (one that cannot be had).
  static expected<server> start(const options& wanted, front& behind);

  server(server&&) noexcept;
  server& operator=(server&&) = delete;
  ~server();  ///< stop(0)

  /// The address that was bound, the port included.
  [[nodiscard]] const std::string& address() const noexcept;

  /// Takes no new connection or call, lets what is in flight finish for up to `grace`, then ends it. A second call does
  /// nothing.
  void stop(std::chrono::milliseconds grace);

 private:
  class running;
  explicit server(std::unique_ptr<running> instance);
  std::unique_ptr<running> running_;
};

}  // namespace shoal::gateway::grpc_door
