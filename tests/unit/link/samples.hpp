// One value of every kind of message, with every field set to something that is not its default, and equality of
// messages, which the protocol's types themselves do not need.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "link/codec.hpp"

namespace shoal::test {

using any_body = std::variant<link::control, protocol::message>;

struct sample {
  std::string name;  ///< of its golden file
  any_body body;
};

constexpr std::uint64_t sample_epoch = 0x0102030405060708;

/// Every field that was appended after protocol version 1 at its default: what a release of that version says.
any_body as_of_version_1(any_body body);

/// Frames as a file of golden/ has them, a line of hexadecimal digits per frame; none if there is no such file. `name`
/// is relative to golden/, without ".hex".
std::vector<std::vector<std::byte>> read_golden(const std::string& name);

/// In the order of the union in schemas/mesh.capnp, variants of one kind one after the other.
std::vector<sample> samples();

bool same(const protocol::message& a, const protocol::message& b);
bool same(const link::control& a, const link::control& b);

/// Frames 1..n.
std::vector<std::vector<std::byte>> frames_of(const any_body& body);
/// `frames` as they would arrive: each at its own, aligned address.
expected<link::envelope> decode_frames(const std::vector<std::vector<std::byte>>& frames, std::uint64_t& copies);

}  // namespace shoal::test
