#include "http/observability.hpp"

#include <doctest/doctest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include "unit/http/raw_client.hpp"

using namespace shoal;

TEST_CASE("metrics and health are answered at the address for them") {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter().Name("shoal_things_total").Help("things").Register(*registry).Add({}).Increment(3);
  std::atomic<bool> ready{false};
  std::atomic<bool> leaving{false};
  auto server = http::server::start({.registry = registry, .name = "metrics"},
                                    http::observability(
                                        registry, [&] { return ready.load(); }, [&] { return leaving.load(); }));
  REQUIRE(server);
  test::raw_client client(server->address());

  CHECK(client.ask("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  CHECK(client.ask("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").status == 503);
  CHECK(client.ask("GET /health/open HTTP/1.1\r\nHost: x\r\n\r\n").status == 503);
  ready = true;
  auto good = client.ask("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(good.status == 200);
  CHECK(good.body.empty());

  auto page = client.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(page.status == 200);
  CHECK(page.fields["Content-Type"].starts_with("text/plain; version=0.0.4"));
  CHECK(page.body.find("shoal_things_total 3\n") != std::string::npos);
  CHECK(page.body.find("shoal_http_requests_total{server=\"metrics\",code=\"2xx\"} 2") != std::string::npos);
  CHECK(page.body.find("shoal_http_requests_total{server=\"metrics\",code=\"5xx\"} 2") != std::string::npos);
  CHECK(page.body.find("shoal_http_requests_in_flight{server=\"metrics\"} 1") != std::string::npos);
  CHECK(page.body.find("shoal_http_connections{server=\"metrics\"} 1") != std::string::npos);

  CHECK(client.ask("GET /health/open HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  ready = false;  // those behind it are gone: it stays in a balancer's list
  CHECK(client.ask("GET /health/open HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  CHECK(client.ask("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").status == 503);
  ready = true;
  CHECK(client.ask("GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n").status == 404);
  auto post = client.ask("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(post.status == 405);
  CHECK(post.fields["Allow"] == "GET, HEAD");
  leaving = true;
  CHECK(client.ask("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").status == 404);
  CHECK(client.ask("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  client.send("HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.receive(true).status == 200);
}
