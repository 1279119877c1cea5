// Answers that clients do not read, and what others get meanwhile.
#include <thread>

#include <doctest/doctest.h>

#include "http/server.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::raw_client;
using test::reply;

namespace {

http::server serve_large(http::limits limits) {
  auto server = http::server::start({.limits = limits}, [](const http::request& asked, const http::responder& respond) {
    http::response answer;
    answer.body.push_back(http::to_buffer(std::string(std::stoul(asked.path.substr(1)), 'x')));
    respond(std::move(answer));
  });
  REQUIRE(server);
  return std::move(*server);
}

std::string ask_for(std::size_t bytes) { return "GET /" + std::to_string(bytes) + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

constexpr std::size_t mebibyte = 1 << 20;

}  // namespace

TEST_CASE("answers that are not read take no more than their room, and what is small is answered all the same") {
  auto server = serve_large({.answer_bytes_total = 40 * mebibyte, .slow_reader_time = 1h});
  raw_client deaf(server.address());
  deaf.send(ask_for(30 * mebibyte));
  raw_client other(server.address());
  reply refused;
  for (int tries = 0; tries < 1000 && refused.status != 503; ++tries) refused = other.ask(ask_for(20 * mebibyte));
  CHECK(refused.status == 503);
  CHECK(refused.body.find("wait to be read") != std::string::npos);
  CHECK(other.ask(ask_for(1000)).status == 200);
  CHECK(other.ask(ask_for(50 * mebibyte)).status == 413);
  CHECK(deaf.receive().body.size() == 30 * mebibyte);  // reading makes room
  int status = 0;
  for (int tries = 0; tries < 1000 && status != 200; ++tries) status = other.ask(ask_for(20 * mebibyte)).status;
  CHECK(status == 200);
}

TEST_CASE("who does not read gives way to others") {
  auto server = serve_large({.answer_bytes_total = 40 * mebibyte, .slow_reader_time = 50ms});
  raw_client deaf(server.address());
  deaf.send(ask_for(30 * mebibyte));
  std::this_thread::sleep_for(300ms);  // being slow itself is what is tested
  raw_client other(server.address());
  CHECK(other.ask(ask_for(20 * mebibyte)).status == 200);
  CHECK(deaf.receive().status == 0);
}
