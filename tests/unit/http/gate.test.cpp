// Whom the gate turns away, before anything of a body is taken.
#include <doctest/doctest.h>

#include <atomic>
#include <optional>

#include "http/server.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using test::raw_client;

namespace {

struct gated_server {
  gated_server() {
    http::options wanted;
    wanted.gate = [this](const http::request& asked) -> tl::expected<std::shared_ptr<const void>, http::response> {
      if (asked.field("Authorization") != "Bearer good")
        return tl::unexpected(http::error_response(error{errc::unauthenticated, "who are you?"}));
      ++passes;
      return std::shared_ptr<const void>(this, [this](const void*) { --passes; });
    };
    auto started = http::server::start(std::move(wanted), [this](const http::request&, const http::responder& respond) {
      ++handled;
      passes_while_handled = passes.load();
      respond(http::json_response("{}"));
    });
    REQUIRE(started);
    server.emplace(std::move(*started));
  }
  std::atomic<int> passes{0}, handled{0}, passes_while_handled{0};
  std::optional<http::server> server;
};

const std::string good = "Authorization: Bearer good\r\n";

std::string get(const std::string& fields = {}) { return "GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"; }

}  // namespace

TEST_CASE("whoever is turned away reads why, and may ask again on the same connection") {
  gated_server gated;
  raw_client client(gated.server->address());
  auto refused = client.ask(get());
  CHECK(refused.status == 401);
  CHECK(refused.fields["WWW-Authenticate"] == "Bearer");
  CHECK(refused.body == R"({"error":"who are you?"})");
  CHECK(gated.handled == 0);
  CHECK(client.ask(get(good)).status == 200);
  CHECK(client.ask(get("Authorization: Bearer bad\r\n")).status == 401);
  CHECK(client.ask(get(good)).status == 200);
  CHECK(gated.handled == 2);
}

TEST_CASE("a pass is held until its request is answered") {
  gated_server gated;
  raw_client client(gated.server->address());
  for (int i = 0; i < 3; ++i) CHECK(client.ask(get(good)).status == 200);
  CHECK(gated.passes_while_handled == 1);
  CHECK(client.ask(get()).status == 401);  // the answer before this one has been written
  CHECK(gated.passes == 0);
}

TEST_CASE("nobody's body is taken without a pass, however it comes") {
  gated_server gated;
  for (const std::string how : {"Content-Length: 60000000\r\n", "Transfer-Encoding: chunked\r\n",
                                "Content-Length: 60000000\r\nExpect: 100-continue\r\n"}) {
    raw_client client(gated.server->address());
    const auto refused = client.ask("POST / HTTP/1.1\r\nHost: x\r\n" + how + "\r\n");
    CHECK(refused.status == 401);
    CHECK(refused.fields.at("Connection") == "close");
  }
  raw_client client(gated.server->address());
  CHECK(client.ask("POST / HTTP/1.1\r\nHost: x\r\n" + good + "Content-Length: 2\r\n\r\nhi").status == 200);
  CHECK(gated.handled == 1);
}
