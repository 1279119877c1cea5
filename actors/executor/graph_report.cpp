#include "executor/graph_report.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include "executor/apply_passes.hpp"
#include "executor/archive.hpp"
#include "executor/graph_reader.hpp"
#include "executor/program.hpp"
#include "executor/signature.hpp"

namespace shoal::executor {

namespace {

node_kinds kinds_of(const graph& in) {
  node_kinds counted;
  for (const auto& each : in.nodes) ++counted[each.target];
  return counted;
}

void count_weights(const graph& in, graph_report& report) {
  report.weight_tensors = in.stored.size();
  std::set<std::string_view> records;
  for (const auto& each : in.stored) {
    if (!records.insert(each.record).second) continue;
    std::uint64_t elements = 1;
    for (const auto size : each.sizes)
      if (size < 0 || __builtin_mul_overflow(elements, static_cast<std::uint64_t>(size), &elements)) elements = 0;
    report.parameters += elements;
  }
}

/// What building the program refuses, of nodes that were not refused before.
void add_refusals_of_program(const graph& left, graph_report& report) {
  std::set<std::string> known;
  for (const auto& each : report.refused) known.insert(each.node);
  for (auto& each : program::refusals(left))
    if (!known.contains(each.node)) report.refused.push_back(std::move(each));
}

void examine_graph(graph& exported, const pass_options& passes, graph_report& report) {
  auto refused = check_all_allowed(exported);
  std::move(refused.begin(), refused.end(), std::back_inserter(report.refused));
  auto kinds = report.exported;
  apply_passes(passes, exported, [&](std::string_view pass, const graph& left) {
    auto now = kinds_of(left);
    report.passes.push_back({std::string(pass), nodes_in(kinds), nodes_in(now), kinds != now});
    kinds = std::move(now);
  });
  report.left = std::move(kinds);
  add_refusals_of_program(exported, report);
}

void examine_archive(const std::filesystem::path& path, const pass_options& passes, graph_report& report) {
  const auto opened = archive::open(path);
  if (!opened) {
    report.refused.push_back({{}, {}, opened.error()});
    return;
  }
  auto exported = read_graph(**opened, &report.refused);
  if (!exported) {
    report.refused.push_back({{}, {}, exported.error()});
    return;
  }
  const bool whole = report.refused.empty();
  report.exported = kinds_of(*exported);
  count_weights(*exported, report);
  const auto described = signature::read_all(*exported, report.refused);
  report.spec = described.spec();
  report.why_not_joined = described.why_not_joined();
  // Results of refused nodes are not described: that is no damage of the archive.
  if (!whole) std::erase_if(report.refused, [](const auto& each) { return each.reason.code == errc::corrupt; });
  // Passes rely on a graph in which every argument was read.
  if (whole) return examine_graph(*exported, passes, report);
  auto refused = check_all_allowed(*exported);
  std::move(refused.begin(), refused.end(), std::back_inserter(report.refused));
}

}  // namespace

std::size_t nodes_in(const node_kinds& kinds) {
  return std::accumulate(kinds.begin(), kinds.end(), std::size_t{0},
                         [](std::size_t sum, const auto& kind) { return sum + kind.second; });
}

graph_report examine(const std::filesystem::path& path, const pass_options& passes) {
  graph_report report;
  try {
    examine_archive(path, passes, report);
  } catch (const std::exception& wrong) {
    report.refused.push_back({{}, {}, error(errc::internal, path.string() + " cannot be examined: " + wrong.what())});
  }
  return report;
}

}  // namespace shoal::executor
