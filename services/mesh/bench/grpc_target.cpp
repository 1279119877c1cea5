// Open Inference Protocol v2 over gRPC. Requests are serialised once; each call sends the same slices again, and
// answers are parsed only if they are checked: gRPC's generic stub, whose messages are bytes. A few channels with a
// connection each carry everything, in turn. A thread of this target's own waits at the completion queue.
#include <deque>
#include <thread>
#include <unordered_map>

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "inference.grpc.pb.h"
#include "services/mesh/bench/mailbox.hpp"

namespace shoal::services::bench {

namespace {

constexpr std::size_t default_channels = 4;
constexpr const char* infer_method = "/inference.GRPCInferenceService/ModelInfer";

errc code_of(grpc::StatusCode code) noexcept {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE: return errc::invalid_argument;
    case grpc::StatusCode::NOT_FOUND: return errc::not_found;
    case grpc::StatusCode::UNIMPLEMENTED: return errc::unsupported;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return errc::overloaded;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return errc::deadline_exceeded;
    case grpc::StatusCode::CANCELLED: return errc::cancelled;
    case grpc::StatusCode::UNAVAILABLE: return errc::unavailable;
    case grpc::StatusCode::FAILED_PRECONDITION: return errc::incompatible;
    case grpc::StatusCode::DATA_LOSS: return errc::corrupt;
    case grpc::StatusCode::PERMISSION_DENIED: return errc::permission_denied;
    case grpc::StatusCode::UNAUTHENTICATED: return errc::unauthenticated;
    default: return errc::internal;
  }
}

template <class Metadata>
std::vector<protocol::tensor_spec> specs_of(const Metadata& tensors) {
  std::vector<protocol::tensor_spec> specs;
  for (const auto& each : tensors) {
    const auto type = parse_dtype(each.datatype());
    if (!type) continue;
    protocol::tensor_spec spec;
    spec.name = each.name();
    spec.type = *type;
    for (const auto size : each.shape())
      spec.dims.push_back(size < 0 ? protocol::dimension{} : protocol::dimension::fixed(size));
    specs.push_back(std::move(spec));
  }
  return specs;
}

grpc::ByteBuffer encode(const call& request) {
  inference::ModelInferRequest made;
  made.set_model_name(request.model);
  if (request.version != 0) made.set_model_version(std::to_string(request.version));
  if (request.deadline.count() > 0) (*made.mutable_parameters())["timeout"].set_int64_param(request.deadline.count());
  if (request.priority != protocol::priority::standard)
    (*made.mutable_parameters())["priority"].set_int64_param(request.priority == protocol::priority::critical ? 1 : 3);
  for (const auto& input : request.inputs) {
    auto& to = *made.add_inputs();
    to.set_name(input.name);
    to.set_datatype(std::string(name_of(input.type)));
    for (const auto size : input.dims) to.add_shape(size);
    made.add_raw_input_contents(input.data.data(), input.data.size());
  }
  const grpc::Slice slice(made.SerializeAsString());
  return {&slice, 1};
}

std::string why_wrong_answer(grpc::ByteBuffer& bytes, const std::vector<protocol::tensor_spec>& specs) {
  inference::ModelInferResponse answer;
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok() || !answer.ParseFromZeroCopyStream(&reader)) return "the answer cannot be read";
  if (answer.raw_output_contents_size() != answer.outputs_size())
    return std::to_string(answer.raw_output_contents_size()) + " raw contents for " +
           std::to_string(answer.outputs_size()) + " outputs";
  std::vector<output_size> outputs;
  for (int i = 0; i < answer.outputs_size(); ++i) {
    const auto& each = answer.outputs(i);
    const auto type = parse_dtype(each.datatype());
    if (!type) return "an output of the unknown type " + each.datatype();
    outputs.push_back(
        {each.name(), *type, {each.shape().begin(), each.shape().end()}, answer.raw_output_contents(i).size()});
  }
  return why_wrong(outputs, specs);
}

