#include "services/host/health.hpp"

#include <doctest/doctest.h>

#include "core/metrics.hpp"
#include "http/observability.hpp"
#include "http/server.hpp"

using namespace shoal;
using namespace shoal::services;

TEST_CASE("a service is asked whether it is ready, and nobody is waited for longer than was said") {
  bool is_ready = false;
  http::options door;
  door.address = "127.0.0.1:0";
  auto server = http::server::start(door, [&](const http::request& asked, const http::responder& respond) {
    respond(asked.path == "/health/ready" ? http::health(is_ready) : http::error_response(404, "nothing"));
  });
  REQUIRE(server);
  const auto refused = ask_readiness(server->address(), milliseconds(2000));
  REQUIRE(!refused);
  CHECK(refused.error().message.find("not ready") != std::string::npos);
  is_ready = true;
  CHECK(ask_readiness(server->address(), milliseconds(2000)));
  const auto address = server->address();
  server->stop(milliseconds(0));
  CHECK(ask_readiness(address, milliseconds(2000)).error().code == errc::unavailable);
  for (const auto* wrong : {"", "host", ":80", "host:"})
    CHECK(ask_readiness(wrong, milliseconds(100)).error().code == errc::invalid_argument);
}
