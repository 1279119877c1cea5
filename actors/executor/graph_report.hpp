// What can be said of an archive without running it: its signature, its operators before and after the passes, its
// weights, and everything that keeps it from running. Plain function; the file is hostile, nothing of it is executed.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "executor/graph.hpp"
#include "executor/model.hpp"
#include "protocol/model.hpp"

namespace shoal::executor {

using node_kinds = std::map<std::string, std::size_t>;  ///< nodes by operator

struct pass_effect {
  std::string name;
  std::size_t before = 0;  ///< nodes
  std::size_t after = 0;
  bool changed = false;  ///< an operator was replaced, or the number of nodes is another
};

struct graph_report {
  std::vector<refused_part> refused;  ///< empty: nothing stands against loading it
  protocol::model_spec spec;          ///< of what could be described
  std::string why_not_joined;         ///< empty: requests are joined along spec.batch_symbol
  node_kinds exported;
  node_kinds left;                  ///< before constants are folded; empty if the graph could not be read whole
  std::vector<pass_effect> passes;  ///< in their order, without folding
  std::size_t weight_tensors = 0;   ///< parameters, buffers and constants
  std::uint64_t parameters = 0;     ///< their elements; what is tied counts once
};

std::size_t nodes_in(const node_kinds& kinds);

/// A file that cannot be read as an archive is refused in the report, with one reason.
graph_report examine(const std::filesystem::path& archive, const pass_options& passes = {});

}  // namespace shoal::executor
