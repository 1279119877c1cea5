// Graphs written by hand, for tests of passes: fp32 tensors unless said otherwise; a size of `batch` is the symbol s0.
#pragma once

#include <string>
#include <vector>

#include "executor/graph.hpp"

namespace shoal::test {

inline constexpr std::int64_t batch = -1;

class small_graph {
 public:
  using sizes = std::vector<std::int64_t>;
  static constexpr executor::archive_dtype fp32{7};
  static constexpr executor::archive_dtype fp64{8};

  executor::value_id input(const sizes& of, executor::archive_dtype type = fp32) {
    const auto id = value(of, type);
    made_.inputs.push_back({id, made_.values[id].name});
    return id;
  }

  executor::value_id weight(const sizes& of, executor::archive_dtype type = fp32) {
    const auto id = value(of, type);
    sizes strides(of.size(), 1);
    for (std::size_t i = of.size(); i > 1; --i) strides[i - 2] = strides[i - 1] * of[i - 1];
    made_.stored.push_back({id, made_.values[id].name, "data/weights/" + std::to_string(id), type, of, strides, 0});
    return id;
  }

  /// `operation`: "linear.default".
  executor::value_id node(const std::string& operation, std::vector<executor::named_argument> inputs, const sizes& of,
                          executor::archive_dtype type = fp32) {
    const auto id = value(of, type);
    made_.nodes.push_back({"node" + std::to_string(made_.nodes.size()),
                           "torch.ops.aten." + operation,
                           std::move(inputs),
                           {{false, {id}}}});
    return id;
  }

  void output(executor::value_id id) { made_.outputs.push_back({id, "output_" + std::to_string(id)}); }

  executor::graph& made() { return made_; }

  /// The nodes' operators in order, without "torch.ops.": "shoal.pack_linear.default aten.linear.default".
  [[nodiscard]] std::string operators() const {
    std::string all;
    for (const auto& each : made_.nodes) all += (all.empty() ? "" : " ") + each.target.substr(sizeof("torch.ops.") - 1);
    return all;
  }

 private:
  executor::value_id value(const sizes& of, executor::archive_dtype type) {
    executor::tensor_meta meta{type, {}};
    for (const auto size : of) {
      executor::size_expression expression;
      if (size == batch) {
        expression.scale = 1;
        expression.symbol = "s0";
      } else {
        expression.offset = size;
      }
      meta.sizes.push_back(expression);
    }
    made_.values.push_back({"v" + std::to_string(made_.values.size()), executor::value_kind::tensor, meta});
    return static_cast<executor::value_id>(made_.values.size() - 1);
  }

  executor::graph made_;
};

}  // namespace shoal::test
