#include "executor/passes_convolution_precision.hpp"

#include <array>
#include <utility>

#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/narrow_convolution.hpp"

namespace shoal::executor {

namespace {

constexpr std::string_view fused = "torch.ops.shoal.convolution.default";
constexpr std::string_view fused_add = "torch.ops.shoal.convolution_add.default";
constexpr std::string_view packed_weight = "torch.ops.shoal.pack_convolution_weight.default";
constexpr std::string_view convolution_int8 = "torch.ops.shoal.convolution_int8.default";
constexpr std::string_view quantise = "torch.ops.shoal.quantise_images.default";

/// [out, in, height, width] of a fused convolution's weight.
std::optional<std::array<std::int64_t, 4>> weight_sizes(const node& convolution) {
  const auto* sizes = find_argument(convolution, "sizes");
  const auto* list = sizes == nullptr ? nullptr : std::get_if<item_list>(sizes);
  if (list == nullptr || list->items.size() != 4) return std::nullopt;
  std::array<std::int64_t, 4> read{};
  for (std::size_t i = 0; i < read.size(); ++i) {
    const auto* number = std::get_if<std::int64_t>(&list->items[i]);
    if (number == nullptr || *number < 1) return std::nullopt;
    read[i] = *number;
  }
  return read;
}

/// What its packing packs: the weight as stored, or with a batch norm in it.
std::optional<value_id> plain_weight(const graph& in, const graph_uses& uses, const node& convolution) {
  const auto packed = value_of(convolution, "weight");
  const auto made = packed ? uses.producer(*packed) : std::nullopt;
  if (!made || in.nodes[*made].target != packed_weight) return std::nullopt;
  return value_of(in.nodes[*made], "weight");
}

item_list as_list(const std::optional<value_range>& range) {
  return range ? item_list{{range->least, range->most}} : item_list{};
}

argument argument_or_none(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  return found == nullptr ? argument() : *found;
}

/// What its kernels do themselves: limits.
bool is_clamped(const node& convolution) {
  const auto* found = find_argument(convolution, "activation");
  const auto* name = found == nullptr ? nullptr : std::get_if<std::string>(found);
  return name != nullptr && (*name == "none" || *name == "relu" || *name == "hardtanh");
}

class convolution_writer {
 public:
  explicit convolution_writer(graph& program) : program_(program), uses_(program) {}

  void apply(const std::map<std::string, node_precision>& nodes) {
    for (auto& each : program_.nodes) {
      const auto wanted = nodes.find(each.name);
      if (wanted != nodes.end() && choosable_convolution(program_, uses_, each)) {
        if (wanted->second.as == precision::int8) to_int8(each, wanted->second);
        if (wanted->second.as == precision::bf16) to_bf16(each);
      }
      // Later nodes look up who makes their weights at its old place, so nothing is taken out of it yet.
      made_.push_back(each);
    }
    program_.nodes = std::move(made_);
  }

 private:
  value_id add(const std::string& name, std::string_view target, std::vector<named_argument> inputs) {
    program_.values.push_back({name, value_kind::tensor, std::nullopt});
    const auto id = static_cast<value_id>(program_.values.size() - 1);
    made_.push_back({name, std::string(target), std::move(inputs), {{false, {id}}}});
    return id;
  }

  void rewrite(node& convolution, std::string_view target, value_id input, value_id packed) const {
    auto limits = argument_or_none(convolution, "limits");
    if (!std::holds_alternative<item_list>(limits)) limits = item_list{};
    std::vector<named_argument> inputs{{"input", reference{input}}, {"packed", reference{packed}}};
    for (const auto* name : {"bias", "other", "sizes", "stride", "padding", "dilation", "activation"})
      inputs.push_back({name, argument_or_none(convolution, name)});
    inputs.push_back({"limits", std::move(limits)});
    convolution.target = std::string(target);
    convolution.inputs = std::move(inputs);
  }

