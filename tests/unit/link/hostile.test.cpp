// A port is open to strangers: whatever they write, honest peers must not notice.
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "link/codec.hpp"
#include "link/socket.hpp"
#include "unit/link/recorder.hpp"
#include "unit/link/samples.hpp"

namespace shoal::test {
namespace {

using protocol::service_kind;

/// A gateway and an honest client beside it.
struct open_port {
  explicit open_port(const std::string& transport, link::options own = quick(service_kind::gateway))
      : server(bound(std::move(own), transport)), honest(quick(service_kind::client)) {
    REQUIRE(honest.link.connect(service_kind::gateway, endpoint()));
    REQUIRE(honest.wait_for_up());
  }

  static link::options bound(link::options own, const std::string& transport) {
    own.bind = {fresh_address(transport)};
    return own;
  }

  [[nodiscard]] std::string endpoint() const { return server.link.endpoints().front(); }

  void honest_peer_is_well() {
    const auto before = server.messages().size();
    REQUIRE(honest.link.send(honest.last_peer(), protocol::cancel{{4, 2}}));
    CHECK(server.wait([&](const recorder::events& events) {
      std::size_t n = 0;
      for (const auto& event : events) n += std::holds_alternative<protocol::delivery>(event) ? 1 : 0;
      return n > before;
    }));
    CHECK(honest.downs().empty());
  }

  recorder server;
  recorder honest;
};

/// Speaks ZMTP but for the rest what it likes.
class stranger {
 public:
  explicit stranger(const std::string& endpoint, std::uint64_t epoch = 5)
      : socket_(link::context::of_process(), ZMQ_DEALER), epoch_(epoch) {
    REQUIRE(socket_.connect(endpoint));
  }

