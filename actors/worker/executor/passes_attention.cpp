#include <algorithm>
#include <array>

#include "worker/executor/graph_uses.hpp"
#include "worker/executor/passes.hpp"

namespace shoal::worker::executor {

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

}  // namespace

void fuse_attention(graph& program) {
  if (graph_uses(program).writes()) return;
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
  }
}

}  // namespace shoal::worker::executor
