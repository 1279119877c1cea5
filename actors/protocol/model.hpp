// What a worker tells the mesh about a model it serves: names, types, shape ranges, how requests may be joined.
// Read from the archive's own range constraints and model.toml, never from configuration elsewhere.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"

namespace shoal::protocol {

/// One dimension: fixed (min == max, no symbol), or free within [min, max] and named by a symbol. Dimensions with the
/// same symbol must have equal sizes within one request. The empty symbol with min < max is an unnamed free dimension.
struct dimension {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::string symbol;

  static dimension fixed(std::int64_t size) { return {size, size, {}}; }
  [[nodiscard]] bool is_fixed() const noexcept { return min == max; }
  bool operator==(const dimension&) const = default;
};

struct tensor_spec {
  std::string name;
  dtype type = dtype::fp32;
  std::vector<dimension> dims;
  double pad_value =
      0;  ///< what fills this input along the pad symbol; meaningful only if model_spec::pad_symbol is set
  bool operator==(const tensor_spec&) const = default;
};

enum class model_state : std::uint8_t { loading, ready, failed };

struct model_spec {
  std::string name;
  std::uint64_t version = 0;
  model_state state = model_state::loading;
  std::string reason;  ///< why it failed: a sentence for the operator
  std::vector<tensor_spec> inputs;
  std::vector<tensor_spec> outputs;
  /// The symbol that is the first dimension of every input and every output: requests are joined along it.
  /// Empty: each request runs alone.
  std::string batch_symbol;
  /// The symbol (a sequence length) along which shorter requests are padded to join longer ones, as model.toml
  /// declares and import verified. Empty: only requests of equal shape are joined.
  std::string pad_symbol;
  std::uint32_t max_batch = 32;  ///< rows along the batch symbol in one execution
  bool operator==(const model_spec&) const = default;
};

}  // namespace shoal::protocol