  void to_int8(node& convolution, const node_precision& as) {
    const auto weight = *plain_weight(program_, uses_, convolution);
    const auto input = *value_of(convolution, "input");
    const auto packed = add("pack_int8_" + convolution.name, "torch.ops.shoal.pack_convolution_int8.default",
                            {{"weight", reference{weight}}, {"clip", as.clip}});
    const auto range = as.input_range.value_or(value_range{});
    const auto [entry, is_new] = images_.try_emplace({input, {range.least, range.most}}, 0);
    if (is_new)
      entry->second =
          add("quantise_" + convolution.name, quantise, {{"x", reference{input}}, {"range", as_list(as.input_range)}});
    rewrite(convolution, convolution_int8, entry->second, packed);
  }

  void to_bf16(node& convolution) {
    const auto weight = *plain_weight(program_, uses_, convolution);
    const auto input = *value_of(convolution, "input");
    const auto packed = add("pack_bf16_" + convolution.name, "torch.ops.shoal.pack_convolution_bf16.default",
                            {{"weight", reference{weight}}});
    rewrite(convolution, "torch.ops.shoal.convolution_bf16.default", input, packed);
  }

  graph& program_;
  graph_uses uses_;
  std::vector<node> made_;
  std::map<std::pair<value_id, std::pair<double, double>>, value_id> images_;
};

/// Images are quantised by the int8 convolution that makes them.
void fuse_quantisation(graph& program) {
  const graph_uses uses(program);
  std::vector<bool> removed(program.nodes.size());
  for (std::size_t i = 0; i < program.nodes.size(); ++i) {
    const auto& each = program.nodes[i];
    if (each.target != quantise) continue;
    const auto x = value_of(each, "x");
    const auto made = x ? uses.producer(*x) : std::nullopt;
    const auto range = argument_or_none(each, "range");
    const auto* ends = std::get_if<item_list>(&range);
    if (!made || ends == nullptr || ends->items.empty()) continue;
    auto& maker = program.nodes[*made];
    if (maker.target != convolution_int8 || !is_clamped(maker)) continue;
    const auto images = each.outputs[0].values[0];
    if (uses.readers(*x) == 1) {
      maker.target = "torch.ops.shoal.convolution_int8_images.default";
      maker.outputs[0].values[0] = images;
    } else {
      maker.target = "torch.ops.shoal.convolution_int8_both.default";
      maker.outputs.push_back({false, {images}});
    }
    maker.inputs.push_back({"range", range});
    removed[i] = true;
  }
  remove_nodes(program, removed);
}

}  // namespace

std::optional<choosable_node> choosable_convolution(const graph& in, const graph_uses& uses, const node& each) {
  if (each.target != fused && each.target != fused_add) return std::nullopt;
  const auto input = value_of(each, "input");
  const auto sizes = weight_sizes(each);
  const auto* groups = find_argument(each, "groups");
  const auto* count = groups == nullptr ? nullptr : std::get_if<std::int64_t>(groups);
  if (!input || !sizes || count == nullptr || *count != 1 || !plain_weight(in, uses, each)) return std::nullopt;
  const auto& [out, channels, height, width] = *sizes;
  kernels::convolution_shape shape;
  shape.in_channels = channels;
  shape.kernel_height = height;
  shape.kernel_width = width;
  const auto halves = kernels::convolution_inner_bf16(shape);
  const auto bytes = kernels::convolution_inner_int8(shape);
  choosable_node made{each.name, out, 0, *input, std::nullopt, {precision::fp32}, true};
  if (!halves) return std::nullopt;
  made.inner = height * width * channels;
  made.precisions.push_back(precision::bf16);
  if (bytes && kernels::packed_int8_bytes(out, *bytes)) made.precisions.push_back(precision::int8);
  return made;
}

void apply_convolution_precision(graph& program, const std::map<std::string, node_precision>& nodes) {
  convolution_writer(program).apply(nodes);
  fuse_quantisation(program);
}

}  // namespace shoal::executor
