// What a graph takes and gives: the public description (protocol::model_spec) and the check of a request against it.
// Immutable after `read`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "executor/graph.hpp"
#include "protocol/model.hpp"

namespace shoal::executor {

/// The type that travels for the archive's ScalarType; nothing for types the mesh does not carry (complex, float8).
std::optional<dtype> carried_type(archive_dtype type) noexcept;

class signature {
 public:
  /// Errors: unsupported (a type that does not travel, a size that is not linear in one symbol), corrupt.
  static expected<signature> read(const graph& from);
  /// What can be described; what cannot is left out and noted in `refused`.
  static signature read_all(const graph& from, std::vector<refused_part>& refused);

  [[nodiscard]] const protocol::model_spec& spec() const noexcept { return spec_; }
  /// Why there is no batch symbol; empty if there is one.
  [[nodiscard]] const std::string& why_not_joined() const noexcept { return why_not_joined_; }

  /// Everything a run relies on: count, type, rank, sizes within their ranges, equal symbols equal, bytes as many as
  /// the shape needs. Errors: invalid_argument, naming the input and its dimension.
  [[nodiscard]] expected<void> check(std::span<const tensor> inputs) const;

 private:
  /// A size is scale * symbol + offset with the symbol's value in [min, max]; symbol < 0: fixed at offset.
  struct rule {
    int symbol = -1;
    std::int64_t scale = 0;
    std::int64_t offset = 0;
    std::int64_t min = 0;
    std::int64_t max = 0;
  };

  expected<void> add_input(const graph& from, const named_value& input);
  expected<void> add_output(const graph& from, const named_value& output);
  [[nodiscard]] expected<void> check_input(std::size_t index, const tensor& given,
                                           std::vector<std::int64_t>& symbols) const;
  std::string find_batch_symbol(const graph& from);

  protocol::model_spec spec_;
  std::string why_not_joined_;
  std::vector<std::vector<rule>> rules_;  ///< per input and dimension
  std::vector<std::string> symbols_;
};

}  // namespace shoal::executor
