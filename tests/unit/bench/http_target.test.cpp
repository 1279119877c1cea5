// The pool of HTTP connections, against a server of a few lines that does what it is told.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include <doctest/doctest.h>

#include "services/mesh/bench/target.hpp"

using namespace shoal;
using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

/// Runs `serve` with a listening socket on a thread of its own.
class server {
 public:
  explicit server(std::function<void(const server&)> serve) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(socket_, 16) == 0);
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    thread_ = std::thread([this, serve = std::move(serve)] { serve(*this); });
  }
  ~server() {
    ::shutdown(socket_, SHUT_RDWR);  // an accept that waits ends
    thread_.join();
    ::close(socket_);
  }

  [[nodiscard]] int accept() const { return ::accept(socket_, nullptr, nullptr); }

  /// Reads one request without a body's end in mind: those of these tests come in one piece. False: the peer closed.
  static bool read_request(int connection) {
    char bytes[4096];
    return ::recv(connection, bytes, sizeof bytes, 0) > 0;
  }
  static void answer(int connection, const std::string& status, const std::string& body, const std::string& more = "") {
    const auto text =
        "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
    ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
  }

  std::string address;

 private:
  int socket_;
  std::thread thread_;
};

std::unique_ptr<target> target_at(const server& to, std::size_t connections = 0, bool check = false) {
  target_options options;
  options.connections = connections;
  options.check = check;
  options.json_tensors = true;
  auto made = connect_http(to.address, options);
  REQUIRE(made);
  call request;
  request.model = "m";
  request.inputs = {{"x", dtype::fp32, {0}, {}}};
  REQUIRE((*made)->prepare(request));
  return std::move(*made);
}

std::vector<ended> hear(target& from, std::size_t count) {
  std::vector<ended> heard;
  for (const auto until = steady::now() + 10s; heard.size() < count && steady::now() < until;) from.poll(until, heard);
  REQUIRE(heard.size() == count);
  return heard;
}

}  // namespace

TEST_CASE("a connection that the server closed while it was idle costs a second try, not the request") {
  server up([](const server& self) {
    for (int i = 0; i < 2; ++i) {  // answers one request on each connection, says that it stays open, and closes it
      const auto connection = self.accept();
      server::read_request(connection);
      server::answer(connection, "200 OK", "{}");
      ::close(connection);
    }
  });
  const auto on = target_at(up);
  on->send(0);
  const auto first = hear(*on, 1)[0];
  CHECK_FALSE(first.failure);
  CHECK_FALSE(first.second_try);
  on->send(0);
  const auto second = hear(*on, 1)[0];
  CHECK_FALSE(second.failure);
  CHECK(second.second_try);
}

TEST_CASE("a server that breaks a busy connection on a request has failed it: it may have been computed") {
  server up([](const server& self) {
    const auto connection = self.accept();
    server::read_request(connection);
    server::answer(connection, "200 OK", "{}");
    server::read_request(connection);
    ::close(connection);
    const auto another = self.accept();  // of a second try, if there were one
    server::read_request(another);
    server::answer(another, "200 OK", "{}");
    ::close(another);
  });
  const auto on = target_at(up, 1);
  on->send(0);
  on->send(0);
  const auto heard = hear(*on, 2);
  CHECK_FALSE(heard[0].failure);
  CHECK(heard[1].failure == errc::unavailable);
  CHECK_FALSE(heard[1].second_try);
}

TEST_CASE("a server that closes without an answer has failed the request, on a fresh connection at once") {
  server up([](const server& self) {
    const auto connection = self.accept();
    server::read_request(connection);
    ::close(connection);
  });
  const auto on = target_at(up);
  const auto which = on->send(0);
  const auto heard = hear(*on, 1)[0];
  CHECK(heard.which == which);
  CHECK(heard.failure == errc::unavailable);
  CHECK(heard.reason.find(up.address) != std::string::npos);
}

TEST_CASE("a request that finds no connection free waits for one, and how long it did is told") {
  server up([](const server& self) {
    const auto connection = self.accept();
    for (int i = 0; i < 3 && server::read_request(connection); ++i) server::answer(connection, "200 OK", "{}");
    server::read_request(connection);
    ::close(connection);
  });
  const auto on = target_at(up, 1);
  for (int i = 0; i < 3; ++i) on->send(0);
  const auto heard = hear(*on, 3);
  CHECK(heard[0].which < heard[1].which);
  CHECK(heard[2].waited > heard[0].waited);
  for (const auto& each : heard) CHECK_FALSE(each.failure);
}

TEST_CASE("a server that wants a connection for each request gets it") {
  server up([](const server& self) {
    for (int i = 0; i < 3; ++i) {
      const auto connection = self.accept();
      server::read_request(connection);
      server::answer(connection, "200 OK", "{}", "Connection: close\r\n");
      ::close(connection);
    }
  });
  const auto on = target_at(up, 1);
  for (int i = 0; i < 3; ++i) on->send(0);
  for (const auto& each : hear(*on, 3)) CHECK_FALSE(each.failure);
}

TEST_CASE("an answer whose body comes after its head is an answer") {
  server up([](const server& self) {
    const auto connection = self.accept();
    server::read_request(connection);
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    ::send(connection, head.data(), head.size(), MSG_NOSIGNAL);
    std::this_thread::sleep_for(50ms);  // or both may be read at once
    ::send(connection, "{}", 2, MSG_NOSIGNAL);
    server::read_request(connection);
    ::close(connection);
  });
  const auto on = target_at(up);
  on->send(0);
  CHECK_FALSE(hear(*on, 1)[0].failure);
}

TEST_CASE("a status is a failure with the server's reason, and a checked answer that is none is corrupt") {
  server up([](const server& self) {
    const auto connection = self.accept();
    server::read_request(connection);
    server::answer(connection, "503 Service Unavailable", R"({"error": "full\nof requests"})");
    server::read_request(connection);
    server::answer(connection, "200 OK", "{}");
    server::read_request(connection);
    ::close(connection);
  });
  const auto on = target_at(up, 0, true);
  on->send(0);
  const auto refused = hear(*on, 1)[0];
  CHECK(refused.failure == errc::overloaded);
  CHECK(refused.reason == "status 503: full");
  on->send(0);
  CHECK(hear(*on, 1)[0].failure == errc::corrupt);
}

TEST_CASE("what is abandoned is told of no more, and does not disturb what comes after") {
  server up([](const server& self) {
    const auto silent = self.accept();
    server::read_request(silent);
    const auto connection = self.accept();
    server::read_request(connection);
    server::answer(connection, "200 OK", "{}");
    server::read_request(connection);
    ::close(connection);
    ::close(silent);
  });
  const auto on = target_at(up);
  on->send(0);
  std::vector<ended> none;
  on->poll(steady::now() + 20ms, none);
  CHECK(none.empty());
  on->abandon();
  const auto which = on->send(0);
  const auto heard = hear(*on, 1);
  CHECK(heard[0].which == which);
  CHECK_FALSE(heard[0].failure);
}
