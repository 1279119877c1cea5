#include "fuzz/read_http.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "gateway/http_door/routes.hpp"
#include "http/connection.hpp"
#include "unit/support/fake_front.hpp"

namespace shoal::test {

namespace {

using namespace std::chrono_literals;

constexpr auto longest = 10s;  // of one input; it takes less than a millisecond

/// The client's end of the pair.
class client_end {
 public:
  explicit client_end(int descriptor) : descriptor_(descriptor) {}
  ~client_end() { ::close(descriptor_); }
  client_end(const client_end&) = delete;
  client_end& operator=(const client_end&) = delete;

  void send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) break;  // larger than what a socket holds: the server gets the beginning
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
  }

  void close_sending_half() { ::shutdown(descriptor_, SHUT_WR); }

  void receive(std::string& to) {
    char piece[65536];
    for (ssize_t got = 0; (got = ::recv(descriptor_, piece, sizeof piece, MSG_DONTWAIT)) > 0;)
      to.append(piece, static_cast<std::size_t>(got));
  }

 private:
  int descriptor_;
};

}  // namespace

std::string read_http(std::span<const std::byte> input) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) throw std::runtime_error("no sockets");
  client_end client(pair[0]);
  fake_front front({{identity_model()}}, echo);
  http::options wanted;
  wanted.limits.body_bytes = std::size_t{1} << 20;
  const auto shared = std::make_shared<http::environment>(
      wanted, gateway::http_door::routes(front, {.json_bytes = std::size_t{64} << 10}));
  bool over = false;
  shared->on_connection_closed = [&] { over = true; };
  boost::asio::ip::tcp::socket socket(shared->io);
  socket.assign(boost::asio::ip::tcp::v4(), pair[1]);
  const auto connection = std::make_shared<http::connection>(*shared, std::move(socket));
  shared->connections.insert(connection);
  connection->start();
  client.send(input);
  // Who closes the sending half has left (server.hpp), so not before a body has been inflated on its thread.
  bool sends = true;
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto patience = text.find("oding") == std::string_view::npos ? 0ms : 5ms;
  std::string answer;
  const auto give_up = steady::now() + longest;
  while (!over) {
    shared->io.restart();
    const auto happened = shared->io.poll() + shared->io.run_one_for(patience);
    if (happened == 0 && std::exchange(sends, false)) client.close_sending_half();
    client.receive(answer);
    if (steady::now() > give_up) throw std::logic_error("the connection does not end");
  }
  client.receive(answer);
  if (!answer.empty() && !answer.starts_with("HTTP/1.1 ")) throw std::logic_error("the answer is no HTTP");
  for (const auto* defect : {"this is a defect", "could not be handled", "could not be built"})
    if (answer.find(defect) != std::string::npos) throw std::logic_error(answer);
  return answer;
}

}  // namespace shoal::test
