// A client that sends exactly the bytes it is given, as no HTTP library would: for tests of what strangers send.
// Blocking, on loopback; what does not come within ten seconds counts as the end of the connection.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace shoal::test {

struct reply {
  int status = 0;  ///< zero: the connection ended without (the whole of) an answer
  std::map<std::string, std::string> fields;
  std::string body;
};

class raw_client {
 public:
  explicit raw_client(const std::string& address) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    auto colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
    timeval most{10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("cannot connect to " + address);
  }
  raw_client(const raw_client&) = delete;
  raw_client& operator=(const raw_client&) = delete;
  ~raw_client() { close(); }

  /// False: the server has closed the connection before it took everything.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  void close_sending_half() { ::shutdown(socket_, SHUT_WR); }

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  /// The next answer. `to_head`: the request was HEAD, so no body follows.
  reply receive(bool to_head = false) {
    reply got;
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return got;
    auto head = received_.substr(0, end + 2);
    received_.erase(0, end + 4);
    got.status = std::stoi(head.substr(9, 3));
    for (auto at = head.find("\r\n") + 2; at < head.size();) {
      auto line_end = head.find("\r\n", at);
      auto colon = head.find(": ", at);
      got.fields[head.substr(at, colon - at)] = head.substr(colon + 2, line_end - colon - 2);
      at = line_end + 2;
    }
    std::size_t length = 0;
    if (auto field = got.fields.find("Content-Length"); field != got.fields.end() && !to_head)
      length = std::stoul(field->second);
    while (received_.size() < length)
      if (!more()) return {};
    got.body = received_.substr(0, length);
    received_.erase(0, length);
    is_torn_ = !received_.empty();
    return got;
  }

  reply ask(std::string_view bytes) {
    send(bytes);
    return receive();
  }

  /// Something of an answer has come, but not all of it.
  [[nodiscard]] bool is_torn() const { return is_torn_; }

  /// Waits until the server has closed the connection; false if it sends something instead, or nothing for too long.
  bool is_closed() {
    if (!received_.empty()) return false;
    char byte = 0;
    auto got = ::recv(socket_, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }

 private:
  bool more() {
    std::array<char, 65536> bytes;
    auto got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    received_.append(bytes.data(), static_cast<std::size_t>(got));
    is_torn_ = true;
    return true;
  }

  int socket_;
  std::string received_;
  bool is_torn_ = false;
};

}  // namespace shoal::test
