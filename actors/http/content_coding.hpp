// Content codings of bodies (RFC 9110, 8.4 and 12.5.3).
#pragma once

#include <optional>

#include "core/compression.hpp"
#include "http/message.hpp"

namespace shoal::http {

/// How a request's body is coded; nothing: not at all. Errors: unsupported (neither gzip nor deflate, or several).
expected<std::optional<coding>> content_coding(const request& asked);

/// The coding that the client prefers of those it takes; nothing: it wants the answer as it is.
std::optional<coding> wanted_coding(const request& asked);

/// Smaller answers are sent as they are.
inline constexpr std::size_t least_compressed = 1024;

/// `answer` in that coding, if compression pays and there is the memory for it; else as it is.
response compress(response answer, coding format);

}  // namespace shoal::http
