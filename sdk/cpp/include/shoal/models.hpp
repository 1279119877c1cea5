// What a mesh serves and how it is doing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/tensor.hpp"

namespace shoal::client {

/// Fixed (min == max), or free within [min, max]. Dimensions of the same symbol must be equal within one request.
struct dimension {
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::string symbol;
  bool operator==(const dimension&) const = default;
};

struct tensor_spec {
  std::string name;
  dtype type = dtype::fp32;
  std::vector<dimension> dims;
  bool operator==(const tensor_spec&) const = default;
};

enum class model_state : std::uint8_t { loading, ready, failed };

struct model {
  std::string name;
  std::uint64_t version = 0;
  model_state state = model_state::loading;
  std::string reason;  ///< why it failed
  std::vector<tensor_spec> inputs;
  std::vector<tensor_spec> outputs;
  std::string batch_symbol;  ///< requests are joined along it; empty: each runs alone
  std::uint32_t max_batch = 0;
};

struct figure {
  std::string name;
  double value = 0;
};

struct service {
  std::string kind;  ///< "gateway", "scheduler", "worker", "cache"
  std::uint64_t instance = 0;
  std::vector<figure> figures;
};

/// What one worker said to `load` or `unload`: a sentence, or why not.
struct worker_answer {
  std::uint64_t worker = 0;
  expected<std::string> said;
};

}  // namespace shoal::client
