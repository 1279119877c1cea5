// Calls with one request and one answer, on real connections.
#include "gateway/grpc_door/server.hpp"

#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "unit/grpc_door/running_door.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::context;
using test::identity_request;
using test::running_door;

namespace {

grpc::Status infer(running_door& door, const inference::ModelInferRequest& request,
                   inference::ModelInferResponse& answer) {
  context with;
  return door.stub->ModelInfer(&with, request, &answer);
}

}  // namespace

TEST_CASE("an inference goes to the gateway and its answer comes back") {
  running_door door;
  context with;
  with.AddMetadata("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01");
  auto request = identity_request(2.5F);
  request.set_id("mine");
  inference::ModelInferResponse answer;
  const auto status = door.stub->ModelInfer(&with, request, &answer);
  REQUIRE_MESSAGE(status.ok(), status.error_message());
  CHECK(answer.id() == "mine");
  CHECK(answer.outputs(0).name() == "y");
  CHECK(answer.raw_output_contents(0) == request.raw_input_contents(0));
  const auto seen = door.front.last_request();
  CHECK(seen.trace.trace_high == 0x0123456789abcdef);
  CHECK(seen.time_left > 0us);  // the client's own deadline
  CHECK(seen.time_left < 30s);
}

TEST_CASE("of the call's deadline and the parameter timeout the shorter one holds") {
  running_door door;
  auto request = identity_request();
  (*request.mutable_parameters())["timeout"].set_int64_param(5000);
  inference::ModelInferResponse answer;
  CHECK(infer(door, request, answer).ok());
  CHECK(door.front.last_request().time_left == 5000us);
  (*request.mutable_parameters())["timeout"].set_int64_param(3600'000'000);
  CHECK(infer(door, request, answer).ok());
  CHECK(door.front.last_request().time_left < 30s);
}

