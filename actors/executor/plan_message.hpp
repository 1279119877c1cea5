// A plan as it travels between workers and precision services: its text, as a row of bytes.
#pragma once

#include <span>
#include <string>

#include "core/tensor.hpp"
#include "executor/precision_plan.hpp"

namespace shoal::executor {

/// Null: no bytes, no plan.
inline tensor packed(const precision_plan* plan) {
  const auto text = plan != nullptr ? to_text(*plan) : std::string();
  return {"plan", dtype::uint8, {static_cast<std::int64_t>(text.size())}, buffer::copy(std::as_bytes(std::span(text)))};
}

/// Errors: those of parse_plan.
inline expected<precision_plan> unpacked(const tensor& text, const std::string& where) {
  const auto bytes = text.data.bytes();
  return parse_plan({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
}

}  // namespace shoal::executor
