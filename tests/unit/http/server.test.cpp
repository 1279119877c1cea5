#include "http/server.hpp"

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using test::raw_client;

namespace {

std::string text_of(const buffer& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

http::response say(std::string text) {
  http::response answer;
  answer.body.push_back(http::to_buffer(std::move(text)));
  return answer;
}

/// Answers with what was asked: method, path, body.
void mirror(const http::request& asked, const http::responder& respond) {
  respond(say(asked.method + ' ' + asked.path + ' ' + text_of(asked.body)));
}

http::server serve(http::handler handle, http::limits limits = {}) {
  auto server = http::server::start({.limits = limits}, std::move(handle));
  REQUIRE(server);
  return std::move(*server);
}

/// Keeps requests unanswered until the test takes them.
class holding {
 public:
  http::handler handler() {
    return [this](http::request asked, http::responder respond) {
      respond.on_disconnect([this, path = asked.path] {
        std::lock_guard lock(mutex_);
        gone_.push_back(path);
        changed_.notify_all();
      });
      std::lock_guard lock(mutex_);
      held_.emplace_back(std::move(asked), std::move(respond));
      changed_.notify_all();
    };
  }
  std::pair<http::request, http::responder> take() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 30s, [&] { return !held_.empty(); }));
    auto first = std::move(held_.front());
    held_.erase(held_.begin());
    return first;
  }
  std::string wait_for_gone() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !gone_.empty(); });
    return gone_.front();
  }
  bool is_empty() {
    std::lock_guard lock(mutex_);
    return held_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<http::request, http::responder>> held_;
  std::vector<std::string> gone_;
};

}  // namespace

