// The contract of protocol::link, held by the same code over every transport.
#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "link/codec.hpp"
#include "link/socket.hpp"
#include "unit/link/recorder.hpp"

namespace shoal::test {
namespace {

using protocol::service_kind;

bool same_bytes(const tensor& a, const tensor& b) {
  return a.name == b.name && a.dims == b.dims && std::ranges::equal(a.data.bytes(), b.data.bytes());
}

template <class T>
const T& body_of(const protocol::delivery& from) {
  return std::get<T>(from.body);
}

link::options listening(service_kind service, const std::string& address) {
  auto own = quick(service);
  own.bind = {address};
  return own;
}

/// A gateway that is reached and a client that reaches it.
struct pair_of_links {
  explicit pair_of_links(const std::string& transport, link::options server_options = quick(service_kind::gateway),
                         link::options client_options = quick(service_kind::client)) {
    server_options.bind = {fresh_address(transport)};
    server = std::make_unique<recorder>(std::move(server_options));
    client = std::make_unique<recorder>(std::move(client_options));
    REQUIRE(client->link.connect(service_kind::gateway, endpoint()));
    REQUIRE(client->wait_for_up());
    REQUIRE(server->wait_for_up());
  }
  [[nodiscard]] std::string endpoint() const { return server->link.endpoints().front(); }
  [[nodiscard]] protocol::peer_id to_server() const { return client->last_peer(); }
  [[nodiscard]] protocol::peer_id to_client() const { return server->last_peer(); }

  std::unique_ptr<recorder> server;
  std::unique_ptr<recorder> client;
};

const auto heartbeat_bytes = static_cast<double>(link::encode(1, link::control(link::heartbeat{1})).size());

const char* const transports[] = {"inproc", "ipc", "tcp"};

TEST_CASE("both sides learn who the other is") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    auto own = quick(service_kind::gateway);
    own.capabilities = {"one", "two"};
    pair_of_links two(transport, own);
    const auto seen = two.client->ups().at(0);
    CHECK(seen.service == service_kind::gateway);
    CHECK(seen.instance == two.server->link.instance());
    CHECK(seen.epoch == two.server->link.epoch());
    CHECK(seen.capabilities == std::vector<std::string>{"one", "two"});
    CHECK(two.server->ups().at(0).instance == two.client->link.instance());
    CHECK(two.server->ups().at(0).service == service_kind::client);
  }
}

TEST_CASE("messages arrive unchanged and in the order they were sent, both ways") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    constexpr std::size_t n = 3000;
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(two.client->link.send(two.to_server(), protocol::cancel{{1, i}}));
      REQUIRE(two.server->link.send(two.to_client(), protocol::cancel{{2, i}}));
    }
    REQUIRE(two.server->wait_for_messages(n));
    REQUIRE(two.client->wait_for_messages(n));
    const auto there = two.server->messages();
    const auto here = two.client->messages();
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(body_of<protocol::cancel>(there[i]).key == protocol::request_key{1, i});
      REQUIRE(body_of<protocol::cancel>(here[i]).key == protocol::request_key{2, i});
    }
    CHECK(there[0].from == two.to_client());
  }
}

TEST_CASE("tensors arrive bit for bit, small and large, with and without elements") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    protocol::infer body = request(7, 100'000);
    body.inputs.push_back({"odd", dtype::uint8, {3}, buffer::copy(std::as_bytes(std::span("abc", 3)))});
    body.inputs.push_back(floats("after odd", 5));
    body.inputs.push_back({"none", dtype::fp32, {0, 4}, {}});
    body.inputs.push_back({"held elsewhere", dtype::fp32, {2, 2}, {}});
    REQUIRE(two.client->link.send(two.to_server(), body));
    REQUIRE(two.server->wait_for_messages(1));
    const auto all = two.server->messages();
    const auto& got = body_of<protocol::infer>(all[0]);
    REQUIRE(got.inputs.size() == body.inputs.size());
    for (std::size_t i = 0; i < got.inputs.size(); ++i) CHECK(same_bytes(got.inputs[i], body.inputs[i]));
  }
}

TEST_CASE("a peer that stops says goodbye and is down at once") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    const auto peer = two.to_server();
    REQUIRE(two.server->link.send(two.to_client(), protocol::offer{5}));
    two.server->link.stop();
    REQUIRE(two.client->wait_for_down());
    CHECK(two.client->downs()[0].peer == peer);
    CHECK(two.client->downs()[0].reason.code == errc::cancelled);  // in order, not lost
    REQUIRE(two.client->messages().size() == 1);                   // what was sent before the goodbye still came
    const auto sent = two.client->link.send(peer, protocol::offer{1});
    REQUIRE_FALSE(sent);
    CHECK(sent.error().code == errc::unavailable);
  }
}

