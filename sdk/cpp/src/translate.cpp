#include "translate.hpp"

#include <utility>

namespace shoal::client::detail {

static_assert(static_cast<int>(errc::unauthenticated) == static_cast<int>(shoal::last_errc));
static_assert(static_cast<int>(dtype::bytes) == static_cast<int>(shoal::dtype::bytes));
static_assert(static_cast<int>(model_state::failed) == static_cast<int>(protocol::model_state::failed));

error to_user(const shoal::error& from, std::uint64_t request_id) {
  return {static_cast<errc>(from.code), from.message, from.retryable, from.retry_after, request_id};
}

expected<result> to_user(protocol::outcome from) {
  if (!from.result) return tl::unexpected(to_user(from.result.error(), from.id));
  result to;
  to.outputs.reserve(from.result->size());
  for (auto& each : *from.result)
    to.outputs.emplace_back(std::move(each.name), static_cast<dtype>(each.type), std::move(each.dims),
                            each.data.bytes(), each.data.owner());
  to.model = std::move(from.model);
  to.version = from.version;
  to.queue_time = from.queue_time;
  to.compute_time = from.compute_time;
  to.batch_rows = from.batch_rows;
  to.retries = from.attempt;
  to.request_id = from.id;
  to.plan = std::move(from.plan);
  return to;
}

figure to_user(const protocol::figure& from) { return {from.name, from.value}; }

namespace {
std::vector<tensor_spec> to_user(const std::vector<protocol::tensor_spec>& from) {
  std::vector<tensor_spec> to;
  for (const auto& each : from) {
    auto& spec = to.emplace_back(tensor_spec{each.name, static_cast<dtype>(each.type), {}});
    for (const auto& dim : each.dims) spec.dims.push_back({dim.min, dim.max, dim.symbol});
  }
  return to;
}
}  // namespace

std::vector<model> to_user(const protocol::catalogue& from) {
  std::vector<model> to;
  for (const auto& each : from.models)
    to.push_back({each.name, each.version, static_cast<model_state>(each.state), each.reason, to_user(each.inputs),
                  to_user(each.outputs), each.batch_symbol, each.max_batch});
  return to;
}

std::vector<service> to_user(const protocol::report& from) {
  std::vector<service> to;
  for (const auto& each : from.services) {
    auto& one = to.emplace_back(service{each.service, each.instance, {}});
    for (const auto& value : each.figures) one.figures.push_back(to_user(value));
  }
  return to;
}

std::vector<worker_answer> to_user(const std::vector<protocol::worker_answer>& from) {
  std::vector<worker_answer> to;
  for (const auto& each : from) {
    if (each.result)
      to.push_back({each.worker, *each.result});
    else
      to.push_back({each.worker, tl::unexpected(to_user(each.result.error()))});
  }
  return to;
}

expected<std::uint64_t> input_bytes(const request& of) {
  std::uint64_t bytes = 0;
  for (const auto& each : of.inputs) {
    if (auto good = each.check(); !good) return tl::unexpected(std::move(good.error()));
    bytes += each.bytes().size();
  }
  return bytes;
}

protocol::infer to_mesh(request from, priority as) {
  protocol::infer to;
  to.priority = static_cast<protocol::priority>(as);
  to.model = std::move(from.model);
  to.version = from.version;
  to.outputs = std::move(from.outputs);
  to.inputs.reserve(from.inputs.size());
  for (const auto& each : from.inputs)
    to.inputs.push_back(
        {each.name(), static_cast<shoal::dtype>(each.type()), each.dims(), buffer(each.owner(), each.bytes())});
  return to;
}

}  // namespace shoal::client::detail
