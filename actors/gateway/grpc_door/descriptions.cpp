#include "gateway/grpc_door/descriptions.hpp"

#include <cmath>

namespace shoal::gateway::grpc_door {

namespace {

std::int64_t size_of(const protocol::dimension& dim) { return dim.is_fixed() ? dim.min : -1; }

inference::DataType configured_type(dtype type) {
  auto found = inference::TYPE_INVALID;
  inference::DataType_Parse("TYPE_" + std::string(name_of(type)), &found);
  return found;
}

template <class List>
void describe_tensors(const std::vector<protocol::tensor_spec>& specs, List& list) {
  for (const auto& spec : specs) {
    auto& described = *list.Add();
    described.set_name(spec.name);
    described.set_datatype(std::string(name_of(spec.type)));
    for (const auto& dim : spec.dims) described.add_shape(size_of(dim));
  }
}

template <class List>
void configure_tensors(const std::vector<protocol::tensor_spec>& specs, bool batches, List& list) {
  for (const auto& spec : specs) {
    auto& configured = *list.Add();
    configured.set_name(spec.name);
    configured.set_data_type(configured_type(spec.type));
    for (std::size_t d = batches ? 1 : 0; d < spec.dims.size(); ++d) configured.add_dims(size_of(spec.dims[d]));
  }
}

void describe(const protocol::duration_sum& sum, inference::StatisticDuration& duration) {
  duration.set_count(sum.count);
  duration.set_ns(static_cast<std::uint64_t>(sum.total.count()));
}

}  // namespace

inference::ServerMetadataResponse describe_server() {
  inference::ServerMetadataResponse server;
  server.set_name("shoal");
  server.set_version(SHOAL_VERSION);
  for (const auto extension : server_extensions) server.add_extensions(std::string(extension));
  return server;
}

inference::ModelMetadataResponse describe_model(const protocol::model_spec& spec, const protocol::catalogue& models) {
  inference::ModelMetadataResponse model;
  model.set_name(spec.name);
  for (auto& version : ready_versions(models, spec.name)) model.add_versions(std::move(version));
  model.set_platform(std::string(platform));
  describe_tensors(spec.inputs, *model.mutable_inputs());
  describe_tensors(spec.outputs, *model.mutable_outputs());
  return model;
}

inference::ModelConfigResponse describe_config(const protocol::model_spec& spec) {
  const bool batches = !spec.batch_symbol.empty();
  inference::ModelConfigResponse answer;
  auto& config = *answer.mutable_config();
  config.set_name(spec.name);
  config.set_platform(std::string(platform));
  config.set_backend(std::string(platform));
  config.mutable_version_policy()->mutable_specific()->add_versions(static_cast<std::int64_t>(spec.version));
  config.set_max_batch_size(batches ? static_cast<std::int32_t>(spec.max_batch) : 0);
  configure_tensors(spec.inputs, batches, *config.mutable_input());
  configure_tensors(spec.outputs, batches, *config.mutable_output());
  return answer;
}

inference::ModelStatisticsResponse describe_statistics(const std::vector<protocol::model_statistics>& entries) {
  inference::ModelStatisticsResponse answer;
  for (const auto& each : entries) {
    auto& told = *answer.add_model_stats();
    told.set_name(each.model);
    told.set_version(std::to_string(each.version));
    told.set_last_inference(static_cast<std::uint64_t>(each.last_inference.count()));
    told.set_inference_count(each.rows);
    told.set_execution_count(static_cast<std::uint64_t>(std::llround(each.executions)));
    auto& sums = *told.mutable_inference_stats();
    describe(each.success, *sums.mutable_success());
    describe(each.fail, *sums.mutable_fail());
    describe(each.queue, *sums.mutable_queue());
    describe(each.compute_input, *sums.mutable_compute_input());
    describe(each.compute_infer, *sums.mutable_compute_infer());
    describe(each.compute_output, *sums.mutable_compute_output());
  }
  return answer;
}

inference::RepositoryIndexResponse describe_repository(const protocol::catalogue& models, bool ready_only) {
  inference::RepositoryIndexResponse index;
  for (const auto& spec : models.models) {
    if (ready_only && spec.state != protocol::model_state::ready) continue;
    auto& model = *index.add_models();
    model.set_name(spec.name);
    model.set_version(std::to_string(spec.version));
    model.set_state(std::string(name_of_state(spec.state)));
    model.set_reason(spec.reason);
  }
  return index;
}

}  // namespace shoal::gateway::grpc_door
