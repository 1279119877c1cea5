// gzip (RFC 1952) and deflate (RFC 9110, 8.4.1.2: zlib's format, RFC 1950), as the doors take and give them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "core/buffer.hpp"
#include "core/byte_budget.hpp"
#include "core/error.hpp"

namespace shoal {

enum class coding : std::uint8_t { gzip, deflate };

std::string_view name_of(coding format) noexcept;

/// The bytes that `compressed` stands for. Memory is taken as they come out, never as the sender claims; at most `most`
/// of them, all counted against `budget` for as long as anyone holds them. Errors: too_large; overloaded (the budget is
/// used up); invalid_argument (damaged, cut off, or followed by something; one gzip member only).
expected<buffer> inflate(coding format, std::span<const std::byte> compressed, std::size_t most,
                         const std::shared_ptr<byte_budget>& budget);

/// The parts, one after the other, compressed. For speed, not for the last byte.
buffer deflate(coding format, std::span<const buffer> parts);

/// The same if it pays: if the first 64 KiB become at least a tenth smaller. (Random numbers do not.)
std::optional<buffer> deflate_if_it_pays(coding format, std::span<const buffer> parts);

}  // namespace shoal
