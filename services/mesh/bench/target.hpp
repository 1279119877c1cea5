// What load is put on: a server behind one of its doors. Used by one thread, the engine's (run.hpp); a target that has
// threads of its own hands over what they hear in `poll`. Requests are encoded once, by `prepare`, so that sending one
// costs little. A target is also the engine's clock: tests have one whose time is theirs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::services::bench {

using ticket = std::uint64_t;

/// One distinct request.
struct call {
  std::string model;
  std::uint64_t version = 0;  ///< zero: the server chooses
  protocol::priority priority = protocol::priority::standard;
  microseconds deadline{};  ///< told to the server; zero: none is told
  std::vector<tensor> inputs;
};

/// What a model takes and gives, as the server says. Both lists are empty if it does not say. A dimension that is free
/// has min < max.
struct model_interface {
  std::vector<protocol::tensor_spec> inputs;
  std::vector<protocol::tensor_spec> outputs;
};

/// What became of a request.
struct ended {
  ticket which = 0;
  time_point at;                ///< when its outcome was there
  microseconds waited{};        ///< after `send`, before it could be written: no connection was free
  bool second_try = false;      ///< the connection broke, and it was sent once more on another
  std::optional<errc> failure;  ///< nothing: it was answered
  std::string reason;           ///< of a failure: what the server or the connection said
  std::uint64_t bytes = 0;      ///< of the answer: its body, or its tensors (native)
};

class target {
 public:
  virtual ~target() = default;
  /// Errors: those of the server; unavailable (it cannot be reached), deadline_exceeded. An interface without inputs:
  /// the server does not describe its models.
  virtual expected<model_interface> describe(const std::string& model, std::uint64_t version, milliseconds within) = 0;
  /// Encodes a request: the first is number 0, the next 1. Returns its size in bytes. Errors: unsupported (a type that
  /// this door cannot carry).
  virtual expected<std::size_t> prepare(const call& request) = 0;
  /// Sends the request that was prepared as number `prepared`. Does not wait. Its ticket was never given before.
  virtual ticket send(std::size_t prepared) = 0;
  /// Waits until a request has ended, at most until `until` (a time that is past: does not wait), and appends what has.
  virtual void poll(time_point until, std::vector<ended>& into) = 0;
  /// Nobody waits any longer for what is in flight: it is taken back where the protocol can. It may still be told of.
  virtual void abandon() = 0;
  [[nodiscard]] virtual time_point now() const { return steady::now(); }
};

struct target_options {
  std::string endpoint;  ///< tcp://, ipc://: native; http://; grpc://
  std::string key;       ///< native: a client's key file; empty: in the clear
  std::string token;     ///< http, grpc: sent as a bearer token; empty: none
  milliseconds timeout{10000};
  bool json_tensors = false;    ///< http: tensors as JSON, for servers without the binary extension
  std::size_t connections = 0;  ///< zero: 512 over HTTP, 4 channels over gRPC
  bool check = false;           ///< an answer whose outputs are not as they say has failed (corrupt)
};

/// Errors: invalid_argument (the address), unavailable (nobody answers there).
expected<std::unique_ptr<target>> connect(const target_options& options);

expected<std::unique_ptr<target>> connect_native(const target_options& options);
/// `address`: what follows the scheme.
expected<std::unique_ptr<target>> connect_http(const std::string& address, const target_options& options);
expected<std::unique_ptr<target>> connect_grpc(const std::string& address, const target_options& options);

/// An output as an answer describes it, and the bytes that came for it.
struct output_size {
  std::string name;
  dtype type = dtype::fp32;
  shape dims;
  std::uint64_t bytes = 0;
};

/// Why outputs cannot be the answer: their number is not the model's (`specs` empty: unknown), or the bytes of one are
/// not those of its shape. Empty: they can.
std::string why_wrong(const std::vector<output_size>& outputs, const std::vector<protocol::tensor_spec>& specs);

}  // namespace shoal::services::bench
