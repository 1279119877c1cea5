// The models of a simulated world, and what they compute: an answer follows from the name, the version and each row of
// the input, so one that was mixed up with a neighbour's, or computed by another version, is seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.hpp"
#include "protocol/model.hpp"

namespace shoal::test {

inline constexpr std::int64_t longest_row = 64;

/// Joins requests along "batch", pads them along "length".
protocol::model_spec model_of(const std::string& name, std::uint64_t version);

/// `rows` rows of `length` numbers that no other request has.
tensor input_of(std::uint64_t number, std::int64_t rows, std::int64_t length);

/// What the model answers, by definition.
tensor answer_of(const std::string& model, std::uint64_t version, const tensor& input);

bool same(const tensor& a, const tensor& b);

/// FNV-1a, for whatever a run shall be known again by.
inline void mix(std::uint64_t& print, std::uint64_t value) { print = (print ^ value) * 0x100000001b3; }

}  // namespace shoal::test
