// What a run of `shoal bench` came to, for people and as JSON (services/mesh/README.md says what the keys mean).
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "services/mesh/bench/load.hpp"

namespace shoal::services::bench {

struct step {
  double rate = 0;         ///< asked for, requests per second; 0: of a file
  std::size_t window = 0;  ///< of a closed loop; 0: an open one
  load_result result;
};

std::string table_of(const std::vector<step>& steps);
nlohmann::ordered_json json_of(const std::vector<step>& steps);
/// What to think of the figures, if something is wrong with them; empty otherwise.
std::string warning_of(const step& one);

}  // namespace shoal::services::bench
