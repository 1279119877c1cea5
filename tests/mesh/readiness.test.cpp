// What the doors of a gateway say of its health while the workers behind it are frozen, gone, and back.
#include <csignal>

#include <doctest/doctest.h>
#include <grpcpp/create_channel.h>

#include "inference.grpc.pb.h"
#include "mesh/services.hpp"
#include "mesh/wait_until.hpp"
#include "unit/http/raw_client.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

class health {
 public:
  explicit health(process& gateway)
      : http_(word_after(gateway.wait_for_line_with("HTTP at http://", 5s), "http://")),
        stub_(inference::GRPCInferenceService::NewStub(grpc::CreateChannel(
            word_after(gateway.wait_for_line_with("gRPC at ", 5s), "gRPC at "), grpc::InsecureChannelCredentials()))) {}

  /// As both doors say, which is asked until they agree.
  [[nodiscard]] bool becomes_ready(bool wanted) const {
    return comes_true([&] {
      CHECK(is_live());
      return (http("ready") == 200) == wanted && grpc_ready() == wanted;
    });
  }
  [[nodiscard]] bool is_ready() const { return http("ready") == 200 && grpc_ready(); }
  [[nodiscard]] bool is_live() const {
    grpc::ClientContext context;
    inference::ServerLiveResponse said;
    return http("live") == 200 && stub_->ServerLive(&context, {}, &said).ok() && said.live();
  }

 private:
  [[nodiscard]] int http(const std::string& what) const {
    return raw_client(http_).ask("GET /v2/health/" + what + " HTTP/1.1\r\nHost: x\r\n\r\n").status;
  }
  [[nodiscard]] bool grpc_ready() const {
    grpc::ClientContext context;
    inference::ServerReadyResponse said;
    CHECK(stub_->ServerReady(&context, {}, &said).ok());
    return said.ready();
  }

  std::string http_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

double figure(link::client& client, const std::string& name) {
  if (const auto all = client.inquire(5s))
    for (const auto& service : all->services)
      for (const auto& each : service.figures)
        if (each.name == name) return each.value;
  return -1;
}

}  // namespace

TEST_CASE("a gateway whose workers are frozen or gone is live but not ready, and ready again without any traffic") {
  services mesh({{"gateway", {"--set", "gateway.probe_interval_ms=200"}}});
  mesh.start();
  const health health(mesh.gateway());
  CHECK(health.becomes_ready(true));

  mesh.worker(0).signal(SIGSTOP);
  CHECK(health.becomes_ready(false));
  mesh.worker(0).signal(SIGCONT);
  CHECK(health.becomes_ready(true));

  mesh.worker(0).kill();
  CHECK(health.becomes_ready(false));
  mesh.start_worker();
  CHECK(health.becomes_ready(true));

  mesh.scheduler().kill();
  CHECK(health.becomes_ready(false));
  mesh.start_scheduler();
  CHECK(health.becomes_ready(true));
}

TEST_CASE("recent traffic keeps a gateway ready without a probe of its own") {
  services mesh({{"gateway", {"--set", "gateway.probe_interval_ms=2000"}}});
  mesh.start();
  const health health(mesh.gateway());
  CHECK(health.becomes_ready(true));
  auto client = mesh.connect();
  const std::string succeeded = "shoal_gateway_requests_total{outcome=ok}";
  const auto before = figure(*client, succeeded);
  REQUIRE(before >= 1);
  int asked = 0;
  // Longer than a success of before counts.
  for (const auto until = steady::now() + 8s; steady::now() < until; ++asked) {
    protocol::infer request;
    request.model = "identity";
    request.inputs = {matrix(1, 4, "x", 1)};
    REQUIRE(client->infer(request, 10s).result);
    CHECK(health.is_ready());
  }
  // As good as none of them was a probe: this test may be held up for longer than a probe waits.
  CHECK(figure(*client, succeeded) <= before + asked + 1);
}

TEST_CASE("a gateway that arrives behind a balancer opens its doors when the mesh answers") {
  services mesh({{"gateway", {"--set", "gateway.arrive_ms=60000"}}});
  mesh.start_gateway();
  mesh.start_scheduler();
  auto client = mesh.connect();
  CHECK(mesh.gateway().wait_for_line_with("HTTP at http://", 300ms).empty());
  mesh.start_worker();
  const auto http = word_after(mesh.gateway().wait_for_line_with("HTTP at http://", 30s), "http://");
  REQUIRE(!http.empty());
  CHECK(raw_client(http).ask("GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
}

TEST_CASE("but not for ever: without a mesh they say that there is none") {
  services mesh({{"gateway", {"--set", "gateway.arrive_ms=200"}}});
  mesh.start_gateway();
  const auto http = word_after(mesh.gateway().wait_for_line_with("HTTP at http://", 30s), "http://");
  REQUIRE(!http.empty());
  CHECK(mesh.gateway().output().find("the doors open before the mesh answers") != std::string::npos);
  CHECK(raw_client(http).ask("GET /v2/models/m HTTP/1.1\r\nHost: x\r\n\r\n").status == 503);
}
