// What Open Inference Protocol v2 means whichever door it comes through: names, versions, parameters and limits of the
// protocol are read and refused here, once; the doors only know how their wire looks. Whether a model takes a request
// is checked behind the doors (admission.hpp).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/messages.hpp"
#include "protocol/statistics.hpp"

namespace shoal::gateway {

/// No model has more tensors; a request with more is only work for us.
inline constexpr std::size_t most_tensors = 256;

inline constexpr std::array<std::string_view, 4> server_extensions{"binary_tensor_data", "statistics",
                                                                   "model_configuration", "model_repository"};
inline constexpr std::string_view platform = "pytorch_export";

/// Which model a request names.
struct model_reference {
  std::string name;
  std::uint64_t version = 0;  ///< zero: the highest that is ready
};

/// A version as text, "1". Errors: invalid_argument.
expected<std::uint64_t> read_version(std::string_view text);

/// The parameter `timeout`, in microseconds, as time left; 0: the gateway's default. Errors: invalid_argument.
expected<protocol::microseconds> read_timeout(std::int64_t microseconds);

/// The parameter `priority`, as a number (0: not said; 1 is the highest, the larger the lower) or as a class's name: 1
/// is critical, 0 and 2 are standard, all above are batch. Errors: invalid_argument.
expected<protocol::priority> read_priority(std::int64_t number);
expected<protocol::priority> read_priority(std::string_view name);

/// An element type by the protocol's name, "FP32". Errors: invalid_argument, also for BYTES, which no exported graph
/// takes.
expected<dtype> read_type(std::string_view name);

/// W3C trace context, version 00; all zero if there is none or it cannot be read (then a new trace may begin).
protocol::trace_context trace_of(std::string_view traceparent) noexcept;

/// Whether a parameter of a request, an input or an output (`name`) asks for something that is not offered: shared
/// memory, classification. Others that are not understood are ignored, as the protocol asks. Errors: invalid_argument.
expected<void> check_parameter(std::string_view name);

/// The entries of a statistics answer: one per model version of `models` that `wanted` names (an empty name: all;
/// version zero: all of that name), with zeros for what `counted` does not hold.
std::vector<protocol::model_statistics> select(const std::vector<protocol::model_statistics>& counted,
                                               const protocol::catalogue& models, const model_reference& wanted);

/// The versions of `name` that are ready, as the protocol writes them.
std::vector<std::string> ready_versions(const protocol::catalogue& models, std::string_view name);

/// "READY", "LOADING", "UNAVAILABLE": the states of the repository extension.
std::string_view name_of_state(protocol::model_state state);

/// What the repository extension's load asks of the workers: the newest version in their directory, or `version`, takes
/// the place of older ones. `parameter`s of a load (a configuration, or files) would let a client write what the server
/// reads: `check_load_parameter` refuses them. Errors: invalid_argument (a name that is none).
expected<protocol::manage> load_request(std::string_view name, std::uint64_t version = 0);
expected<protocol::manage> unload_request(std::string_view name, std::uint64_t version = 0);
expected<void> check_load_parameter(std::string_view name);

/// One answer out of the workers': done if any did it, else the first reason why not.
expected<void> verdict(const expected<std::vector<protocol::worker_answer>>& answers);

}  // namespace shoal::gateway
