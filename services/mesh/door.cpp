#include "services/mesh/door.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace shoal::services {

namespace {

struct parts {
  std::string host;  ///< as it was written, with the brackets of an IPv6 address
  int port = 0;
};

expected<parts> split(const std::string& address) {
  const auto colon = address.rfind(':');
  parts found;
  if (colon != std::string::npos && colon > 0) {
    const auto* const end = address.data() + address.size();
    const auto [at, failed] = std::from_chars(address.data() + colon + 1, end, found.port);
    found.host = address.substr(0, colon);
    if (failed == std::errc{} && at == end && found.port >= 0 && found.port <= 65535) return found;
  }
  return fail(errc::invalid_argument, "'" + address + "' is not an address: write HOST:PORT");
}

class descriptor {
 public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

}  // namespace

expected<std::string> door_after(const std::string& address, int more) {
  auto found = split(address);
  if (!found) return tl::unexpected(found.error());
  if (found->port != 0) found->port += more;
  if (found->port > 65535)
    return fail(errc::invalid_argument, address + " leaves no ports for so many services: choose a lower one");
  return found->host + ":" + std::to_string(found->port);
}

expected<door> reserve_door(const std::string& address, bool shared) {
  const auto wanted = split(address);
  if (!wanted) return tl::unexpected(wanted.error());
  auto host = wanted->host;
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  if (const int problem =
          getaddrinfo(host == "*" ? nullptr : host.c_str(), std::to_string(wanted->port).c_str(), &hints, &list);
      problem != 0)
    return fail(errc::invalid_argument, "the host of '" + address + "' is not known: " + gai_strerror(problem));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  const auto bind_with = [&](int option) {
    descriptor bound(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    if (bound.get() < 0 || ::setsockopt(bound.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        (option != 0 && ::setsockopt(bound.get(), SOL_SOCKET, option, &yes, sizeof yes) != 0) ||
        ::bind(bound.get(), list->ai_addr, list->ai_addrlen) != 0)
      return -1;
    return bound.release();
  };
  const auto refused = [&] {
    if (errno == EADDRINUSE)
      return fail(errc::unavailable, address + " is in use: end what listens there, or choose another address");
    return fail(errc::unavailable, "cannot listen on " + address + ": " + std::strerror(errno));
  };
  // Without SO_REUSEPORT first: with it, a foreign mesh's gateways would share their address with ours.
  if (shared) {
    const descriptor alone(bind_with(0));
    if (alone.get() < 0) return refused();
  }
  descriptor held(bind_with(shared ? SO_REUSEPORT : 0));
  if (held.get() < 0) return refused();
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(held.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return refused();
  const auto port = bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                : reinterpret_cast<sockaddr_in&>(bound).sin_port;
  return door{wanted->host + ":" + std::to_string(ntohs(port)), held.release()};
}

}  // namespace shoal::services
