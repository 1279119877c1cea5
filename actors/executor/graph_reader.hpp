// Reads the JSON of a `.pt2` archive into `graph`. Strict: a missing key, an unknown kind of argument, a value read
// before it is defined, or two descriptions of a weight that differ, refuse the archive and say where.
//
// PyTorch ships C++ types for this JSON (generated_serialization_types.h). They are not used: a key that is missing
// leaves their fields uninitialised, and an archive is hostile until checked. The schema's version is pinned instead.
#pragma once

#include "core/error.hpp"
#include "executor/archive.hpp"
#include "executor/graph.hpp"

namespace shoal::executor {

/// torch/_export/serde/schema.py: SCHEMA_VERSION of PyTorch 2.11. A minor version only adds what may be left out;
/// what it adds and we do not know is refused where it is met.
inline constexpr std::int64_t schema_major = 8;

/// Errors: corrupt, incompatible (another schema version or archive format), unsupported (inputs or outputs that are
/// not tensors, custom objects, mutated buffers; with the name).
/// With `refused`, what is unsupported is noted there, all of it, and reading goes on: the graph is then only good for
/// a report.
expected<graph> read_graph(const archive& from, std::vector<refused_part>* refused = nullptr);

}  // namespace shoal::executor
