// What was measured, for people and for programs. Pure: no I/O.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "services/mesh/bench/bench.hpp"

namespace shoal::services::bench {

/// The line above a table: its columns.
std::string table_header(const measured& all);
/// Of one step: a line for each stream, one for all if there are several, and beneath what should be known: failures
/// with what the first of each kind said, a generator that was late.
std::string table_rows(const measured& all, std::size_t step);
/// What was sent where.
std::string table_title(const measured& all);
/// Of a search: its end.
std::string search_verdict(const measured& all);
/// One line for a terminal.
std::string progress_line(const progress& now);

/// The schema is told in services/mesh/README.md.
nlohmann::ordered_json to_json(const measured& all);

/// A whole HTML document without any reference to the network.
std::string to_html(const measured& all);

}  // namespace shoal::services::bench