TEST_CASE("a service that stops right after it has sent a large answer has it written to the end") {
  constexpr std::size_t more_than_is_under_way_at_a_time = std::size_t{10} << 20;  // of floats
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    std::vector<tensor> large{floats("y", more_than_is_under_way_at_a_time)};
    REQUIRE(two.server->link.send(two.to_client(), protocol::outcome{1, 0, large}));
    two.server->link.stop();
    REQUIRE(two.client->wait_for_down());
    CHECK(two.client->downs()[0].reason.code == errc::cancelled);
    const auto came = two.client->messages();
    REQUIRE(came.size() == 1);
    CHECK(same_bytes(body_of<protocol::outcome>(came[0]).result->front(), large.front()));
  }
}

TEST_CASE("a service that stops waits for who takes nothing no longer than until it is known to be lost") {
  recorder server(listening(service_kind::gateway, fresh_address("ipc")));
  auto shared = link::context::of_process();
  link::socket frozen(shared, ZMQ_DEALER);
  REQUIRE(frozen.connect(server.link.endpoints().front()));
  link::hello said;
  said.instance = 77;
  said.epoch = 5;
  said.max_message_bytes = std::uint64_t{1} << 30;
  std::vector<link::frame> frames;
  frames.emplace_back(link::encode(5, link::control(said)));
  REQUIRE(frozen.send(frames) == link::sent::yes);
  REQUIRE(server.wait_for_up());
  REQUIRE(server.link.send(server.last_peer(),
                           protocol::outcome{1, 0, std::vector<tensor>{floats("y", std::size_t{10} << 20)}}));
  const auto since = std::chrono::steady_clock::now();
  server.link.stop();
  CHECK(std::chrono::steady_clock::now() - since < 5s);
}

TEST_CASE("a client that stops is down at the side it reached") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    const auto peer = two.to_client();
    two.client->link.stop();
    REQUIRE(two.server->wait_for_down());
    CHECK(two.server->downs()[0].peer == peer);
    CHECK(two.server->figure("link_peers") == 0);
  }
}

TEST_CASE("a service that comes back is another peer, with a fresh id") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    const auto endpoint = two.endpoint();
    const auto first = two.to_server();
    two.server.reset();
    REQUIRE(two.client->wait_for_down());
    recorder again(listening(service_kind::gateway, endpoint));
    REQUIRE(two.client->wait_for_up(2));
    const auto ups = two.client->ups();
    CHECK(ups[1].peer != first);
    CHECK(ups[1].instance == again.link.instance());
    REQUIRE(again.wait_for_up());
    REQUIRE(two.client->link.send(ups[1].peer, protocol::offer{9}));
    REQUIRE(again.wait_for_messages(1));
    CHECK_FALSE(two.client->link.send(first, protocol::offer{9}));
  }
}

TEST_CASE("a service may be started after those that reach for it") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    std::string endpoint = fresh_address(transport);
    if (transport == "tcp") {  // a port that was free a moment ago
      recorder brief(listening(service_kind::gateway, endpoint));
      endpoint = brief.link.endpoints().front();
    }
    recorder client(quick(service_kind::client));
    REQUIRE(client.link.connect(service_kind::gateway, endpoint));
    REQUIRE(client.wait_for_figure("link_dials", 1));
    recorder server(listening(service_kind::gateway, endpoint));
    CHECK(client.wait_for_up());
    CHECK(server.wait_for_up());
  }
}

TEST_CASE("a peer that only keeps its connection open is down after three heartbeats") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    recorder server(listening(service_kind::gateway, fresh_address(transport)));
    // It says HELLO and then nothing, as a stopped process would.
    auto shared = link::context::of_process();
    link::socket frozen(shared, ZMQ_DEALER);
    REQUIRE(frozen.connect(server.link.endpoints().front()));
    link::hello said;
    said.instance = 77;
    said.epoch = 5;
    std::vector<link::frame> frames;
    frames.emplace_back(link::encode(5, link::control(said)));
    REQUIRE(frozen.send(frames) == link::sent::yes);
    REQUIRE(server.wait_for_up());
    const auto since = std::chrono::steady_clock::now();
    REQUIRE(server.wait_for_down());
    const auto took = std::chrono::steady_clock::now() - since;
    CHECK(took > 250ms);
    CHECK(took < 2s);
    CHECK(server.downs()[0].reason.message.find("3 heartbeats") != std::string::npos);
    // When it wakes up it is told to begin anew.
    frames.clear();
    frames.emplace_back(link::encode(5, link::control(link::heartbeat{1})));
    REQUIRE(frozen.send(frames) == link::sent::yes);
    CHECK(server.wait_for_figure("link_dropped{reason=\"before_hello\"}", 1));
    CHECK(server.ups().size() == 1);
  }
}

