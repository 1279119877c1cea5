#include "fuzz/read_envelope.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "link/codec.hpp"

namespace shoal::test {

namespace {

std::vector<std::span<const std::byte>> frames_of(std::span<const std::byte> input) {
  std::vector<std::span<const std::byte>> frames;
  while (!input.empty()) {
    std::uint32_t size = 0;
    std::memcpy(&size, input.data(), std::min(sizeof size, input.size()));
    input = input.subspan(std::min(sizeof size, input.size()));
    const auto taken = std::min<std::size_t>(size, input.size());
    frames.push_back(input.first(taken));
    input = input.subspan(taken);
  }
  return frames;
}

using written = std::vector<std::vector<std::byte>>;

/// Nothing: this side would not have written such a message.
std::optional<written> write(const link::envelope& what) {
  written frames;
  if (const auto* said = std::get_if<link::control>(&what.content)) {
    frames.push_back(link::encode(what.epoch, *said));
    if (const auto* part = std::get_if<link::piece>(said))
      frames.emplace_back(part->bytes.bytes().begin(), part->bytes.bytes().end());
    return frames;
  }
  const auto* body = std::get_if<protocol::message>(&what.content);
  if (body == nullptr) return std::nullopt;  // its tensors are still to come
  auto whole = link::encode(what.epoch, *body);
  if (!whole) return std::nullopt;
  frames.push_back(std::move(whole->head));
  for (const auto& each : whole->tensors) frames.emplace_back(each.bytes().begin(), each.bytes().end());
  return frames;
}

expected<link::envelope> read(const written& frames) {
  std::vector<buffer> rest;
  for (std::size_t i = 1; i < frames.size(); ++i) rest.push_back(buffer::copy(frames[i]));
  std::uint64_t copies = 0;
  return link::decode(frames.front(), rest, copies);
}

}  // namespace

expected<void> read_envelope(std::span<const std::byte> input) {
  const auto frames = frames_of(input);
  if (frames.empty()) return fail(errc::corrupt, "no frame");
  written came;
  for (const auto& each : frames) came.emplace_back(each.begin(), each.end());
  const auto understood = read(came);
  if (!understood) return tl::unexpected(understood.error());
  if (const auto* body = std::get_if<protocol::message>(&understood->content)) {
    const auto bytes = link::tensor_bytes(*body);
    if (!bytes || *bytes > input.size()) throw std::logic_error("tensors of more bytes than came");
  }
  const auto once = write(*understood);
  if (!once) return {};
  const auto again = read(*once);
  if (!again) throw std::logic_error("what was understood cannot be read again: " + again.error().message);
  if (write(*again) != once) throw std::logic_error("what was understood reads differently the second time");
  return {};
}

}  // namespace shoal::test
