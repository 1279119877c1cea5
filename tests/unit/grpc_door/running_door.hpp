// A door in front of a gateway in memory, and a client of it.
#pragma once

#include <doctest/doctest.h>
#include <grpcpp/create_channel.h>

#include "gateway/grpc_door/server.hpp"
#include "inference.grpc.pb.h"
#include "unit/support/fake_front.hpp"

namespace shoal::test {

struct running_door {
  explicit running_door(fake_front::behaviour behave = echo, gateway::grpc_door::options wanted = {})
      : front({{identity_model()}}, std::move(behave)), server(open(wanted)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    // Windows that do not grow: a client that does not read then takes 64 KiB and no more.
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
    channel = grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
    stub = inference::GRPCInferenceService::NewStub(channel);
  }

  gateway::grpc_door::server open(const gateway::grpc_door::options& wanted) {
    auto started = gateway::grpc_door::server::start(wanted, front);
    REQUIRE(started);
    return std::move(*started);
  }

  fake_front front;
  gateway::grpc_door::server server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub;
};

/// identity, x: FP32 [1, elements], raw, all of `value`.
inline inference::ModelInferRequest identity_request(float value = 1, int elements = 4) {
  inference::ModelInferRequest message;
  message.set_model_name("identity");
  auto& input = *message.add_inputs();
  input.set_name("x");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(elements);
  const std::vector<float> values(static_cast<std::size_t>(elements), value);
  message.add_raw_input_contents(values.data(), values.size() * sizeof(float));
  return message;
}

/// A context that gives up after a while, so that no test hangs.
struct context : grpc::ClientContext {
  explicit context(std::chrono::milliseconds most = std::chrono::seconds(20)) {
    set_deadline(std::chrono::system_clock::now() + most);
  }
};

}  // namespace shoal::test
