#include <doctest/doctest.h>

#include "link/ipc_guard.hpp"

#include "link/resolver.hpp"

#include <unistd.h>
#include "unit/link/recorder.hpp"

namespace shoal::test {
namespace {

using protocol::service_kind;

TEST_CASE("only tcp endpoints with a name need resolving") {
  for (const auto* literal : {"inproc://x", "ipc:///tmp/x", "tcp://127.0.0.1:80", "tcp://[::1]:80"}) {
    CAPTURE(literal);
    const auto parsed = link::parse_endpoint(literal);
    REQUIRE(parsed);
    CHECK_FALSE(parsed->has_value());
  }
  const auto named = link::parse_endpoint("tcp://scheduler.mesh.local:7000");
  REQUIRE(named);
  REQUIRE(named->has_value());
  CHECK((*named)->name == "scheduler.mesh.local");
  CHECK((*named)->port == "7000");
}

TEST_CASE("what is not an endpoint is refused with how to write one") {
  for (const auto* wrong :
       {"", "scheduler:7000", "tcp://", "tcp://:7000", "tcp://x", "tcp://x:", "tcp://x:0", "tcp://x:65536",
        "tcp://x:12ab", "tcp://x:999999999999", "udp://x:1", "ipc://", "inproc://"}) {
    CAPTURE(wrong);
    const auto parsed = link::parse_endpoint(wrong);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == errc::invalid_argument);
    CHECK(parsed.error().message.find("tcp://host:port") != std::string::npos);
  }
}

TEST_CASE("a service is reached by name") {
  auto own = quick(service_kind::gateway);
  own.bind = {"tcp://127.0.0.1:0"};
  recorder gateway(own);
  const auto endpoint = gateway.link.endpoints().front();
  recorder client(quick(service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, "tcp://localhost" + endpoint.substr(endpoint.rfind(':'))));
  REQUIRE(client.wait_for_up());
  CHECK(client.ups()[0].instance == gateway.link.instance());
}

}  // namespace
}  // namespace shoal::test

TEST_CASE("a pattern of a run directory is one with '*' at its very end") {
  const auto parsed = shoal::link::parse_endpoint("ipc:///run/shoal/scheduler-*");
  REQUIRE(parsed);
  REQUIRE(*parsed);
  CHECK((*parsed)->folder == "/run/shoal");
  CHECK((*parsed)->name == "scheduler-");
  for (const char* wrong : {"ipc:///run/*/scheduler-1", "ipc:///run/sched*-1", "ipc://*", "ipc:///run/a*b*"}) {
    INFO(wrong);
    const auto refused = shoal::link::parse_endpoint(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == shoal::errc::invalid_argument);
  }
}

TEST_CASE("a path of two listeners is had by one, and by the next once that is gone") {
  const auto path = "ipc:///tmp/shoal-guard-" + std::to_string(::getpid());
  {
    const auto first = shoal::link::ipc_guard::take(path);
    REQUIRE(first);
    const auto second = shoal::link::ipc_guard::take(path);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == shoal::errc::unavailable);
    CHECK(second.error().message.find("another service listens there") != std::string::npos);
  }
  CHECK(shoal::link::ipc_guard::take(path));
  CHECK_FALSE(shoal::link::ipc_guard::take("ipc:///tmp/" + std::string(110, 'a')));
}