TEST_CASE("peers that have nothing to say stay up") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    auto own = quick(service_kind::gateway);
    auto other = quick(service_kind::client);
    own.heartbeat = other.heartbeat = 100ms;
    pair_of_links two(transport, own, other);
    // Nine heartbeats: three times the silence that ends a peer.
    const auto before = two.server->figure("link_bytes_in");
    REQUIRE(two.server->wait_for_figure("link_bytes_in", before + 9 * heartbeat_bytes));
    CHECK(two.server->downs().empty());
    CHECK(two.client->downs().empty());
  }
}

TEST_CASE("credit is taken by requests and given back by their outcomes") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    auto own = quick(service_kind::gateway);
    own.credit_messages = 2;
    pair_of_links two(transport, own);
    auto& client = two.client->link;
    REQUIRE(client.send(two.to_server(), request(1)));
    REQUIRE(client.send(two.to_server(), request(2)));
    const auto third = client.send(two.to_server(), request(3));
    REQUIRE_FALSE(third);
    CHECK(third.error().code == errc::overloaded);
    CHECK(third.error().retryable);
    CHECK(client.send(two.to_server(), protocol::cancel{{0, 1}}));  // control is exempt

    REQUIRE(two.server->wait_for_messages(3));
    REQUIRE(two.server->link.send(two.to_client(), protocol::outcome{1, 0, std::vector<tensor>{floats("y", 2)}}));
    REQUIRE(two.client->wait_for_messages(1));
    CHECK(client.send(two.to_server(), request(4)));
    CHECK_FALSE(client.send(two.to_server(), request(5)));
    client.settle(two.to_server(), 2);
    client.settle(two.to_server(), 999);  // unknown: nothing happens
    CHECK(client.send(two.to_server(), request(6)));
    CHECK_FALSE(client.send(two.to_server(), request(7)));
  }
}

