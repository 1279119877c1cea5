// What a post-processor puts around a text's ids. Read from the file, immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::text {

struct framing {
  struct token {
    std::int64_t id = 0;
    std::int64_t type = 0;
  };
  std::vector<token> before;
  std::vector<token> after;
  std::int64_t type = 0;  ///< of the text's own ids

  [[nodiscard]] std::size_t size() const noexcept { return before.size() + after.size(); }
};

}  // namespace shoal::text