TEST_CASE("requests are answered on one connection, one after the other") {
  auto server = serve(mirror);
  raw_client client(server.address());
  auto first = client.ask("GET /a%20b?query HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(first.status == 200);
  CHECK(first.body == "GET /a b ");
  CHECK(client.ask("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").body == "POST /p hello");
  CHECK(
      client
          .ask("POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
          .body == "POST /p abcde");
  CHECK(client.ask("GET /again HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
}

TEST_CASE("fields are found by name in any case") {
  auto server = serve([](const http::request& asked, const http::responder& respond) {
    respond(say(std::string(asked.field("X-THING")) + (asked.has_field("x-other") ? "!" : "?")));
  });
  raw_client client(server.address());
  CHECK(client.ask("GET / HTTP/1.1\r\nHost: x\r\nx-Thing:  value \r\n\r\n").body == "value?");
}

TEST_CASE("a request may arrive byte by byte") {
  auto server = serve(mirror);
  raw_client client(server.address());
  for (char byte : std::string("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab"))
    REQUIRE(client.send({&byte, 1}));
  CHECK(client.ask("c").body == "POST /slow abc");
}

TEST_CASE("pipelined requests are answered in order, even if the first takes longer") {
  holding held;
  auto server = serve(held.handler());
  raw_client client(server.address());
  std::string all;
  for (int i = 0; i < 200; ++i)
    all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy";
  REQUIRE(client.send(all));
  for (int i = 0; i < 200; ++i) {
    auto [asked, respond] = held.take();
    CHECK(held.is_empty());  // the next one is not handled before this one is answered
    CHECK(asked.path == "/" + std::to_string(i));
    respond(say(asked.path));
    CHECK(client.receive().body == "/" + std::to_string(i));
  }
}

TEST_CASE("an answer may come from another thread, in parts") {
  std::thread other;
  auto server = serve([&](const http::request&, http::responder respond) {
    other = std::thread([respond = std::move(respond)] {
      auto answer = say("one ");
      answer.body.push_back(http::to_buffer("two"));
      respond(std::move(answer));
      respond(say("never seen"));
    });
  });
  raw_client client(server.address());
  auto got = client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  other.join();
  CHECK(got.body == "one two");
}

TEST_CASE("large bodies come back as they were sent") {
  auto server = serve([](const http::request& asked, const http::responder& respond) {
    http::response answer;
    answer.body.push_back(asked.body.slice(0, asked.body.size() / 2));
    answer.body.push_back(asked.body.slice(asked.body.size() / 2, asked.body.size() - asked.body.size() / 2));
    respond(std::move(answer));
  });
  std::string sent(std::size_t{20} << 20, 'x');
  for (std::size_t i = 0; i < sent.size(); i += 997) sent[i] = static_cast<char>(i);
  raw_client client(server.address());
  std::thread writer([&] {
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(sent.size()) + "\r\n\r\n");
    client.send(sent);
  });
  auto got = client.receive();
  writer.join();
  CHECK(got.status == 200);
  CHECK((got.body == sent));
}

TEST_CASE("HEAD is answered without a body, and the connection goes on") {
  auto server = serve(mirror);
  raw_client client(server.address());
  client.send("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n");
  auto got = client.receive(true);
  CHECK(got.status == 200);
  CHECK(got.fields["Content-Length"] == "8");
  CHECK(client.ask("GET /y HTTP/1.1\r\nHost: x\r\n\r\n").body == "GET /y ");
}

TEST_CASE("a connection ends after the answer when the client wants it so") {
  auto server = serve(mirror);
  for (auto head : {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}) {
    raw_client client(server.address());
    CHECK(client.ask(head).fields["Connection"] == "close");
    CHECK(client.is_closed());
  }
  raw_client old(server.address());
  CHECK(old.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").fields["Connection"] == "keep-alive");
  CHECK(old.ask("GET / HTTP/1.0\r\n\r\n").status == 200);
}

TEST_CASE("100 Continue is sent before the body is read") {
  auto server = serve(mirror);
  raw_client client(server.address());
  client.send("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.receive().status == 100);
  CHECK(client.ask("ok").body == "POST /p ok");
  CHECK(client.ask("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: magic\r\n\r\n").status == 417);
}

TEST_CASE("a client that leaves is noticed while its request is handled") {
  holding held;
  auto server = serve(held.handler());
  raw_client client(server.address());
  client.send("GET /left HTTP/1.1\r\nHost: x\r\n\r\n");
  auto [asked, respond] = held.take();
  client.close();
  CHECK(held.wait_for_gone() == "/left");
  respond(say("nobody hears this"));
  raw_client next(server.address());
  next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  auto [other, respond_other] = held.take();
  respond_other(say("fine"));
  CHECK(next.receive().body == "fine");
}

TEST_CASE("a client that was answered and leaves is not told of as gone") {
  holding held;
  auto server = serve(held.handler());
  {
    raw_client client(server.address());
    client.send("GET /answered HTTP/1.1\r\nHost: x\r\n\r\n");
    held.take().second(say("ok"));
    CHECK(client.receive().status == 200);
  }
  raw_client second(server.address());
  second.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
  auto kept = held.take();
  second.close();
  CHECK(held.wait_for_gone() == "/second");
}

TEST_CASE("a request that is dropped or throws is answered 500") {
  auto server = serve([](const http::request& asked, const http::responder& respond) {
    if (asked.path == "/throw") throw std::runtime_error("a defect");
    if (asked.path == "/build") respond.build([]() -> http::response { throw std::runtime_error("another"); });
  });
  raw_client client(server.address());
  CHECK(client.ask("GET /drop HTTP/1.1\r\nHost: x\r\n\r\n").status == 500);
  CHECK(client.ask("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n").body.find("a defect") != std::string::npos);
  CHECK(client.ask("GET /build HTTP/1.1\r\nHost: x\r\n\r\n").body.find("another") != std::string::npos);
}

TEST_CASE("stopping lets what is in flight finish and takes nothing new") {
  holding held;
  auto server = serve(held.handler());
  raw_client idle(server.address());
  raw_client busy(server.address());
  busy.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  auto [asked, respond] = held.take();
  auto stopped = std::async(std::launch::async, [&server = server] { server.stop(10s); });
  CHECK(idle.is_closed());
  CHECK(stopped.wait_for(0s) == std::future_status::timeout);
  respond(say("done"));
  auto got = busy.receive();
  CHECK(got.body == "done");
  CHECK(got.fields["Connection"] == "close");
  busy.close();
  stopped.get();
  CHECK_THROWS(raw_client(server.address()));
}

TEST_CASE("a door that is closed takes nothing new while what is in flight goes on, however long that takes") {
  holding held;
  auto server = serve(held.handler());
  raw_client idle(server.address());
  raw_client busy(server.address());
  busy.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  auto [asked, respond] = held.take();
  server.close_door();
  server.close_door();
  CHECK(idle.is_closed());
  CHECK_THROWS(raw_client(server.address()));
  respond(say("done"));
  auto got = busy.receive();
  CHECK(got.body == "done");
  CHECK(got.fields["Connection"] == "close");
  busy.close();
  server.stop(10s);
}

TEST_CASE("what does not finish in the time of grace is cut, and may be answered later without harm") {
  holding held;
  auto server = std::make_unique<http::server>(serve(held.handler()));
  raw_client client(server->address());
  client.send("GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n");
  auto [asked, respond] = held.take();
  server->stop(1ms);
  CHECK(held.wait_for_gone() == "/stuck");
  CHECK(client.receive().status == 0);
  server.reset();
  respond(say("too late"));
}

TEST_CASE("an address that cannot be had is told in a sentence") {
  auto first = serve(mirror);
  auto second = http::server::start({.address = first.address()}, mirror);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::unavailable);
  CHECK(second.error().message.find(first.address() + " is in use") == 0);
  for (auto bad : {"", "nothing", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:1 "}) {
    CAPTURE(bad);
    auto server = http::server::start({.address = bad}, mirror);
    REQUIRE_FALSE(server);
    CHECK(server.error().code == errc::invalid_argument);
  }
  auto elsewhere = http::server::start({.address = "192.0.2.1:0"}, mirror);
  REQUIRE_FALSE(elsewhere);
  CHECK(elsewhere.error().code == errc::unavailable);
}

TEST_CASE("long work is done aside: who asks meanwhile is answered") {
  std::promise<void> others_are_answered;
  const auto told = others_are_answered.get_future().share();
  auto server = http::server::start({}, [told](const http::request& asked, const http::responder& respond) {
    if (asked.path == "/short") return respond({});
    const auto long_work = [told] { REQUIRE(told.wait_for(10s) == std::future_status::ready); };
    if (asked.path == "/read")
      respond.aside(long_work, [respond] { respond({}); });
    else if (asked.path == "/write")
      respond.build_aside([long_work] {
        long_work();
        return http::response{};
      });
    else
      respond.aside([] { throw std::runtime_error("too long"); }, [respond] { respond({}); });
  });
  REQUIRE(server);
  const auto ask = [](const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"; };
  raw_client reads(server->address());
  raw_client writes(server->address());
  raw_client leaves(server->address());
  reads.send(ask("/read"));
  writes.send(ask("/write"));
  leaves.send(ask("/read"));
  leaves.close();
  raw_client other(server->address());
  for (int i = 0; i < 3; ++i) CHECK(other.ask(ask("/short")).status == 200);
  others_are_answered.set_value();
  CHECK(reads.receive().status == 200);
  CHECK(writes.receive().status == 200);
  const auto failed = other.ask(ask("/throws"));
  CHECK(failed.status == 500);
  CHECK(failed.body.find("too long") != std::string::npos);
}
