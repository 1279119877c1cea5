// One inference: what is asked, how, and what came back.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/tensor.hpp"

namespace shoal::client {

struct request {
  std::string model;
  std::vector<tensor> inputs{};        ///< every input of the model, in any order
  std::uint64_t version = 0;           ///< zero: the highest that is ready
  std::vector<std::string> outputs{};  ///< names wanted, in this order; empty: all
};

/// How a request stands to others that wait for the same workers.
enum class priority : std::uint8_t {
  standard,
  critical,  ///< before standard
  batch,     ///< when nobody else waits, but none starves
};

/// How a request is made.
struct call {
  std::chrono::milliseconds deadline{0};  ///< from now, at most 12 days; zero: options::default_deadline
  std::stop_token stop{};                 ///< takes the request back, at the mesh too; it ends with `cancelled`
  client::priority priority = client::priority::standard;
};

struct result {
  std::vector<tensor> outputs;
  std::string model;
  std::uint64_t version = 0;
  std::chrono::microseconds queue_time{};    ///< at the scheduler, and at the worker behind other batches
  std::chrono::microseconds compute_time{};  ///< of the batch that the request was part of
  std::uint32_t batch_rows = 0;              ///< of that batch
  std::uint32_t retries = 0;                 ///< tries after the first
  std::uint64_t request_id = 0;
  /// Epoch of the plan by which the whole batch was computed: which numbers each node used (`shoal tune`). "fp32": no
  /// plan. Empty: the mesh is of an older release, which does not tell.
  std::string plan;

  /// Null: there is no such output.
  [[nodiscard]] const tensor* find(std::string_view name) const noexcept {
    for (const auto& each : outputs)
      if (each.name() == name) return &each;
    return nullptr;
  }

  /// The elements of an output, valid as long as this result. Errors: not_found; those of tensor::view.
  template <element T>
  [[nodiscard]] expected<std::span<const T>> view(std::string_view name) const& {
    if (const auto* output = find(name)) return output->template view<T>();
    return tl::unexpected(no_output(name));
  }
  template <element T>
  expected<std::span<const T>> view(std::string_view name) const&& = delete;

 private:
  [[nodiscard]] SHOAL_CLIENT_API error no_output(std::string_view name) const;
};

using done = std::function<void(expected<result>)>;
/// Gives requests until it gives none.
using source = std::function<std::optional<request>()>;

}  // namespace shoal::client
