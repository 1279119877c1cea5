// What an HTTP client sends, as its fuzz target and the replay of its corpus hand it to the door.
#pragma once

#include <span>
#include <string>

namespace shoal::test {

/// The bytes that the door of a mesh with the model `identity` answers to everything a client sends before it closes
/// its sending half: real server code over a pair of sockets, on the caller's thread. Throws std::logic_error if the
/// answer is no HTTP, admits a defect, or does not end.
std::string read_http(std::span<const std::byte> input);

}  // namespace shoal::test
