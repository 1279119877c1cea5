// What the fuzz targets and their replay do with hostile bytes: everything a worker does with a model archive before
// LibTorch is reached. Archive, graph, allow-list, signature, weights' records, and every pass over the graph.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::test {

/// Reads `bytes` as a `.pt2` file, as `model::load` does. The graph before and after the passes and the weights as
/// text, for comparison; nothing if the archive was refused. Throws if it was refused without a reason, or if a
/// pass left a graph that reads a value before it is made.
std::optional<std::string> read_archive(std::string_view bytes);

/// As `read_archive`, of an archive whose checksums fit: `texts` are model.json and the lists of weights and
/// constants, divided by NUL; what is left out is an empty list.
std::optional<std::string> read_graph_texts(std::string_view texts);

/// Writes the checksum each record has into its headers, so that a changed record is read and not only refused.
void mend_checksums(std::string& archive);

}  // namespace shoal::test