  void write(const std::vector<std::vector<std::byte>>& parts) {
    std::vector<link::frame> frames;
    for (const auto& part : parts) frames.emplace_back(part);
    while (socket_.send(frames) == link::sent::full) {
      zmq_pollitem_t item{socket_.raw(), 0, ZMQ_POLLOUT, 0};
      REQUIRE(zmq_poll(&item, 1, 10'000) == 1);
    }
  }
  void say(const link::control& body) { write({link::encode(epoch_, body)}); }
  void introduce(std::uint32_t version = protocol::newest_protocol) {
    link::hello said;
    said.oldest = said.newest = version;
    said.epoch = epoch_;
    said.instance = 4711;
    said.max_message_bytes = 1 << 20;
    say(said);
  }

  /// As a release of protocol version 1 does it, byte for byte.
  void introduce_as_version_1() {
    auto bytes = read_golden("version-1/hello");
    REQUIRE(bytes.size() == 1);
    epoch_ = sample_epoch;
    write({std::move(bytes[0])});
  }

  /// The next envelope that is no heartbeat, and in how many frames it came; nothing within ten seconds: an error.
  expected<link::envelope> hear(std::size_t* in_frames = nullptr) {
    std::vector<link::frame> frames;
    for (const auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until;) {
      zmq_pollitem_t item{socket_.raw(), 0, ZMQ_POLLIN, 0};
      zmq_poll(&item, 1, 100);
      if (!socket_.receive(frames, 16)) continue;
      std::vector<buffer> rest;
      for (std::size_t i = 1; i < frames.size(); ++i) rest.push_back(buffer::copy(frames[i].bytes()));
      std::uint64_t copies = 0;
      auto got = link::decode(frames[0].bytes(), rest, copies);
      const auto* said = got ? std::get_if<link::control>(&got->content) : nullptr;
      if (in_frames != nullptr) *in_frames = frames.size();
      if (said == nullptr || !std::holds_alternative<link::heartbeat>(*said)) return got;
    }
    return fail(errc::deadline_exceeded, "heard nothing");
  }

  template <class Body>
  Body hear_control() {
    auto got = hear();
    REQUIRE(got);
    REQUIRE(std::holds_alternative<link::control>(got->content));
    auto& said = std::get<link::control>(got->content);
    REQUIRE(std::holds_alternative<Body>(said));
    return std::get<Body>(said);
  }

 private:
  link::socket socket_;
  std::uint64_t epoch_;
};

const auto dropped = [](const char* reason) { return std::string("link_dropped{reason=\"") + reason + "\"}"; };

/// Writes `bytes` to a port with plain TCP and waits until the other side has closed, or a moment.
void write_raw(const std::string& endpoint, const std::string& bytes) {
  const auto port = static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(fd >= 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  const timeval limit{0, 20'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const auto written = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  CHECK(written != 0);
  char answer[256];
  while (::recv(fd, answer, sizeof answer, 0) > 0) {
  }
  ::close(fd);
}

TEST_CASE("plain TCP, HTTP and broken ZMTP greetings hurt nobody") {
  open_port port("tcp");
  std::mt19937 random(7);
  std::string noise(5000, '\0');
  for (auto& byte : noise) byte = static_cast<char>(random());
  std::string greeting("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
  greeting.resize(64, '\0');
  const std::string huge_frame("\x02\x7f\xff\xff\xff\xff\xff\xff\xff", 9);  // says 2^63 bytes follow
  const std::string ready(
      "\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06"
      "DEALER",
      29);
  for (const auto& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), noise, std::string("\n"), greeting, greeting + noise,
        greeting + huge_frame, greeting + ready + huge_frame, greeting + ready + noise})
    write_raw(port.endpoint(), bytes);
  CHECK(port.server.ups().size() == 1);
  port.honest_peer_is_well();
}

TEST_CASE("messages before HELLO are dropped, counted, and answered with how to begin") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    open_port port(transport);
    stranger someone(port.endpoint());
    someone.write(frames_of(protocol::message(request(1))));
    const auto answer = someone.hear_control<link::refused>();
    CHECK(answer.reason.code == errc::unavailable);
    CHECK(answer.reason.message.find("HELLO") != std::string::npos);
    CHECK(port.server.figure(dropped("before_hello")) == 1);
    CHECK(port.server.messages().empty());
    someone.introduce();  // and then it may begin
    someone.hear_control<link::welcome>();
    port.honest_peer_is_well();
  }
}

TEST_CASE("another protocol version is refused with a sentence that both sides can read") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    open_port port(transport);
    stranger newer(port.endpoint());
    newer.introduce(protocol::newest_protocol + 1);
    const auto answer = newer.hear_control<link::refused>();
    CHECK(answer.reason.code == errc::incompatible);
    CHECK(answer.reason.message.find("versions 1 to " + std::to_string(protocol::newest_protocol)) !=
          std::string::npos);
    CHECK(answer.reason.message.find("version " + std::to_string(protocol::newest_protocol + 1)) != std::string::npos);
    CHECK(port.server.figure("link_refused_in") == 1);
    CHECK(port.server.ups().size() == 1);
  }
}

TEST_CASE("a peer of the release before is welcomed, in its own version") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    open_port port(transport);
    stranger older(port.endpoint());
    older.introduce_as_version_1();
    const auto answer = older.hear_control<link::welcome>();
    CHECK(answer.self.oldest == 1);  // where that release looks for its own version
    REQUIRE(port.server.wait_for_up(2));
    CHECK(port.server.ups().front().version == protocol::newest_protocol);
    CHECK(port.server.ups().back().version == 1);
  }
}

TEST_CASE("few bytes of tensors come with the envelope, but for peers of older versions and of this process") {
  for (const std::string transport : {"inproc", "ipc", "tcp"})
    for (const auto version : {protocol::newest_protocol, 4U}) {
      CAPTURE(transport);
      CAPTURE(version);
      open_port port(transport);
      stranger other(port.endpoint());
      other.introduce(version);
      REQUIRE(other.hear());
      REQUIRE(port.server.wait_for_up(2));
      for (const std::int64_t size : {4, 2048, 2049, 0}) {
        CAPTURE(size);
        const std::vector<std::byte> bytes(static_cast<std::size_t>(4 * size), std::byte{7});
        const protocol::message said =
            protocol::payload{1, 0, std::vector<tensor>{{"x", dtype::fp32, {size}, buffer::copy(bytes)}}};
        REQUIRE(port.server.link.send(port.server.ups().back().peer, said));
        std::size_t frames = 0;
        const auto got = other.hear(&frames);
        REQUIRE(got);
        CHECK(same(std::get<protocol::message>(got->content), said));
        CHECK(frames == (version >= 5 && transport != "inproc" && size > 0 && size <= 2048 ? 1 : 2));
      }
    }
}