class grpc_target final : public target {
 public:
  grpc_target(std::string address, const target_options& options)
      : address_(std::move(address)), token_(options.token), check_(options.check) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all channels to one address share a connection
    const auto count = options.connections == 0 ? default_channels : options.connections;
    for (std::size_t i = 0; i < count; ++i) {
      channels_.push_back(grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments));
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
    }
    thread_ = std::thread([this] { hear(); });
  }

  ~grpc_target() override {
    abandon();
    queue_.Shutdown();
    thread_.join();
  }

  /// Errors: unavailable.
  expected<void> reach(milliseconds within) {
    for (const auto& channel : channels_)
      if (!channel->WaitForConnected(std::chrono::system_clock::now() + within))
        return fail(errc::unavailable, "grpc://" + address_ + " cannot be reached");
    return {};
  }

  expected<model_interface> describe(const std::string& model, std::uint64_t version, milliseconds within) override {
    inference::ModelMetadataRequest request;
    request.set_name(model);
    if (version != 0) request.set_version(std::to_string(version));
    inference::ModelMetadataResponse answer;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + within);
    authorize(context);
    const auto asked =
        inference::GRPCInferenceService::NewStub(channels_.front())->ModelMetadata(&context, request, &answer);
    if (!asked.ok()) return fail(code_of(asked.error_code()), asked.error_message());
    model_interface takes{specs_of(answer.inputs()), specs_of(answer.outputs())};
    outputs_[model] = takes.outputs;
    return takes;
  }

  expected<std::size_t> prepare(const call& request) override {
    auto& made = prepared_.emplace_back(encoded{encode(request), outputs_[request.model]});
    return made.bytes.Length();
  }

  ticket send(std::size_t prepared) override {
    auto made = std::make_unique<flight>();
    auto* one = made.get();
    one->which = ++last_;
    one->request = &prepared_[prepared];
    authorize(one->context);
    one->call =
        stubs_[last_ % stubs_.size()]->PrepareUnaryCall(&one->context, infer_method, one->request->bytes, &queue_);
    open_.emplace(one->which, std::move(made));
    one->call->StartCall();
    one->call->Finish(&one->answer, &one->status, one);
    return one->which;
  }

  void poll(time_point until, std::vector<ended>& into) override {
    const auto before = into.size();
    mailbox_.take(until, into);
    for (auto i = before; i < into.size(); ++i) open_.erase(into[i].which);
  }

  /// Their ends are heard all the same, and told of by later polls.
  void abandon() override {
    for (const auto& [which, one] : open_) one->context.TryCancel();
  }

 private:
  struct encoded {
    grpc::ByteBuffer bytes;
    std::vector<protocol::tensor_spec> outputs;  ///< the model's; empty: not known
  };
  struct flight {
    ticket which = 0;
    const encoded* request = nullptr;
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> call;
    grpc::ByteBuffer answer;
    grpc::Status status;
  };

  /// On the thread of the queue, until that is shut down and empty.
  void hear() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      auto& one = *static_cast<flight*>(tag);
      ended end;
      end.which = one.which;
      end.at = steady::now();
      if (!one.status.ok()) {
        end.failure = code_of(one.status.error_code());
        end.reason = one.status.error_message();
      } else {
        end.bytes = one.answer.Length();
        if (check_) end.reason = why_wrong_answer(one.answer, one.request->outputs);
        if (!end.reason.empty()) end.failure = errc::corrupt;
      }
      mailbox_.put(std::move(end));
    }
  }

  void authorize(grpc::ClientContext& context) const {
    if (!token_.empty()) context.AddMetadata("authorization", "Bearer " + token_);
  }

  const std::string address_;
  const std::string token_;
  const bool check_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::deque<encoded> prepared_;  ///< flights point into it
  std::unordered_map<std::string, std::vector<protocol::tensor_spec>> outputs_;
  mailbox mailbox_;
  grpc::CompletionQueue queue_;
  std::unordered_map<ticket, std::unique_ptr<flight>> open_;
  ticket last_ = 0;
  std::thread thread_;
};

}  // namespace

expected<std::unique_ptr<target>> connect_grpc(const std::string& address, const target_options& options) {
  if (address.find(':') == std::string::npos || address.find('/') != std::string::npos)
    return fail(errc::invalid_argument,
                "--at grpc://" + address + ": write grpc://HOST:PORT, such as grpc://127.0.0.1:8001");
  auto made = std::make_unique<grpc_target>(address, options);
  if (auto reached = made->reach(options.timeout); !reached) return tl::unexpected(reached.error());
  return made;
}

}  // namespace shoal::services::bench
