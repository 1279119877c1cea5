#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"

namespace shoal::executor {

namespace {

bool is_absent_or_false(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  if (found == nullptr || std::holds_alternative<std::monostate>(*found)) return true;
  const auto* flag = std::get_if<bool>(found);
  return flag != nullptr && !*flag;
}

/// A head's size that the kernel takes (kernels/attention.hpp), known before any request.
bool has_fitting_depth(const graph& in, value_id id) {
  const auto& sizes = in.values[id].meta->sizes;
  return sizes.size() == 4 && sizes[3].is_fixed() && sizes[3].offset > 0 && sizes[3].offset <= 128 &&
         sizes[3].offset % 16 == 0;
}

/// What a list of two tensors joins along the tokens of heads, if nothing else reads it: first and last.
std::optional<std::pair<value_id, value_id>> joined_tokens(const graph& in, const graph_uses& uses, value_id id) {
  const auto made = uses.producer(id);
  if (!made || in.nodes[*made].target != "torch.ops.aten.cat.default" || uses.readers(id) != 1) return std::nullopt;
  const auto* dim = find_argument(in.nodes[*made], "dim");
  const auto* along = dim == nullptr ? nullptr : std::get_if<std::int64_t>(dim);
  const auto* tensors = find_argument(in.nodes[*made], "tensors");
  const auto* list = tensors == nullptr ? nullptr : std::get_if<item_list>(tensors);
  if (along == nullptr || (*along != 2 && *along != -2) || list == nullptr || list->items.size() != 2)
    return std::nullopt;
  const auto* first = std::get_if<reference>(&list->items[0]);
  const auto* last = std::get_if<reference>(&list->items[1]);
  if (first == nullptr || last == nullptr) return std::nullopt;
  for (const auto part : {first->id, last->id})
    if (!is_fp32(in, part) || !has_fitting_depth(in, part)) return std::nullopt;
  return std::pair{first->id, last->id};
}

/// A decoder's step: the keys and values that it keeps, and those of its one new token. Attention reads them where they
/// are, so that no step copies all that were before.
void read_in_two_places(const graph& in, const graph_uses& uses, node& attention, std::vector<bool>& removed) {
  const auto q = value_of(attention, "q");
  const auto k = value_of(attention, "k");
  const auto v = value_of(attention, "v");
  const auto& queries = in.values[*q].meta->sizes[2];
  if (!queries.is_fixed() || queries.offset != 1 || !is_absent_or_false(attention, "is_causal")) return;
  const auto keys = joined_tokens(in, uses, *k);
  const auto values = joined_tokens(in, uses, *v);
  if (!keys || !values) return;
  for (auto& input : attention.inputs) {
    if (input.name == "k") input.value = reference{keys->first};
    if (input.name == "v") input.value = reference{values->first};
  }
  attention.inputs.push_back({"added_k", reference{keys->second}});
  attention.inputs.push_back({"added_v", reference{values->second}});
  removed[*uses.producer(*k)] = removed[*uses.producer(*v)] = true;
}

}  // namespace

void fuse_attention(graph& program) {
  const graph_uses uses(program);
  if (uses.writes()) return;
  std::vector<bool> removed(program.nodes.size());
  for (auto& each : program.nodes) {
    if (each.target != "torch.ops.aten.scaled_dot_product_attention.default") continue;
    const bool fits = is_default(each, "dropout_p", 0) && is_absent_or_false(each, "enable_gqa") &&
                      std::all_of(each.inputs.begin(), each.inputs.end(), [&](const named_argument& input) {
                        const auto* read = std::get_if<reference>(&input.value);
                        if (input.name == "attn_mask") return read == nullptr || is_fp32(program, read->id);
                        if (input.name != "query" && input.name != "key" && input.name != "value") return true;
                        return read != nullptr && is_fp32(program, read->id) && has_fitting_depth(program, read->id);
                      });
    if (!fits) continue;
    each.target = "torch.ops.shoal.attention.default";
    std::erase_if(each.inputs,
                  [](const auto& input) { return input.name == "dropout_p" || input.name == "enable_gqa"; });
    for (auto& input : each.inputs) {
      if (input.name == "query") input.name = "q";
      if (input.name == "key") input.name = "k";
      if (input.name == "value") input.name = "v";
      if (input.name == "attn_mask") input.name = "mask";
    }
    read_in_two_places(program, uses, each, removed);
  }
  remove_nodes(program, removed);
}

}  // namespace shoal::executor
