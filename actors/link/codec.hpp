// Between the values of protocol/messages.hpp and the frames of schemas/mesh.capnp; Cap'n Proto ends here. Pure: no
// sockets, no state, callable from any thread.
//
// What arrives comes from a stranger. Every count, length, enumeration and shape is checked before a byte is allocated
// for it, and whatever fails gives an error (corrupt, too_large, unsupported), never a crash and never half a message.
// The encoder applies the same limits, so that the sender learns what the receiver would refuse.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "protocol/link.hpp"

namespace shoal::link {

inline constexpr std::uint64_t piece_size = std::uint64_t{4} << 20;
/// Frame 1 of a message is at most this large,
inline constexpr std::size_t max_envelope_bytes = std::size_t{1} << 20;
/// ... and as many bytes of tensors as this may follow in it, in place of frames of their own: a frame costs more than
/// a copy of so few bytes, twice that where frames are encrypted.
inline constexpr std::size_t tail_size = 8192;

/// Limits of one message. Lists longer than these are refused on both sides.
inline constexpr std::size_t max_name = 256;
inline constexpr std::size_t max_sentence = 4096;  ///< longer error messages are cut by the encoder
inline constexpr std::size_t max_tensors = 4096;
inline constexpr std::size_t max_members = 1024;
inline constexpr std::size_t max_models = 1024;
inline constexpr std::size_t max_keys = 4096;
inline constexpr std::size_t max_figures = 4096;
inline constexpr std::size_t max_capabilities = 64;
/// Times beyond ±2^40 us (12.7 days) become that, so that adding one to a clock cannot overflow.
inline constexpr std::int64_t max_time_us = std::int64_t{1} << 40;

struct hello {
  std::uint32_t oldest = protocol::oldest_protocol;  ///< versions it speaks
  std::uint32_t newest = protocol::newest_protocol;
  protocol::service_kind service = protocol::service_kind::client;
  protocol::instance_id instance = 0;
  std::uint64_t epoch = 0;
  std::vector<std::string> capabilities;
  std::uint32_t credit_messages = 0;
  std::uint64_t credit_bytes = 0;
  std::uint64_t max_message_bytes = 0;
  bool operator==(const hello&) const = default;
};
/// The newest version that both speak; nothing: none.
std::optional<std::uint32_t> common_version(const hello& a, const hello& b) noexcept;
/// "version 1" or "versions 1 to 2", for sentences.
std::string versions_of(const hello& said);

struct welcome {
  hello self;
};
struct refused {
  error reason;
};
struct heartbeat {
  std::uint64_t sequence = 0;
};
struct goodbye {};
/// One part of a bulk transfer; `bytes` is the message's second frame.
struct piece {
  std::uint64_t transfer = 0;
  std::uint16_t tensor = 0;
  std::uint64_t offset = 0;
  buffer bytes;
};
struct more {
  std::uint64_t transfer = 0;
};

/// What the link says to itself on the other side.
using control = std::variant<hello, welcome, refused, heartbeat, goodbye, piece, more>;

/// A message whose tensors are still to come in pieces.
struct bulk {
  struct part {
    std::size_t tensor;  ///< index in the order of the message's tensors
    std::uint64_t size;  ///< bytes, as the shape says
  };
  std::uint64_t transfer = 0;
  protocol::message body;
  std::vector<part> parts;
  std::uint64_t bytes = 0;  ///< sum over parts
};

struct envelope {
  std::uint64_t epoch = 0;
  std::variant<control, protocol::message, bulk> content;
};

/// Sum of the tensors' bytes in `body`. Error invalid_argument if some tensor's bytes do not match its shape.
expected<std::uint64_t> tensor_bytes(const protocol::message& body);

struct encoded {
  std::vector<std::byte> head;  ///< frame 1
  std::vector<buffer> tensors;  ///< frames 2..n, or what the pieces are cut from
};

/// `transfer` is not zero if the tensors shall travel in pieces.
/// Errors: invalid_argument (bytes do not match the shape), too_large (a limit above).
expected<encoded> encode(std::uint64_t epoch, const protocol::message& body, std::uint64_t transfer = 0);
std::vector<std::byte> encode(std::uint64_t epoch, const control& body);

/// Reads one message. `head` is frame 1: the envelope and, if there are no further frames, perhaps the bytes of the
/// tensors, which are copied. `frames` are frames 2..n; they are moved into the tensors, those not aligned to their
/// element size after a copy, which is added to `copies` (as is a copy of a misaligned head).
expected<envelope> decode(std::span<const std::byte> head, std::span<buffer> frames, std::uint64_t& copies);

/// Puts the bytes of a bulk message, once complete, into its tensors. `data` has one buffer per part.
void attach(bulk& whole, std::vector<buffer> data);

}  // namespace shoal::link
