// ModelStreamInfer, on real connections.
#include <thread>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "unit/grpc_door/running_door.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::context;
using test::identity_request;
using test::running_door;

namespace {

inference::ModelInferRequest named(int number) {
  auto request = identity_request(static_cast<float>(number));
  request.set_id(std::to_string(number));
  return request;
}

}  // namespace

TEST_CASE("answers come in the order of the requests, whatever is finished first") {
  running_door door(nullptr);
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  for (int i = 1; i <= 3; ++i) REQUIRE(stream->Write(named(i)));
  door.front.wait_for(3);
  const auto finish = [&](int number) {
    protocol::infer as;
    as.model = "identity";
    as.inputs = {{"x", dtype::fp32, {1}, buffer::copy(std::as_bytes(std::span(&number, 1)))}};
    door.front.finish(static_cast<protocol::request_id>(number), test::echo(as));
  };
  for (const int number : {3, 2, 1}) finish(number);
  inference::ModelStreamInferResponse answer;
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(stream->Read(&answer));
    CHECK(answer.error_message().empty());
    CHECK(answer.infer_response().id() == std::to_string(i));
  }
  stream->WritesDone();
  CHECK_FALSE(stream->Read(&answer));
  CHECK(stream->Finish().ok());
}

TEST_CASE("a bad request has an error of its own, with its id, and the stream goes on") {
  running_door door;
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  auto bad = named(2);
  bad.clear_inputs();
  REQUIRE(stream->Write(named(1)));
  REQUIRE(stream->Write(bad));
  REQUIRE(stream->Write(named(3)));
  stream->WritesDone();
  inference::ModelStreamInferResponse answer;
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(stream->Read(&answer));
    CHECK(answer.infer_response().id() == std::to_string(i));
    CHECK(answer.error_message().empty() == (i != 2));
  }
  CHECK_FALSE(stream->Read(&answer));
  CHECK(stream->Finish().ok());
}

TEST_CASE("a stream takes no more requests than its window, and goes on when there is room") {
  running_door door(nullptr, {.limits = {.stream_window = 4}});
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  std::thread writer([&] {
    for (int i = 1; i <= 50; ++i) stream->Write(named(i));
    stream->WritesDone();
  });
  inference::ModelStreamInferResponse answer;
  for (int i = 1; i <= 50; ++i) {
    door.front.wait_for(static_cast<protocol::request_id>(i));
    CHECK(door.front.submitted() <= static_cast<std::size_t>(i) + 3);
    door.front.finish(static_cast<protocol::request_id>(i), test::echo(door.front.last_request()));
    REQUIRE(stream->Read(&answer));
  }
  writer.join();
  CHECK_FALSE(stream->Read(&answer));
  CHECK(stream->Finish().ok());
}

TEST_CASE("a stream that is cancelled takes all its requests back") {
  running_door door(nullptr);
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  for (int i = 1; i <= 3; ++i) stream->Write(named(i));
  door.front.wait_for(3);
  with.TryCancel();
  for (protocol::request_id i = 1; i <= 3; ++i) door.front.wait_for_cancel(i);
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
}

TEST_CASE("a client that does not read its answers is cut, others are served on") {
  metrics figures;
  running_door door(test::echo, {.limits = {.transfer_time = 100ms}, .registry = figures.registry()});
  const auto cut = [&] {
    for (const auto& [name, value] : figures.snapshot())
      if (name.find("shoal_grpc_calls_total") == 0 && name.find("CANCELLED") != std::string::npos) return value > 0;
    return false;
  };
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  for (int i = 0; i < 20; ++i) REQUIRE(stream->Write(identity_request(1, 1 << 18)));
  const auto most = steady::now() + 15s;
  while (!cut() && steady::now() < most) std::this_thread::sleep_for(5ms);
  CHECK(cut());
  inference::ServerLiveResponse live;
  context other;
  CHECK(door.stub->ServerLive(&other, {}, &live).ok());
  inference::ModelStreamInferResponse answer;
  int read = 0;
  while (stream->Read(&answer)) ++read;
  CHECK(read < 20);
  CHECK_FALSE(stream->Finish().ok());
}

TEST_CASE("a stream may be silent for longer than a request may take to come in") {
  running_door door(test::echo, {.limits = {.transfer_time = 40ms}});
  context with;
  auto stream = door.stub->ModelStreamInfer(&with);
  inference::ModelStreamInferResponse answer;
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(100ms);  // the silence itself is what is tested
    REQUIRE(stream->Write(named(i)));
    REQUIRE(stream->Read(&answer));
  }
  stream->WritesDone();
  CHECK(stream->Finish().ok());
}