TEST_CASE("a service of the release before is a peer, in its version") {
  link::socket older(link::context::of_process(), ZMQ_ROUTER);
  const auto endpoint = older.bind(fresh_address("ipc"));
  REQUIRE(endpoint);
  recorder client(quick(service_kind::scheduler));
  REQUIRE(client.link.connect(service_kind::scheduler, *endpoint));
  std::vector<link::frame> frames;
  for (const auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until;) {
    if (!older.receive(frames, 4)) continue;
    auto bytes = read_golden("version-1/welcome");
    REQUIRE(bytes.size() == 1);
    frames[1] = link::frame(bytes[0]);
    REQUIRE(older.send(frames) == link::sent::yes);
    break;
  }
  REQUIRE(client.wait_for_up(1));
  CHECK(client.ups().front().version == 1);
}

TEST_CASE("a service of another protocol version is no peer, and is asked again only rarely") {
  // By hand: a gateway of a later release, which welcomes without looking.
  auto shared = link::context::of_process();
  link::socket later(shared, ZMQ_ROUTER);
  const auto endpoint = later.bind(fresh_address("ipc"));
  REQUIRE(endpoint);
  recorder client(quick(service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, *endpoint));
  std::vector<link::frame> frames;
  for (const auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until;) {
    if (!later.receive(frames, 4)) continue;
    link::hello said;
    said.oldest = said.newest = protocol::newest_protocol + 1;
    said.service = service_kind::gateway;
    frames[1] = link::frame(link::encode(9, link::control(link::welcome{said})));
    REQUIRE(later.send(frames) == link::sent::yes);
    break;
  }
  CHECK(client.wait_for_figure("link_refused_in", 1));
  CHECK(client.ups().empty());
}

TEST_CASE("a stale epoch is dropped and counted") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    open_port port(transport);
    stranger someone(port.endpoint(), 5);
    someone.introduce();
    someone.hear_control<link::welcome>();
    const auto whole = link::encode(4, protocol::message(protocol::cancel{{1, 1}}));
    REQUIRE(whole);
    someone.write({whole->head});
    CHECK(port.server.wait_for_figure(dropped("stale_epoch"), 1));
    const auto current = link::encode(5, protocol::message(protocol::cancel{{1, 2}}));
    someone.write({current->head});
    REQUIRE(port.server.wait_for_messages(1));
    CHECK(std::get<protocol::cancel>(port.server.messages()[0].body).key.id == 2);
  }
}

