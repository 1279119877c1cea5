// What strangers may send and how long they may take. The limits of time are short and real; nothing sleeps.
#include <random>
#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>

#include "http/server.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::raw_client;

namespace {

void answer_size(const http::request& asked, const http::responder& respond) {
  http::response answer;
  answer.body.push_back(http::to_buffer(std::to_string(asked.body.size())));
  respond(std::move(answer));
}

http::server serve(http::limits limits = {}) {
  auto server = http::server::start({.limits = limits}, answer_size);
  REQUIRE(server);
  return std::move(*server);
}

void check_alive(const http::server& server) {
  raw_client client(server.address());
  CHECK(client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").body == "3");
}

}  // namespace

TEST_CASE("what is not HTTP is answered 400 and ends the connection; the server goes on") {
  auto server = serve();
  for (auto bad : {"hello\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                   "GET %zz HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
                   "GET * HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    CAPTURE(bad);
    raw_client client(server.address());
    auto got = client.ask(bad);
    CHECK(got.status == 400);
    CHECK(got.body.starts_with("{\"error\":\""));
    CHECK(got.fields["Connection"] == "close");
    CHECK(client.is_closed());
  }
  for (auto other_version : {"GET / HTTP/3.0\r\n\r\n", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    raw_client other(server.address());
    CHECK(other.ask(other_version).status == 505);
  }
  raw_client coded(server.address());
  CHECK(coded.ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").status == 501);
  check_alive(server);
}

TEST_CASE("what two servers could read differently is refused") {
  auto server = serve();
  for (auto bad : {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",       // a blank before the colon
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n 4\r\n\r\nabc",  // a folded line
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc",
                   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabc",
                   "POST / HTTP/1.1\nContent-Length: 3\n\nabc",  // line feeds alone
                   "POST / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\nContent-Length: 3\r\n\r\nabc",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"}) {
    CAPTURE(bad);
    raw_client client(server.address());
    const auto status = client.ask(bad).status;
    CHECK((status == 400 || status == 505));
    CHECK(client.is_closed());
  }
  check_alive(server);
}

TEST_CASE("chunks without end, in size lines, extensions or trailers, are cut at the limits") {
  auto server = serve({.header_bytes = 2048, .body_bytes = 1000, .transfer_time = 200ms});
  const std::string begin = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto status = [&](const std::string& sent) {
    raw_client client(server.address());
    client.send(sent);
    return client.receive().status;
  };
  CHECK(status(begin + "3;" + std::string(100'000, 'e')) >= 400);
  CHECK(status(begin + std::string(100'000, '0')) >= 400);
  CHECK(status(begin + "3\r\nabc\r\n0\r\n" + "T: " + std::string(100'000, 't')) >= 400);
  std::string many = begin;
  for (int i = 0; i < 100'000; ++i) many += "1;e\r\nx\r\n";
  CHECK(status(many) == 413);
  check_alive(server);
}

TEST_CASE("a header above the limit is answered 431") {
  auto server = serve({.header_bytes = 1024});
  for (auto start : {"GET /", "GET / HTTP/1.1\r\nHost: x\r\nX: "}) {
    raw_client client(server.address());
    client.send(start + std::string(8000, 'a') + (start[5] == ' ' ? "\r\n\r\n" : " HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK(client.receive().status == 431);
  }
  check_alive(server);
}

TEST_CASE("very many small fields are answered 431") {
  auto server = serve({.header_bytes = 8192});
  std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 10'000; ++i) many += "a:b\r\n";
  raw_client client(server.address());
  client.send(many + "\r\n");
  CHECK(client.receive().status == 431);
  check_alive(server);
}

TEST_CASE("a client that pipelines without end and does not read is cut, and holds no more than its own requests") {
  auto server = http::server::start({.limits = {.transfer_time = 100ms}},
                                    [](const http::request&, const http::responder& respond) {
                                      http::response answer;
                                      answer.body.push_back(http::to_buffer(std::string(1 << 20, 'x')));
                                      respond(std::move(answer));
                                    });
  REQUIRE(server);
  raw_client deaf(server->address());
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  bool taken = true;
  for (int i = 0; i < 1000 && taken; ++i) taken = deaf.send(many);
  CHECK_FALSE(taken);  // a million requests: the server has stopped reading, and then closed
  raw_client other(server->address());
  CHECK(other.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
}

TEST_CASE("a body above the limit is answered 413, whether announced or chunked") {
  auto server = serve({.body_bytes = 1000});
  raw_client exact(server.address());
  CHECK(exact.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x')).body ==
        "1000");
  CHECK(exact.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").status == 413);

  raw_client huge(server.address());
  CHECK(huge.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n").status == 413);

  raw_client expecting(server.address());
  CHECK(expecting.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n").status ==
        413);

  raw_client chunked(server.address());
  chunked.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) chunked.send("64\r\n" + std::string(100, 'x') + "\r\n");
  CHECK(chunked.receive().status == 413);

  raw_client one_chunk(server.address());
  CHECK(one_chunk.ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n").status ==
        413);
  check_alive(server);
}

TEST_CASE("a client that sends a body nobody wants still gets to read why") {
  auto server = serve({.body_bytes = 1000});
  raw_client client(server.address());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
  client.send(std::string(3'000'000, 'x'));
  CHECK(client.receive().status == 413);
}

TEST_CASE("a truncated request is answered 400") {
  auto server = serve();
  for (auto part : {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "POST / HT",
                    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    CAPTURE(part);
    raw_client client(server.address());
    client.send(part);
    client.close_sending_half();
    CHECK(client.receive().status == 400);
    CHECK(client.is_closed());
  }
  check_alive(server);
}

TEST_CASE("slow senders are cut with 408, idle connections without a word") {
  auto server = serve({.header_time = 50ms, .transfer_time = 50ms, .idle_time = 50ms});
  raw_client slow_header(server.address());
  raw_client slow_body(server.address());
  raw_client slow_chunk(server.address());
  raw_client idle(server.address());
  slow_header.send("GET / HT");
  slow_body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  slow_chunk.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  CHECK(slow_header.receive().status == 408);
  CHECK(slow_body.receive().status == 408);
  CHECK(slow_chunk.receive().status == 408);
  CHECK(idle.is_closed());
  check_alive(server);
}

TEST_CASE("a client that does not read its answer is cut") {
  auto server = http::server::start({.limits = {.transfer_time = 50ms, .idle_time = 500ms}},
                                    [](const http::request& asked, const http::responder& respond) {
                                      http::response answer;
                                      if (asked.path == "/large")
                                        answer.body.push_back(http::to_buffer(std::string(50'000'000, 'x')));
                                      respond(std::move(answer));
                                    });
  REQUIRE(server);
  raw_client deaf(server->address());
  deaf.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  raw_client other(server->address());
  CHECK(other.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  CHECK(other.is_closed());  // by its own, longer limit
  CHECK(deaf.receive().status == 0);
}

TEST_CASE("connections above the limit are told 503, and there is room again when others end") {
  auto server = serve({.connections = 2});
  auto first = std::make_unique<raw_client>(server.address());
  raw_client second(server.address());
  CHECK(first->ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  CHECK(second.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
  raw_client third(server.address());
  auto refused = third.receive();
  CHECK(refused.status == 503);
  CHECK(refused.fields["Retry-After"] == "1");
  CHECK(third.is_closed());
  third.close();
  first.reset();
  int status = 0;
  for (int tries = 0; tries < 1000 && status != 200; ++tries) {
    raw_client fourth(server.address());
    status = fourth.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status;
  }
  CHECK(status == 200);
}

TEST_CASE("bodies above what the server holds at a time are told 503") {
  auto server = serve({.body_bytes = 1000, .body_bytes_total = 1500});
  raw_client first(server.address());
  first.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
  CHECK(first.receive().status == 100);
  first.send("begun");
  int status = 200;
  for (int tries = 0; tries < 1000 && status == 200; ++tries) {
    raw_client second(server.address());
    status = second.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + std::string(900, 'x')).status;
  }
  CHECK(status == 503);
  CHECK(first.ask(std::string(995, 'x')).body == "1000");
  raw_client third(server.address());
  CHECK(third.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + std::string(900, 'x')).body == "900");
}

TEST_CASE("a request of HTTP/1.1 has one field Host, one of HTTP/1.0 need not") {
  auto server = serve();
  for (const auto* bad :
       {"GET / HTTP/1.1\r\n"
        "\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"}) {
    CAPTURE(bad);
    raw_client client(server.address());
    const auto got = client.ask(bad);
    CHECK(got.status == 400);
    CHECK(got.body.find("Host") != std::string::npos);
    CHECK(client.is_closed());
  }
  raw_client client(server.address());
  CHECK(client.ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").status == 200);
  CHECK(client.ask("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n").status == 200);
  CHECK(client.ask("GET / HTTP/1.0\r\n\r\n").status == 200);
}

TEST_CASE("bodies that are only announced take little from those that come") {
  auto server = serve({.body_bytes = 8 << 20, .body_bytes_total = 8 << 20});
  std::vector<std::unique_ptr<raw_client>> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<raw_client>(server.address()));
    silent.back()->send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\nExpect: 100-continue\r\n\r\n");
    CHECK(silent.back()->receive().status == 100);
  }
  raw_client client(server.address());
  CHECK(
      client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'x')).body ==
      "1000000");
}

TEST_CASE("a thousand garbage requests leave the server as it was") {
  auto server = serve({.header_bytes = 2048, .body_bytes = 4096, .header_time = 100ms, .transfer_time = 100ms});
  std::mt19937 random(20250711);
  const std::string good =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = good;
    if (i % 4 == 0) {
      bytes.resize(random() % 3000);
      for (auto& byte : bytes) byte = static_cast<char>(random());
    } else {
      for (auto flips = random() % 8 + 1; flips > 0; --flips)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      if (i % 4 == 1) bytes.resize(random() % bytes.size());
    }
    raw_client client(server.address());
    client.send(bytes);
    if (i % 2 == 0) client.close_sending_half();
    if (i % 6 == 0) CHECK(client.receive().status < 600);
  }
  check_alive(server);
}

TEST_CASE("what a handler throws about a client that has left ends neither the limits of time nor the server") {
  std::vector<http::responder> held;
  auto server =
      http::server::start({.limits = {.idle_time = 300ms}}, [&](const http::request&, const http::responder& respond) {
        respond.on_disconnect([] { throw std::runtime_error("no memory, say"); });
        held.push_back(respond);
      });
  REQUIRE(server);
  for (int i = 0; i < 3; ++i) {
    raw_client leaves(server->address());
    leaves.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  raw_client idle(server->address());
  CHECK(idle.is_closed());
  server->stop(0ms);  // waits until every connection has ended
}
