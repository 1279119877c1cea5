// Passes by name, for a command line: "all", "none", "all-NAME-NAME" or "none+NAME+NAME". Plain functions.
#pragma once

#include <span>
#include <string_view>

#include "core/error.hpp"
#include "executor/model.hpp"

namespace shoal::executor {

struct named_pass {
  std::string_view name;  ///< as its flag is called
  bool pass_options::*flag;
};

/// Every pass, in the order in which they run.
std::span<const named_pass> all_passes() noexcept;

/// Errors: invalid_argument, naming what is not known and what is.
expected<pass_options> parse_passes(std::string_view text);

}  // namespace shoal::executor