TEST_CASE("a connection that closes without goodbye is noticed at once, by both kinds of socket") {
  for (const std::string transport : {"ipc", "tcp"}) {
    CAPTURE(transport);
    auto patient = quick(service_kind::gateway);
    patient.heartbeat = 5s;
    open_port port(transport, patient);
    {
      stranger brief(port.endpoint());
      brief.introduce();
      brief.hear_control<link::welcome>();
    }
    const auto since = std::chrono::steady_clock::now();
    REQUIRE(port.server.wait_for_down());
    CHECK(std::chrono::steady_clock::now() - since < 2s);
    CHECK(port.server.downs()[0].reason.message.find("closed") != std::string::npos);
    CHECK(port.server.figure("link_peers") == 1);
    port.honest_peer_is_well();
  }
  for (const std::string transport : {"ipc", "tcp"}) {
    CAPTURE(transport);
    auto shared = link::context::of_process();
    auto brief = std::make_unique<link::socket>(shared, ZMQ_ROUTER);
    const auto endpoint = brief->bind(transport == "tcp" ? "tcp://127.0.0.1:*" : fresh_address(transport));
    REQUIRE(endpoint);
    auto patient = quick(service_kind::client);
    patient.heartbeat = 5s;
    recorder client(patient);
    REQUIRE(client.link.connect(service_kind::gateway, *endpoint));
    std::vector<link::frame> frames;
    while (!brief->receive(frames, 4)) {
      zmq_pollitem_t item{brief->raw(), 0, ZMQ_POLLIN, 0};
      REQUIRE(zmq_poll(&item, 1, 10'000) == 1);
    }
    link::hello said;
    said.service = service_kind::gateway;
    said.epoch = 9;
    frames[1] = link::frame(link::encode(9, link::control(link::welcome{said})));
    REQUIRE(brief->send(frames) == link::sent::yes);
    REQUIRE(client.wait_for_up());
    brief.reset();
    const auto since = std::chrono::steady_clock::now();
    REQUIRE(client.wait_for_down());
    CHECK(std::chrono::steady_clock::now() - since < 2s);
  }
}

TEST_CASE("a HELLO again on the same connection makes another peer") {
  open_port port("ipc");
  stranger someone(port.endpoint());
  someone.introduce();
  someone.hear_control<link::welcome>();
  someone.introduce();
  someone.hear_control<link::welcome>();
  REQUIRE(port.server.wait_for_up(3));
  CHECK(port.server.wait_for_down(1));
  CHECK(port.server.figure("link_peers") == 2);
}

TEST_CASE("among thousands of messages every broken one is dropped and every whole one arrives") {
  for (const std::string transport : {"inproc", "ipc", "tcp"}) {
    CAPTURE(transport);
    auto own = quick(service_kind::gateway);
    own.heartbeat = 5s;
    open_port port(transport, own);
    stranger someone(port.endpoint(), sample_epoch);
    someone.introduce();
    someone.hear_control<link::welcome>();
    std::mt19937 random(99);
    std::size_t whole = 0, broken = 0;
    const auto all = samples();
    for (std::uint64_t i = 0; i < 3000; ++i) {
      auto frames = frames_of(protocol::message(protocol::cancel{{1, i}}));
      if (random() % 5 != 0) {
        ++whole;
      } else {
        ++broken;
        // What cannot be whole by chance: noise, half an envelope, frames that no tensor asked for.
        switch (random() % 3) {
          case 0: frames[0].assign(1 + random() % 300, std::byte{0xff}); break;
          case 1: frames[0].resize(frames[0].size() / 2); break;
          default: frames.emplace_back(random() % 5000);
        }
      }
      someone.write(frames);
    }
    REQUIRE(port.server.wait_for_messages(whole));
    CHECK(port.server.wait_for_figure(dropped("malformed"), static_cast<double>(broken)));
    CHECK(port.server.messages().size() == whole);
    port.honest_peer_is_well();
  }
}

TEST_CASE("a bulk message larger than accepted is refused before its pieces come, and they are ignored") {
  auto own = quick(service_kind::gateway);
  own.max_message_bytes = 10'000'000;
  open_port port("ipc", own);
  stranger someone(port.endpoint());
  someone.introduce();
  someone.hear_control<link::welcome>();
  protocol::infer body = request(1, 3'000'000);
  auto whole = link::encode(5, protocol::message(body), 1);
  REQUIRE(whole);
  someone.write({whole->head});
  auto answer = someone.hear();
  REQUIRE(answer);
  const auto& ended = std::get<protocol::outcome>(std::get<protocol::message>(answer->content));
  CHECK(ended.result.error().code == errc::too_large);
  const auto piece = link::encode(5, link::control(link::piece{1, 0, 0, {}}));
  someone.write({piece, std::vector<std::byte>(link::piece_size)});
  CHECK(someone.hear_control<link::more>().transfer == 1);  // an honest sender's window moves on
  CHECK(port.server.figure(dropped("too_large")) == 1);
  CHECK(port.server.wait_for_figure(dropped("unknown_transfer"), 1));  // counted after it was answered
  CHECK(port.server.messages().empty());
  port.honest_peer_is_well();
}

TEST_CASE("a request whose pieces do not fit together ends with an outcome") {
  open_port port("ipc");
  stranger someone(port.endpoint());
  someone.introduce();
  someone.hear_control<link::welcome>();
  auto whole = link::encode(5, protocol::message(request(8, 3'000'000)), 1);
  REQUIRE(whole);
  someone.write({whole->head});
  someone.write({link::encode(5, link::control(link::piece{1, 0, 100, {}})), std::vector<std::byte>(1000)});
  someone.hear_control<link::more>();
  auto answer = someone.hear();
  REQUIRE(answer);
  const auto& ended = std::get<protocol::outcome>(std::get<protocol::message>(answer->content));
  CHECK(ended.id == 8);
  CHECK(ended.result.error().code == errc::corrupt);
  CHECK(port.server.figure(dropped("broken_transfer")) == 1);
}

TEST_CASE("peers beyond the limit are refused") {
  auto own = quick(service_kind::gateway);
  own.max_peers = 1;
  open_port port("ipc", own);
  stranger second(port.endpoint());
  second.introduce();
  CHECK(second.hear_control<link::refused>().reason.code == errc::overloaded);
  CHECK(port.server.ups().size() == 1);
}

}  // namespace
}  // namespace shoal::test
