// What one client may take from the others, on real connections.
#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "core/clock.hpp"
#include "unit/grpc_door/running_door.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::context;
using test::identity_request;
using test::running_door;

namespace {

/// A client with a connection of its own, which takes no more than 64 KiB ahead of who reads it.
std::unique_ptr<inference::GRPCInferenceService::Stub> another(const running_door& door) {
  static int number = 0;
  grpc::ChannelArguments arguments;
  arguments.SetInt("number", ++number);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
  return inference::GRPCInferenceService::NewStub(
      grpc::CreateCustomChannel(door.server.address(), grpc::InsecureChannelCredentials(), arguments));
}

grpc::StatusCode metadata_of(const running_door& door) {
  context with;
  inference::ServerMetadataResponse told;
  return another(door)->ServerMetadata(&with, {}, &told).error_code();
}

grpc::Status infer(const running_door& door, int elements) {
  context with;
  inference::ModelInferResponse answer;
  return another(door)->ModelInfer(&with, identity_request(1, elements), &answer);
}

constexpr int mebibyte = 1 << 18;  // of floats

}  // namespace

TEST_CASE("silent streams of one connection leave calls for other connections") {
  running_door door(test::echo, {.limits = {.calls = 4, .streams_per_connection = 2}});
  grpc::GenericStub any(door.channel);
  grpc::CompletionQueue queue;
  context with[4];
  std::vector<std::unique_ptr<grpc::GenericClientAsyncReaderWriter>> streams;
  for (auto& each : with) {
    streams.push_back(any.PrepareCall(&each, "/inference.GRPCInferenceService/ModelStreamInfer", &queue));
    streams.back()->StartCall(nullptr);
  }
  void* tag = nullptr;
  bool ok = false;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(queue.Next(&tag, &ok));
    CHECK(ok);
  }
  CHECK(queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + 200ms) == grpc::CompletionQueue::TIMEOUT);
  CHECK(metadata_of(door) == grpc::StatusCode::OK);
  for (auto& each : with) each.TryCancel();
  for (int i = 0; i < 2; ++i) queue.Next(&tag, &ok);
}

TEST_CASE("health is answered above the limit of calls, nothing else is") {
  running_door door(test::echo, {.limits = {.calls = 1}});
  context with;
  const auto stream = door.stub->ModelStreamInfer(&with);
  REQUIRE(stream->Write(identity_request()));
  inference::ModelStreamInferResponse answer;
  REQUIRE(stream->Read(&answer));
  CHECK(metadata_of(door) == grpc::StatusCode::RESOURCE_EXHAUSTED);
  context other;
  inference::ServerLiveResponse live;
  CHECK(another(door)->ServerLive(&other, {}, &live).ok());
  CHECK(live.live());
  context third;
  inference::ServerReadyResponse ready;
  CHECK(another(door)->ServerReady(&third, {}, &ready).ok());
  stream->WritesDone();
  CHECK(stream->Finish().ok());
}

TEST_CASE("a stream without an exchange is ended after its time, one that waits for an answer is not") {
  running_door door(nullptr, {.limits = {.stream_idle_time = 80ms}});
  context with;
  const auto stream = door.stub->ModelStreamInfer(&with);
  REQUIRE(stream->Write(identity_request()));
  door.front.wait_for(1);
  std::this_thread::sleep_for(300ms);  // the silence itself is what is tested
  door.front.finish(1, test::echo(door.front.last_request()));
  inference::ModelStreamInferResponse answer;
  REQUIRE(stream->Read(&answer));
  CHECK_FALSE(stream->Read(&answer));
  const auto ended = stream->Finish();
  CHECK(ended.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(ended.error_message().find("silent for 80 ms") != std::string::npos);
}

TEST_CASE("a connection that says nothing is closed, and so is one that has no calls") {
  running_door door(test::echo, {.limits = {.handshake_time = 100ms, .connection_idle_time = 100ms}});
  test::raw_client silent(door.server.address());
  const auto most = steady::now() + 9s;
  while (!silent.is_closed() && steady::now() < most) {  // the server's own SETTINGS come first
  }
  CHECK(steady::now() < most);
  context with;
  inference::ServerLiveResponse live;
  REQUIRE(door.stub->ServerLive(&with, {}, &live).ok());
  CHECK(door.channel->WaitForStateChange(GRPC_CHANNEL_READY, std::chrono::system_clock::now() + 9s));
  context again;
  CHECK(door.stub->ServerLive(&again, {}, &live).ok());
}

TEST_CASE("answers that are not read take no more than their room") {
  running_door door(test::echo, {.limits = {.answer_bytes_total = 4 << 20, .slow_reader_time = 1h}});
  context with;
  const auto client = another(door);
  const auto deaf = client->ModelStreamInfer(&with);
  for (int i = 0; i < 3; ++i) REQUIRE(deaf->Write(identity_request(1, mebibyte)));
  auto status = infer(door, 2 * mebibyte);
  for (const auto most = steady::now() + 9s; status.ok() && steady::now() < most;) status = infer(door, 2 * mebibyte);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(status.error_message().find("wait to be read") != std::string::npos);
  CHECK(infer(door, 100).ok());
  const auto never = infer(door, 5 * mebibyte);
  CHECK(never.error_message().find("more than the gRPC door holds") != std::string::npos);

  inference::ModelStreamInferResponse answer;  // reading makes room
  for (int i = 0; i < 3; ++i) REQUIRE(deaf->Read(&answer));
  CHECK(infer(door, 2 * mebibyte).ok());
  deaf->WritesDone();
  CHECK(deaf->Finish().ok());
}

TEST_CASE("who does not read gives way to others") {
  running_door door(test::echo, {.limits = {.answer_bytes_total = 4 << 20, .slow_reader_time = 100ms}});
  context with;
  const auto client = another(door);
  const auto deaf = client->ModelStreamInfer(&with);
  for (int i = 0; i < 3; ++i) REQUIRE(deaf->Write(identity_request(1, mebibyte)));
  std::this_thread::sleep_for(500ms);  // being slow itself is what is tested
  CHECK(infer(door, 2 * mebibyte).ok());
  inference::ModelStreamInferResponse answer;
  int read = 0;
  while (deaf->Read(&answer)) ++read;
  CHECK(read < 3);
  CHECK_FALSE(deaf->Finish().ok());
}
