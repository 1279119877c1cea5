#include "gateway/grpc_door/methods.hpp"

#include <algorithm>
#include <array>

#include "gateway/admission.hpp"
#include "gateway/grpc_door/descriptions.hpp"
#include "gateway/grpc_door/infer_message.hpp"
#include "gateway/grpc_door/message_bytes.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::grpc_door {

namespace {

template <class Message>
expected<Message> parse(const asked& asked) {
  Message message;
  if (!message.ParseFromArray(asked.message.data(), static_cast<int>(asked.message.size())))
    return fail(errc::invalid_argument, "the request is no " + std::string(Message::descriptor()->name()) +
                                            ": it cannot be parsed (names must be UTF-8)");
  return message;
}

/// The model that a request with `name` and `version` means.
template <class Message>
expected<model_reference> reference_of(const Message& message) {
  model_reference model{message.name(), 0};
  if (message.version().empty()) return model;
  const auto version = read_version(message.version());
  if (!version) return tl::unexpected(version.error());
  model.version = *version;
  return model;
}

/// For methods that answer at once, from what the gateway knows: `make` turns the message into the answer.
template <class Message, class Make>
protocol::request_id at_once(const asked& asked, const answer& respond, Make&& make) {
  auto message = parse<Message>(asked);
  if (!message)
    respond(tl::unexpected(message.error()));
  else
    respond(make(*message));
  return 0;
}

/// For methods that ask for a model: `make` turns it into the answer.
template <class Message, class Make>
protocol::request_id of_model(const asked& asked, const answer& respond, Make&& make) {
  return at_once<Message>(asked, respond, [&](const Message& message) -> expected<grpc::ByteBuffer> {
    const auto model = reference_of(message);
    if (!model) return tl::unexpected(model.error());
    const auto models = asked.behind.models();
    const auto spec = find_model(*models, model->name, model->version);
    if (!spec) return tl::unexpected(spec.error());
    return to_bytes(make(**spec, *models));
  });
}

protocol::request_id live(const asked& asked, answer respond) {
  return at_once<inference::ServerLiveRequest>(asked, respond, [](const auto&) {
    inference::ServerLiveResponse told;
    told.set_live(true);
    return to_bytes(told);
  });
}

protocol::request_id ready(const asked& asked, answer respond) {
  return at_once<inference::ServerReadyRequest>(asked, respond, [&](const auto&) {
    inference::ServerReadyResponse told;
    told.set_ready(asked.behind.ready());
    return to_bytes(told);
  });
}

protocol::request_id server(const asked& asked, answer respond) {
  return at_once<inference::ServerMetadataRequest>(asked, respond,
                                                   [](const auto&) { return to_bytes(describe_server()); });
}

/// A model that is not there is not ready: clients ask whether, not why not.
protocol::request_id model_ready(const asked& asked, answer respond) {
  using request = inference::ModelReadyRequest;
  return at_once<request>(asked, respond, [&](const request& message) -> expected<grpc::ByteBuffer> {
    const auto model = reference_of(message);
    if (!model) return tl::unexpected(model.error());
    const auto models = asked.behind.models();
    const auto spec = find_model(*models, model->name, model->version);
    inference::ModelReadyResponse told;
    told.set_ready(spec && (*spec)->state == protocol::model_state::ready);
    return to_bytes(told);
  });
}

protocol::request_id model(const asked& asked, answer respond) {
  return of_model<inference::ModelMetadataRequest>(asked, respond, describe_model);
}

protocol::request_id config(const asked& asked, answer respond) {
  return of_model<inference::ModelConfigRequest>(
      asked, respond, [](const protocol::model_spec& spec, const auto&) { return describe_config(spec); });
}

protocol::request_id index(const asked& asked, answer respond) {
  using request = inference::RepositoryIndexRequest;
  return at_once<request>(asked, respond, [&](const request& message) {
    return to_bytes(describe_repository(*asked.behind.models(), message.ready()));
  });
}

protocol::request_id statistics(const asked& asked, answer respond) {
  const auto message = parse<inference::ModelStatisticsRequest>(asked);
  auto model = message ? reference_of(*message) : tl::unexpected(message.error());
  auto models = asked.behind.models();
  if (model && !model->name.empty())
    if (auto spec = find_model(*models, model->name, model->version); !spec) model = tl::unexpected(spec.error());
  if (!model) {
    respond(tl::unexpected(model.error()));
    return 0;
  }
  asked.behind.statistics([respond = std::move(respond), models = std::move(models),
                           wanted = std::move(*model)](const std::vector<protocol::model_statistics>& counted) {
    respond(to_bytes(describe_statistics(select(counted, *models, wanted))));
  });
  return 0;
}

/// Load and unload differ in what they ask of the workers only.
template <class Message, class Response>
protocol::request_id life(const asked& asked, answer respond,
                          expected<protocol::manage> (*make)(std::string_view name, std::uint64_t version)) {
  const auto message = parse<Message>(asked);
  auto order = message ? make(message->model_name(), 0) : tl::unexpected(message.error());
  if (order)
    for (const auto& [name, value] : message->parameters())
      if (auto allowed = check_load_parameter(name); !allowed) order = tl::unexpected(allowed.error());
  if (!order) {
    respond(tl::unexpected(order.error()));
    return 0;
  }
  order->time_left = asked.time_left;
  asked.behind.manage(std::move(*order),
                      [respond = std::move(respond)](const expected<std::vector<protocol::worker_answer>>& answers) {
                        const auto done = verdict(answers);
                        if (done)
                          respond(to_bytes(Response()));
                        else
                          respond(tl::unexpected(done.error()));
                      });
  return 0;
}

protocol::request_id load(const asked& asked, answer respond) {
  return life<inference::RepositoryModelLoadRequest, inference::RepositoryModelLoadResponse>(asked, std::move(respond),
                                                                                             load_request);
}

protocol::request_id unload(const asked& asked, answer respond) {
  return life<inference::RepositoryModelUnloadRequest, inference::RepositoryModelUnloadResponse>(
      asked, std::move(respond), unload_request);
}

/// The call's own deadline and the parameter `timeout` both hold: the shorter of them.
expected<protocol::infer> read_request(const asked& asked, std::string& id) {
  auto request = read_infer(asked.message, id);
  if (!request) return request;
  auto& left = request->time_left;
  if (left == protocol::microseconds(0) || (asked.time_left.count() != 0 && asked.time_left < left))
    left = asked.time_left;
  request->trace = asked.trace;
  return request;
}

protocol::request_id infer(const asked& asked, answer respond) {
  std::string id;
  auto request = read_request(asked, id);
  if (!request) {
    respond(tl::unexpected(request.error()));
    return 0;
  }
  return asked.behind.submit(std::move(*request),
                             [respond = std::move(respond), id = std::move(id)](const protocol::outcome& outcome) {
                               if (outcome.result)
                                 respond(to_response(outcome, id));
                               else
                                 respond(tl::unexpected(outcome.result.error()));
                             });
}

protocol::request_id stream_infer(const asked& asked, answer respond) {
  std::string id;
  auto request = read_request(asked, id);
  if (!request) {
    respond(to_stream_error(request.error(), id));
    return 0;
  }
  return asked.behind.submit(
      std::move(*request), [respond = std::move(respond), id = std::move(id)](const protocol::outcome& outcome) {
        respond(outcome.result ? to_stream_response(outcome, id) : to_stream_error(outcome.result.error(), id));
      });
}

constexpr std::array method_table{
    method{"/inference.GRPCInferenceService/ServerLive", live, access::need::nothing},
    method{"/inference.GRPCInferenceService/ServerReady", ready, access::need::nothing},
    method{"/inference.GRPCInferenceService/ServerMetadata", server, access::need::inference},
    method{"/inference.GRPCInferenceService/ModelReady", model_ready, access::need::inference},
    method{"/inference.GRPCInferenceService/ModelMetadata", model, access::need::inference},
    method{"/inference.GRPCInferenceService/ModelInfer", infer, access::need::inference},
    method{"/inference.GRPCInferenceService/ModelStreamInfer", stream_infer, access::need::inference, true},
    method{"/inference.GRPCInferenceService/ModelConfig", config, access::need::inference},
    method{"/inference.GRPCInferenceService/ModelStatistics", statistics, access::need::inference},
    method{"/inference.GRPCInferenceService/RepositoryIndex", index, access::need::inference},
    method{"/inference.GRPCInferenceService/RepositoryModelLoad", load, access::need::administration},
    method{"/inference.GRPCInferenceService/RepositoryModelUnload", unload, access::need::administration},
};

}  // namespace

const method* find_method(std::string_view path) noexcept {
  const auto* found =
      std::find_if(method_table.begin(), method_table.end(), [&](const method& each) { return each.path == path; });
  return found == method_table.end() ? nullptr : found;
}

}  // namespace shoal::gateway::grpc_door