TEST_CASE("what the mesh refuses has the status that tells why, and when to come back") {
  const std::vector<std::pair<errc, grpc::StatusCode>> cases{
      {errc::invalid_argument, grpc::StatusCode::INVALID_ARGUMENT},
      {errc::not_found, grpc::StatusCode::NOT_FOUND},
      {errc::overloaded, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {errc::unavailable, grpc::StatusCode::UNAVAILABLE},
      {errc::deadline_exceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
      {errc::poisoned, grpc::StatusCode::INTERNAL},
      {errc::internal, grpc::StatusCode::INTERNAL}};
  auto next = cases.front().first;
  running_door door([&](const protocol::infer&) {
    protocol::outcome outcome;
    error failure{next, "because"};
    if (failure.retryable) failure.retry_after = 250ms;
    outcome.result = tl::unexpected(failure);
    return std::optional(outcome);
  });
  for (const auto& [code, wanted] : cases) {
    CAPTURE(name_of(code));
    next = code;
    context with;
    inference::ModelInferResponse answer;
    const auto status = door.stub->ModelInfer(&with, identity_request(), &answer);
    CHECK(status.error_code() == wanted);
    CHECK(status.error_message() == "because");
    const auto& trailers = with.GetServerTrailingMetadata();
    CHECK(trailers.count("grpc-retry-pushback-ms") == (is_retryable(code) ? 1 : 0));
    if (is_retryable(code)) CHECK(trailers.find("grpc-retry-pushback-ms")->second == "250");
  }
}

TEST_CASE("a client that leaves, or whose deadline is over, takes its request back") {
  running_door door(nullptr);
  inference::ModelInferResponse answer;
  context leaves;
  std::thread away([&] {
    door.front.wait_for(1);
    leaves.TryCancel();
  });
  CHECK(door.stub->ModelInfer(&leaves, identity_request(), &answer).error_code() == grpc::StatusCode::CANCELLED);
  away.join();
  door.front.wait_for_cancel(1);
  context short_time(50ms);
  CHECK(door.stub->ModelInfer(&short_time, identity_request(), &answer).error_code() ==
        grpc::StatusCode::DEADLINE_EXCEEDED);
  door.front.wait_for_cancel(2);
  protocol::outcome late;
  late.result = std::vector<tensor>{};
  door.front.finish(1, late);  // nobody is there to read it
}

TEST_CASE("health, metadata, configuration, statistics and the repository") {
  running_door door;
  {
    context with;
    inference::ServerReadyResponse told;
    door.front.is_ready = false;
    CHECK(door.stub->ServerReady(&with, {}, &told).ok());
    CHECK_FALSE(told.ready());
  }
  {
    context with;
    inference::ServerMetadataResponse told;
    CHECK(door.stub->ServerMetadata(&with, {}, &told).ok());
    CHECK(told.name() == "shoal");
    CHECK(told.extensions_size() == 4);
  }
  {
    context with;
    inference::ModelMetadataRequest ask;
    ask.set_name("identity");
    inference::ModelMetadataResponse told;
    CHECK(door.stub->ModelMetadata(&with, ask, &told).ok());
    CHECK(told.inputs(0).shape(0) == -1);
    CHECK(told.versions(0) == "1");
    context other;
    ask.set_version("9");
    CHECK(door.stub->ModelMetadata(&other, ask, &told).error_code() == grpc::StatusCode::NOT_FOUND);
    context wrong;
    ask.set_version("one");
    CHECK(door.stub->ModelMetadata(&wrong, ask, &told).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  {
    context with;
    inference::ModelStatisticsResponse told;
    protocol::model_statistics counted;
    counted.model = "identity";
    counted.version = 1;
    counted.rows = 5;
    counted.executions = 1.6;
    counted.success = {3, 90ns};
    door.front.counted = {counted};
    CHECK(door.stub->ModelStatistics(&with, {}, &told).ok());
    CHECK(told.model_stats(0).inference_count() == 5);
    CHECK(told.model_stats(0).execution_count() == 2);
    CHECK(told.model_stats(0).inference_stats().success().ns() == 90);
  }
  {
    context with;
    inference::RepositoryModelLoadRequest ask;
    ask.set_model_name("identity");
    inference::RepositoryModelLoadResponse told;
    CHECK(door.stub->RepositoryModelLoad(&with, ask, &told).ok());
    REQUIRE(door.front.asked_to_manage().size() == 1);
    CHECK(door.front.asked_to_manage()[0].replace);
    for (const auto* bad : {"../identity", "/etc/passwd", "http://127.0.0.1/m", ".m", ""}) {
      context again;
      ask.set_model_name(bad);
      CHECK(door.stub->RepositoryModelLoad(&again, ask, &told).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    }
    context again;
    ask.set_model_name("identity");
    (*ask.mutable_parameters())["file:1/model.pt2"].set_bytes_param("x");
    CHECK(door.stub->RepositoryModelLoad(&again, ask, &told).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(door.front.asked_to_manage().size() == 1);
  }
}

TEST_CASE("methods that are not there, and requests that are none, are told; the connection goes on") {
  running_door door;
  grpc::GenericStub any(door.channel);
  const auto call = [&](const std::string& method, const std::string& bytes) {
    context with;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer answer;
    grpc::CompletionQueue queue;
    auto reader = any.PrepareUnaryCall(&with, method, request, &queue);
    reader->StartCall();
    grpc::Status status;
    reader->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  };
  const std::string service = "/inference.GRPCInferenceService/";
  CHECK(call(service + "SystemSharedMemoryRegister", "").error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(call(service + "LogSettings", "").error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(call("/", "").error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(call(service + "ModelInfer/../ServerLive", "").error_code() == grpc::StatusCode::UNIMPLEMENTED);
  for (const auto* method : {"ServerLive", "ModelReady", "ModelMetadata", "ModelInfer", "ModelConfig",
                             "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"})
    CHECK(call(service + method, "\xff\xff").error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  inference::ModelInferResponse answer;
  CHECK(infer(door, identity_request(), answer).ok());
}

TEST_CASE("a message above the limit is refused, a bomb too, and one at the limit is taken") {
  running_door door(test::echo, {.limits = {.message_bytes = 1 << 20}});
  inference::ModelInferResponse answer;
  CHECK(infer(door, identity_request(0, (1 << 18) - 100), answer).ok());
  CHECK(infer(door, identity_request(0, 1 << 18), answer).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  context with;
  with.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  const auto bombed = door.stub->ModelInfer(&with, identity_request(0, 16 << 20), &answer);
  CHECK(bombed.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(bombed.error_message().find("once inflated") != std::string::npos);
  context small;
  small.set_compression_algorithm(GRPC_COMPRESS_DEFLATE);
  CHECK(door.stub->ModelInfer(&small, identity_request(7, 1000), &answer).ok());
  CHECK(answer.raw_output_contents(0) == identity_request(7, 1000).raw_input_contents(0));
}

TEST_CASE("a request that does not come in in its time ends the call") {
  running_door door(test::echo, {.limits = {.transfer_time = 80ms}});
  context with;
  grpc::GenericStub any(door.channel);
  grpc::CompletionQueue queue;
  auto call = any.PrepareCall(&with, "/inference.GRPCInferenceService/ModelInfer", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  CHECK(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(status.error_message().find("did not come in within 80 ms") != std::string::npos);
}

TEST_CASE("calls above the limit are refused at once, and there is room again when others end") {
  running_door door(nullptr, {.limits = {.calls = 2}});
  // gRPC would keep a third call of one connection waiting: each has a connection of its own.
  const auto own_stub = [&](int number) {
    grpc::ChannelArguments arguments;
    arguments.SetInt("number", number);
    return inference::GRPCInferenceService::NewStub(
        grpc::CreateCustomChannel(door.server.address(), grpc::InsecureChannelCredentials(), arguments));
  };
  std::vector<std::thread> waiting;
  for (int i = 0; i < 2; ++i)
    waiting.emplace_back([&, i] {
      context with;
      inference::ModelInferResponse answer;
      CHECK(own_stub(i)->ModelInfer(&with, identity_request(), &answer).ok());
    });
  door.front.wait_for(2);
  inference::ModelInferResponse answer;
  context refused;
  CHECK(own_stub(2)->ModelInfer(&refused, identity_request(), &answer).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (const auto ticket : {1, 2})
    door.front.finish(static_cast<protocol::request_id>(ticket), test::echo(door.front.last_request()));
  for (auto& each : waiting) each.join();
  inference::ServerLiveResponse live;
  context with;
  CHECK(own_stub(3)->ServerLive(&with, {}, &live).ok());
}

TEST_CASE("stopping lets what is in flight finish, and ends what does not") {
  for (const bool finishes : {true, false}) {
    running_door door(nullptr);
    grpc::Status status;
    std::thread waiting([&] {
      context with;
      inference::ModelInferResponse answer;
      status = door.stub->ModelInfer(&with, identity_request(), &answer);
    });
    door.front.wait_for(1);
    std::thread finisher([&] {
      if (finishes) door.front.finish(1, test::echo(door.front.last_request()));
    });
    door.server.stop(finishes ? 10s : 50ms);
    waiting.join();
    finisher.join();
    CHECK(status.ok() == finishes);
    if (!finishes) door.front.finish(1, test::echo(door.front.last_request()));  // later, and without harm
  }
}

TEST_CASE("until models are known, whoever asks for one is told to come again, not that there is none") {
  running_door door;
  for (const auto known : {false, true}) {
    door.front.list({{}, known});
    const auto wanted = known ? grpc::StatusCode::NOT_FOUND : grpc::StatusCode::UNAVAILABLE;
    const auto asks = [&](const auto& method, auto request, auto response) {
      context context;
      request.set_name("identity");
      CHECK(((*door.stub).*method)(&context, request, &response).error_code() == wanted);
    };
    using stub = inference::GRPCInferenceService::Stub;
    asks(&stub::ModelMetadata, inference::ModelMetadataRequest(), inference::ModelMetadataResponse());
    asks(&stub::ModelConfig, inference::ModelConfigRequest(), inference::ModelConfigResponse());
    asks(&stub::ModelStatistics, inference::ModelStatisticsRequest(), inference::ModelStatisticsResponse());
  }
}

TEST_CASE("an address that cannot be had is told in a sentence") {
  test::fake_front front({{test::identity_model()}});
  auto first = gateway::grpc_door::server::start({}, front);
  REQUIRE(first);
  const auto again = gateway::grpc_door::server::start({.address = first->address()}, front);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::unavailable);
  CHECK(again.error().message.find(first->address()) != std::string::npos);
  for (const auto* bad : {"", "8001", "localhost", ":8001", "127.0.0.1:", "127.0.0.1:99999", "unix:/tmp/x:1"}) {
    CAPTURE(bad);
    const auto refused = gateway::grpc_door::server::start({.address = bad}, front);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
  }
  auto shared = gateway::grpc_door::server::start({.reuse_port = true}, front);
  REQUIRE(shared);
  CHECK(gateway::grpc_door::server::start({.address = shared->address(), .reuse_port = true}, front));
}
