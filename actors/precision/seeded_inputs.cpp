#include "precision/seeded_inputs.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "executor/graph_uses.hpp"

namespace shoal::precision {

namespace {

using executor::graph;
using executor::value_id;
using executor::value_of;

/// Rows of the smallest table that each input's integers are looked up in, through what only copies or reshapes them.
std::map<value_id, std::int64_t> table_rows(const graph& of) {
  std::map<value_id, std::int64_t> weights;
  for (const auto& each : of.stored)
    if (!each.sizes.empty()) weights.emplace(each.id, each.sizes[0]);
  std::map<value_id, value_id> origin;
  for (const auto& input : of.inputs) origin.emplace(input.id, input.id);
  std::map<value_id, std::int64_t> rows;
  for (const auto& node : of.nodes) {
    if (node.target == "torch.ops.aten.embedding.default") {
      const auto table = value_of(node, "weight");
      const auto indices = value_of(node, "indices");
      const auto from = indices ? origin.find(*indices) : origin.end();
      const auto found = table ? weights.find(*table) : weights.end();
      if (from == origin.end() || found == weights.end()) continue;
      const auto [entry, is_new] = rows.try_emplace(from->second, found->second);
      if (!is_new) entry->second = std::min(entry->second, found->second);
      continue;
    }
    const bool keeps_values =
        node.target.find(".to.") != std::string::npos || node.target.find("._to_copy") != std::string::npos ||
        node.target.find(".view") != std::string::npos || node.target.find(".reshape") != std::string::npos ||
        node.target.find(".slice") != std::string::npos || node.target.find(".unsqueeze") != std::string::npos ||
        node.target.find(".clone") != std::string::npos;
    const auto* first = node.inputs.empty() ? nullptr : std::get_if<executor::reference>(&node.inputs.front().value);
    const auto made = executor::single_output(node);
    if (!keeps_values || first == nullptr || !made) continue;
    if (const auto from = origin.find(first->id); from != origin.end()) origin.emplace(*made, from->second);
  }
  return rows;
}

std::uint16_t half_bits(float value, bool brain) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (brain) return static_cast<std::uint16_t>(bits >> 16);
  const auto exponent = static_cast<int>((bits >> 23) & 0xFF) - 112;
  if (exponent <= 0) return static_cast<std::uint16_t>(bits >> 16 & 0x8000);  // tiny ones as 0
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (exponent << 10) | (bits >> 13 & 0x3FF));
}

}  // namespace

std::vector<shape> shapes_of(const protocol::model_spec& spec, execution_size size) {
  std::vector<shape> shapes;
  for (const auto& input : spec.inputs) {
    auto& dims = shapes.emplace_back();
    for (const auto& dim : input.dims) {
      const bool is_batch = !spec.batch_symbol.empty() && dim.symbol == spec.batch_symbol;
      dims.push_back(dim.is_fixed() ? dim.min : std::clamp(is_batch ? size.batch : size.length, dim.min, dim.max));
    }
  }
  return shapes;
}

std::vector<execution_size> typical_sizes(const protocol::model_spec& spec) {
  std::vector<execution_size> sizes;
  std::vector<std::vector<shape>> seen;
  for (const auto size : {execution_size{1, 16}, execution_size{8, 64}}) {
    auto shapes = shapes_of(spec, size);
    if (std::find(seen.begin(), seen.end(), shapes) != seen.end()) continue;
    seen.push_back(std::move(shapes));
    sizes.push_back(size);
  }
  return sizes;
}

std::vector<tensor> seeded_inputs(const graph& of, const protocol::model_spec& spec, execution_size size,
                                  std::uint64_t seed) {
  const auto tables = table_rows(of);
  std::mt19937_64 random(seed);
  const auto shapes = shapes_of(spec, size);
  std::vector<tensor> inputs;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const auto& input = spec.inputs[i];
    tensor made{input.name, input.type, shapes[i], {}};
    const auto bytes = byte_size(made.type, made.dims).value_or(0);
    const auto table = tables.find(of.inputs[i].id);
    const auto rows = table == tables.end() ? std::int64_t{0} : table->second;
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<std::int64_t> row(0, std::max<std::int64_t>(rows, 1) - 1);
    made.data = buffer::make(bytes, [&](std::byte* to) {
      const auto element = size_of(made.type);
      for (std::size_t at = 0; at + element <= bytes; at += element) {
        const auto real = normal(random);
        const double wide = real;
        const auto half = half_bits(real, made.type == dtype::bf16);
        const auto whole = rows > 0 ? row(random) : std::int64_t{1};
        switch (made.type) {
          case dtype::fp64: std::memcpy(to + at, &wide, element); break;
          case dtype::fp32: std::memcpy(to + at, &real, element); break;
          case dtype::fp16:
          case dtype::bf16: std::memcpy(to + at, &half, element); break;
          default: std::memcpy(to + at, &whole, element);  // little-endian: the lowest bytes
        }
      }
    });
    inputs.push_back(std::move(made));
  }
  return inputs;
}

}  // namespace shoal::precision
