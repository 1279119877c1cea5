// Counts what became of the requests of each model: for the protocol's statistics, for /metrics, and, through the
// schedulers, for the other gateways. Belongs to the gateway's mind.
//
// Only models that the mesh lists are counted, never names that strangers send, so what it holds is bounded; a model
// that the mesh forgets is forgotten here, too. Figures are kept for the first `most_shown` models only.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "core/metrics.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway {

class model_tally {
 public:
  using model_key = std::pair<std::string, std::uint64_t>;
  static constexpr std::size_t most_shown = 256;

  explicit model_tally(metrics& figures) : figures_(figures) {}

  /// A request of `rows` rows, which took `whole`, has ended. `clock` is the time since 1970.
  void add(const model_key& model, std::uint32_t rows, const protocol::outcome& ended, std::chrono::nanoseconds whole,
           std::chrono::milliseconds clock);
  /// Forgets all models that are not in `known`.
  void keep(const protocol::catalogue& known);

  [[nodiscard]] std::vector<protocol::model_statistics> all() const;

 private:
  struct entry {
    protocol::model_statistics sums;
    std::array<prometheus::Counter*, 7> shown{};  ///< null beyond most_shown
  };
  entry& entry_of(const model_key& model);

  metrics& figures_;
  std::map<model_key, entry> entries_;
};

/// Sums `more` into `all`, by model and version.
void merge(std::vector<protocol::model_statistics>& all, const std::vector<protocol::model_statistics>& more);

}  // namespace shoal::gateway
