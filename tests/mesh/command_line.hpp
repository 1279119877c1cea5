// The executable `shoal` as somebody types it.
#pragma once

#include <string>
#include <vector>

#include "mesh/process.hpp"

namespace shoal::test {

struct command_result {
  int code;  ///< -1: it did not end
  std::string output;
};

inline command_result run_shoal(const scratch_folder& folder, std::vector<std::string> arguments,
                                std::chrono::milliseconds most = std::chrono::seconds(60)) {
  static int runs = 0;
  arguments.insert(arguments.begin(), executable("shoal"));
  process started(std::move(arguments), folder / ("run." + std::to_string(runs++) + ".log"));
  const auto code = started.wait(most);
  return {code.value_or(-1), started.output()};
}

inline bool says(const command_result& ran, const std::string& text) {
  return ran.output.find(text) != std::string::npos;
}

}  // namespace shoal::test
