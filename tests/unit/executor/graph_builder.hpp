// Small graphs for tests of passes: values and nodes put together by hand, as the reader would give them.
#pragma once

#include <string>
#include <vector>

#include "executor/graph.hpp"

namespace shoal::test {

using namespace executor;

class graph_builder {
 public:
  static constexpr archive_dtype fp32{7};
  static constexpr archive_dtype fp64{8};

  value_id input(std::vector<std::int64_t> sizes, archive_dtype type = fp32) {
    const auto id = add("input", sizes, type);
    made.inputs.push_back({id, "input"});
    return id;
  }

  value_id weight(std::vector<std::int64_t> sizes, archive_dtype type = fp32) {
    const auto id = add("weight", sizes, type);
    made.stored.push_back({id, "weight", "data/weights/weight_0", type, sizes, {}, 0});
    return id;
  }

  /// `operation` without its prefix: "relu_.default". The result has the given sizes.
  value_id node(const std::string& operation, std::vector<named_argument> inputs, std::vector<std::int64_t> sizes,
                archive_dtype type = fp32) {
    const auto id = add("value", sizes, type);
    made.nodes.push_back({operation, "torch.ops.aten." + operation, std::move(inputs), {{false, {id}}}});
    return id;
  }

  void output(value_id id) { made.outputs.push_back({id, "output"}); }

  /// Targets of the nodes, without "torch.ops.".
  [[nodiscard]] std::vector<std::string> targets() const {
    std::vector<std::string> listed;
    for (const auto& each : made.nodes) listed.push_back(each.target.substr(std::string("torch.ops.").size()));
    return listed;
  }

  graph made;

 private:
  value_id add(std::string name, const std::vector<std::int64_t>& sizes, archive_dtype type) {
    tensor_meta meta{type, {}};
    for (const auto size : sizes) meta.sizes.push_back({true, 0, size, "", ""});
    made.values.push_back({std::move(name), value_kind::tensor, meta});
    return static_cast<value_id>(made.values.size() - 1);
  }
};

}  // namespace shoal::test
