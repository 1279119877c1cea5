// Compressed requests and answers on real connections.
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include "core/compression.hpp"
#include "http/server.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::raw_client;

namespace {

http::server serve(http::limits limits = {}) {
  auto server = http::server::start({.limits = limits}, [](http::request asked, const http::responder& respond) {
    http::response answer;
    answer.body = {std::move(asked.body)};
    respond(std::move(answer));
  });
  REQUIRE(server);
  return std::move(*server);
}

buffer bytes_of(const std::string& text) { return buffer::copy(std::as_bytes(std::span(text))); }

std::string packed(coding format, const std::string& text) {
  const auto bytes = deflate(format, std::vector{bytes_of(text)});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string unpacked(coding format, const std::string& bytes) {
  const auto text = inflate(format, bytes_of(bytes).bytes(), std::size_t{1} << 28,
                            std::make_shared<byte_budget>(std::size_t{1} << 30));
  REQUIRE(text);
  return {reinterpret_cast<const char*>(text->data()), text->size()};
}

std::string post(const std::string& body, const std::string& fields) {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

}  // namespace

TEST_CASE("a compressed request is inflated before anyone sees it") {
  auto server = serve();
  raw_client client(server.address());
  for (const std::size_t size : {1, 1000, 3'000'000}) {
    std::string text(size, ' ');
    std::iota(text.begin(), text.end(), 'a');
    CHECK(client.ask(post(packed(coding::gzip, text), "Content-Encoding: gzip\r\n")).body == text);
    CHECK(client.ask(post(packed(coding::deflate, text), "Content-Encoding: Deflate\r\n")).body == text);
  }
  CHECK(client.ask(post("as it is", "Content-Encoding: identity\r\n")).body == "as it is");
}

TEST_CASE("answers are compressed for who wants it, small ones and noise are not") {
  auto server = serve();
  raw_client client(server.address());
  for (const std::size_t size : {2000, 100'000, 3'000'000}) {
    const std::string text(size, 'x');
    for (const auto format : {coding::gzip, coding::deflate}) {
      auto got = client.ask(post(text, "Accept-Encoding: " + std::string(name_of(format)) + "\r\n"));
      CHECK(got.status == 200);
      CHECK(got.fields["Content-Encoding"] == name_of(format));
      CHECK(got.fields["Vary"] == "Accept-Encoding");
      CHECK(got.body.size() < size / 10);
      CHECK(unpacked(format, got.body) == text);
    }
    CHECK(client.ask(post(text, "")).body == text);
  }
  CHECK(client.ask(post("small", "Accept-Encoding: gzip\r\n")).body == "small");
  std::mt19937 random(1);
  std::string noise(100'000, '\0');
  for (auto& c : noise) c = static_cast<char>(random());
  CHECK(client.ask(post(noise, "Accept-Encoding: gzip\r\n")).body == noise);
}

TEST_CASE("compression bombs are refused, and their memory is free again") {
  auto server = serve({.body_bytes = 1 << 20, .body_bytes_total = 3 << 20});
  const auto bomb = packed(coding::gzip, std::string(100 << 20, '\0'));
  raw_client client(server.address());
  for (int i = 0; i < 10; ++i) {
    auto got = client.ask(post(bomb, "Content-Encoding: gzip\r\n"));
    CHECK(got.status == 413);
    CHECK(got.body.find("once inflated") != std::string::npos);
  }
  CHECK(client.ask(post(std::string(1 << 20, 'x'), "")).status == 200);
}

TEST_CASE("damaged and unknown codings are told, and the connection goes on") {
  auto server = serve();
  raw_client client(server.address());
  const auto good = packed(coding::gzip, "good");
  CHECK(client.ask(post("no gzip", "Content-Encoding: gzip\r\n")).status == 400);
  CHECK(client.ask(post(good.substr(0, good.size() - 1), "Content-Encoding: gzip\r\n")).status == 400);
  CHECK(client.ask(post(good + "more", "Content-Encoding: gzip\r\n")).status == 400);
  CHECK(client.ask(post("", "Content-Encoding: gzip\r\n")).status == 400);
  CHECK(client.ask(post(good, "Content-Encoding: br\r\n")).status == 415);
  CHECK(client.ask(post(good, "Content-Encoding: gzip, gzip\r\n")).status == 415);
  CHECK(client.ask(post(good, "Content-Encoding: gzip\r\n")).body == "good");
}

TEST_CASE("a client that leaves while its body is inflated, and a server that stops meanwhile, do no harm") {
  const auto large = packed(coding::gzip, std::string(50 << 20, 'x'));
  for (int i = 0; i < 5; ++i) {
    auto server = serve();
    raw_client client(server.address());
    client.send(post(large, "Content-Encoding: gzip\r\nAccept-Encoding: gzip\r\n"));
    if (i % 2 == 0) client.close();
    server.stop(0ms);
  }
}