TEST_CASE("credit counts bytes with room for the reply, and one request alone always has room") {
  auto own = quick(service_kind::gateway);
  own.credit_bytes = 300'000;
  pair_of_links two("inproc", own);
  auto& client = two.client->link;
  REQUIRE(client.send(two.to_server(), request(1, 40'000)));      // 160,000 + 65,536
  CHECK_FALSE(client.send(two.to_server(), request(2, 10'000)));  // 40,000 + 65,536 more
  CHECK(client.send(two.to_server(), request(3, 1)));             // 4 + 65,536 more
  REQUIRE(two.server->wait_for_messages(2));
  for (const protocol::request_id id : {1, 3}) {
    two.server->link.settle(two.to_client(), id);
    client.settle(two.to_server(), id);
  }
  CHECK(client.send(two.to_server(), request(4, 500'000)));  // 2,000,000, alone
  CHECK_FALSE(client.send(two.to_server(), request(5, 1)));
}

TEST_CASE("a peer that takes more than it was granted gets an outcome for each request above, and only that") {
  // The client is given more credit than the gateway grants by talking to it by hand.
  auto own = listening(service_kind::gateway, fresh_address("ipc"));
  own.credit_messages = 2;
  recorder server(own);
  auto shared = link::context::of_process();
  link::socket greedy(shared, ZMQ_DEALER);
  REQUIRE(greedy.connect(server.link.endpoints().front()));
  const auto write = [&](std::vector<std::byte> head, std::vector<buffer> tensors = {}) {
    std::vector<link::frame> frames;
    frames.emplace_back(head);
    for (auto& each : tensors) frames.push_back(link::frame::lend(each, nullptr));
    REQUIRE(greedy.send(frames) == link::sent::yes);
  };
  link::hello said;
  said.epoch = 5;
  said.max_message_bytes = 1 << 20;
  write(link::encode(5, link::control(said)));
  for (protocol::request_id id = 1; id <= 6; ++id) {
    auto whole = link::encode(5, protocol::message(request(id)));
    REQUIRE(whole);
    write(whole->head, whole->tensors);
  }
  REQUIRE(server.wait_for_figure("link_dropped{reason=\"overdrawn\"}", 2));
  CHECK(server.messages().size() == 4);  // twice the grant is the limit that is enforced
  // welcome, then two outcomes; heartbeats may lie between.
  std::vector<link::frame> frames;
  std::vector<protocol::request_id> refused;
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (refused.size() < 2 && std::chrono::steady_clock::now() < until) {
    if (!greedy.receive(frames, 8)) continue;
    std::uint64_t copies = 0;
    auto got = link::decode(frames[0].bytes(), {}, copies);
    REQUIRE(got);
    if (const auto* body = std::get_if<protocol::message>(&got->content)) {
      const auto& ended = std::get<protocol::outcome>(*body);
      REQUIRE_FALSE(ended.result);
      CHECK(ended.result.error().code == errc::overloaded);
      refused.push_back(ended.id);
    }
  }
  CHECK(refused == std::vector<protocol::request_id>{5, 6});
}

TEST_CASE("large messages go in pieces and small ones overtake them") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    pair_of_links two(transport);
    auto large = request(1, 12'000'000);                  // 48 MB: 12 pieces
    large.inputs.push_back(floats("second", 2'000'000));  // 8 MB
    large.inputs.push_back({"none", dtype::fp32, {0}, {}});
    large.inputs.push_back(floats("small", 3));
    REQUIRE(two.client->link.send(two.to_server(), large));
    REQUIRE(two.client->link.send(two.to_server(), request(2)));
    REQUIRE(two.client->link.send(two.to_server(), protocol::cancel{{0, 3}}));
    REQUIRE(two.server->wait_for_messages(3));
    const auto all = two.server->messages();
    CHECK(std::holds_alternative<protocol::cancel>(all[1].body));
    const auto& got = body_of<protocol::infer>(all[2]);
    REQUIRE(got.id == 1);
    REQUIRE(got.inputs.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(same_bytes(got.inputs[i], large.inputs[i]));
    // And the way back, several at a time.
    for (int i = 0; i < 3; ++i)
      REQUIRE(two.server->link.send(two.to_client(), protocol::outcome{1, 0, std::vector<tensor>{large.inputs[0]}}));
    REQUIRE(two.client->wait_for_messages(3));
    for (const auto& each : two.client->messages())
      CHECK(same_bytes(body_of<protocol::outcome>(each).result->at(0), large.inputs[0]));
    CHECK(two.server->wait_for_figure("link_peers", 1));
  }
}

TEST_CASE("what is larger than the other side takes is refused to the sender") {
  for (const std::string transport : transports) {
    CAPTURE(transport);
    auto own = quick(service_kind::gateway);
    own.max_message_bytes = 1'000'000;
    pair_of_links two(transport, own);
    const auto sent = two.client->link.send(two.to_server(), request(1, 250'001));
    REQUIRE_FALSE(sent);
    CHECK(sent.error().code == errc::too_large);
    CHECK_FALSE(sent.error().retryable);
    CHECK(two.client->link.send(two.to_server(), request(1, 250'000)));
    CHECK(two.server->wait_for_messages(1));
  }
}

TEST_CASE("a tensor whose bytes do not match its shape is refused to the sender") {
  pair_of_links two("inproc");
  auto body = request(1);
  body.inputs[0].dims = {5};
  const auto sent = two.client->link.send(two.to_server(), body);
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == errc::invalid_argument);
}

TEST_CASE("a service of another kind than expected is no peer") {
  recorder server(listening(service_kind::scheduler, fresh_address("ipc")));
  recorder client(quick(service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, server.link.endpoints().front()));
  REQUIRE(client.wait_for_figure("link_refused_in", 1));
  CHECK(client.ups().empty());
}

TEST_CASE("a service that is reached by two names is one peer") {
  auto own = quick(service_kind::gateway);
  own.bind = {fresh_address("ipc"), fresh_address("tcp")};
  recorder server(own);
  recorder client(quick(service_kind::client));
  for (const auto& endpoint : server.link.endpoints()) REQUIRE(client.link.connect(service_kind::gateway, endpoint));
  REQUIRE(client.wait_for_figure("link_refused_in", 1));
  CHECK(client.ups().size() == 1);
}

TEST_CASE("events are told and messages sent on the poll thread without another wake") {
  auto own = listening(service_kind::gateway, fresh_address("ipc"));
  recorder server(own, [](recorder& self, const protocol::link_event& event) {
    if (const auto* came = std::get_if<protocol::delivery>(&event))
      CHECK(self.link.send(came->from,
                           protocol::outcome{std::get<protocol::infer>(came->body).id, 0, std::vector<tensor>{}}));
  });
  recorder client(quick(service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, server.link.endpoints().front()));
  REQUIRE(client.wait_for_up());
  for (protocol::request_id id = 1; id <= 1000; ++id) REQUIRE(client.link.send(client.last_peer(), request(id)));
  REQUIRE(client.wait_for_messages(1000));
  CHECK(client.figure("link_credit_messages{peer=\"gateway-" + std::to_string(server.link.instance()) + "\"}") == 0);
}

TEST_CASE("many threads may send at once") {
  pair_of_links two("ipc");
  constexpr std::size_t threads = 4, each = 1500;
  {
    std::vector<std::jthread> all;
    for (std::size_t t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        for (std::size_t i = 0; i < each; ++i) CHECK(two.client->link.send(two.to_server(), protocol::cancel{{t, i}}));
      });
  }
  REQUIRE(two.server->wait_for_messages(threads * each));
  std::vector<std::size_t> next(threads, 0);
  for (const auto& came : two.server->messages()) {
    const auto key = body_of<protocol::cancel>(came).key;
    REQUIRE(key.id == next.at(key.gateway)++);
  }
}

TEST_CASE("a peer that does not read what it is sent cannot fill the memory") {
  auto own = listening(service_kind::gateway, fresh_address("ipc"));
  own.max_queued_bytes = 8 << 20;
  recorder server(own);
  auto shared = link::context::of_process();
  link::socket lazy(shared, ZMQ_DEALER);
  lazy.set(ZMQ_RCVHWM, 1);
  REQUIRE(lazy.connect(server.link.endpoints().front()));
  link::hello said;
  said.epoch = 5;
  said.max_message_bytes = 1 << 20;
  std::vector<link::frame> frames;
  frames.emplace_back(link::encode(5, link::control(said)));
  REQUIRE(lazy.send(frames) == link::sent::yes);
  REQUIRE(server.wait_for_up());
  const protocol::outcome answer{1, 0, std::vector<tensor>{floats("y", 250'000)}};
  expected<void> sent;
  int taken = 0;
  for (; sent && taken < 100; ++taken) sent = server.link.send(server.last_peer(), answer);
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == errc::overloaded);
}

TEST_CASE("an address that is in use or is none is an error that names it") {
  recorder first(listening(service_kind::gateway, fresh_address("tcp")));
  const auto taken = first.link.endpoints().front();
  link::zmq_link second(listening(service_kind::gateway, taken));
  const auto bound = second.bind();
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == errc::unavailable);
  CHECK(bound.error().message.find(taken) != std::string::npos);
  link::zmq_link third(listening(service_kind::gateway, "http://x"));
  REQUIRE_FALSE(third.bind());
  CHECK(third.bind().error().code == errc::invalid_argument);
}

TEST_CASE("an idle link sleeps") {
  auto own = quick(service_kind::gateway);
  auto other = quick(service_kind::client);
  own.heartbeat = other.heartbeat = 50ms;
  pair_of_links two("ipc", own, other);
  const auto waits = two.server->figure("link_waits");
  const auto bytes = two.server->figure("link_bytes_in");
  REQUIRE(two.server->wait_for_figure("link_bytes_in", bytes + 20 * heartbeat_bytes));
  // Per heartbeat: two ticks of its own and a message, and now and then ZeroMQ's internal affairs.
  CHECK(two.server->figure("link_waits") - waits < 20 * 6);
}

TEST_CASE("a wake at a time comes at that time") {
  link::zmq_link quiet(quick(service_kind::client));
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<std::chrono::steady_clock::time_point> due, seen;
  quiet.start([](const protocol::link_event&) {},
              [&] {
                std::lock_guard lock(mutex);
                if (due && !seen && std::chrono::steady_clock::now() >= *due) {
                  seen = std::chrono::steady_clock::now();
                  changed.notify_all();
                }
                return false;
              });
  std::unique_lock lock(mutex);
  due = std::chrono::steady_clock::now() + 13ms;
  quiet.wake_at(*due);
  REQUIRE(changed.wait_for(lock, 10s, [&] { return seen.has_value(); }));
  CHECK(*seen - *due < 40ms);
  lock.unlock();
  quiet.stop();
}

}  // namespace
}  // namespace shoal::test
