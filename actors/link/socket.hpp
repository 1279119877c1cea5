// ZeroMQ as the rest of the link sees it: a context, frames, sockets, and a monitor that tells of lost connections.
// zmq.h appears in this header, socket.cpp and curve.cpp only.
//
// A socket and its monitor belong to one thread at a time; frames and the buffers made of them may be released on any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <zmq.h>

#include "core/buffer.hpp"
#include "core/error.hpp"
#include "link/curve.hpp"

namespace shoal::link {

class context {
 public:
  context();
  ~context();
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  /// The one of this process: links that talk over inproc must share it. It lives as long as somebody holds it.
  static std::shared_ptr<context> of_process();

  /// See gatekeeper::guard; made when the first asks for it. Callable from any thread.
  std::shared_ptr<void> guard(const std::string& domain, gatekeeper::question admits);

  [[nodiscard]] void* raw() const noexcept { return raw_; }

 private:
  void* raw_;
  std::mutex mutex_;
  std::optional<gatekeeper> gatekeeper_;
};

/// One frame of a message; owns a zmq_msg_t.
class frame {
 public:
  frame() noexcept { zmq_msg_init(&raw_); }
  explicit frame(std::span<const std::byte> bytes, std::span<const buffer> more = {});  ///< a copy of all
  ~frame() { zmq_msg_close(&raw_); }
  frame(frame&& other) noexcept;
  frame& operator=(frame&& other) noexcept;

  /// Lends the bytes of `data` to ZeroMQ, which gives them back on some thread of its own. Until then their number
  /// stays added to `*held`, if there is one. Below `copy_below` bytes a copy is cheaper (measured: 39 ns against 45 at
  /// 2 KiB, 64 against 46 at 4 KiB).
  static frame lend(const buffer& data, const std::shared_ptr<std::atomic<std::uint64_t>>& held);
  static constexpr std::size_t copy_below = 2048;

  /// The frame's bytes as they lie, owned by the buffer.
  static buffer into_buffer(frame&& from);

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return zmq_msg_size(&raw_); }
  [[nodiscard]] std::string_view text() const noexcept;
  /// The file descriptor of the connection it came by; -1 over inproc.
  [[nodiscard]] int source() const noexcept;
  /// The public key (Z85) of whoever sent it; empty: its connection has none.
  [[nodiscard]] std::string_view key() const noexcept;

  [[nodiscard]] zmq_msg_t* raw() noexcept { return &raw_; }

 private:
  mutable zmq_msg_t raw_;
};

enum class sent { yes, full, gone };

class socket {
 public:
  /// `type` is ZMQ_ROUTER, ZMQ_DEALER or ZMQ_PAIR. No socket lingers unless told so.
  socket(std::shared_ptr<context> owner, int type);
  ~socket();
  socket(const socket&) = delete;
  socket& operator=(const socket&) = delete;

  void set(int option, int value);
  /// `bytes` of what is said; CURVE's wrapping, if that was asked for before, is not counted.
  void set_max_frame(std::int64_t bytes);
  /// From now on bound and connected with CURVE, but for inproc. Of the server the gatekeeper is asked with `domain`.
  void serve_curve(const std::string& secret_key, const std::string& domain);
  void use_curve(const curve_pair& own, const std::string& server_key);
  /// The endpoint with the port that was given to `...:0`.
  expected<std::string> bind(const std::string& endpoint);
  expected<void> connect(const std::string& endpoint);
  void unbind(const std::string& endpoint);

  /// Readable while something may have happened (edge-like: see `receive`).
  [[nodiscard]] int descriptor() const;

  /// All frames or none. `full`: nothing was taken, frames are intact. `gone` (ROUTER): no such route any more.
  sent send(std::span<frame> frames);

  /// One whole message into `frames` (cleared first). False: nothing there, and `descriptor` will become readable when
  /// something comes. Of a message with more than `max_frames` the rest is thrown away and `frames` is left empty.
  bool receive(std::vector<frame>& frames, std::size_t max_frames);

  /// Takes in what ZeroMQ's own threads have to say; true if a message can be read.
  bool has_message();

  [[nodiscard]] void* raw() const noexcept { return raw_; }

 private:
  std::shared_ptr<context> context_;
  void* raw_;
  bool is_secured_ = false;
};

/// Why a connection came to nothing before it was one.
enum class broken_handshake { none, refused, mismatched };

/// Tells the descriptors of connections that were lost, from ZeroMQ's socket monitor.
class monitor {
 public:
  monitor(std::shared_ptr<context> owner, socket& watched, bool listens);
  ~monitor();
  monitor(const monitor&) = delete;
  monitor& operator=(const monitor&) = delete;

  [[nodiscard]] int descriptor() const { return events_.descriptor(); }

  /// Descriptors of connections that ended since the last call, in order. A descriptor is told here before the
  /// operating system can give it to another connection.
  std::vector<int> lost();
  /// What the last handshake that `lost` has seen fail failed by; told once.
  broken_handshake handshake() noexcept { return std::exchange(handshake_, broken_handshake::none); }

  /// Waits until `n` listeners have closed, at most `limit_ms`: ZeroMQ closes them, and removes the files of ipc ones,
  /// some time after it was told to, and could so take away the file of the one that comes next.
  void await_closed(std::size_t n, int limit_ms);

 private:
  bool next(std::uint16_t& event, int& descriptor);

  socket& watched_;
  socket events_;
  std::vector<frame> frames_;
  broken_handshake handshake_ = broken_handshake::none;
};

}  // namespace shoal::link
