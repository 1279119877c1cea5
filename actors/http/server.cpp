#include "http/server.hpp"

#include <charconv>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
#include <boost/asio/post.hpp>

#include "http/connection.hpp"

namespace shoal::http {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

namespace {

using namespace std::chrono_literals;

/// How exactly the limits of time are kept.
constexpr auto check_interval = 100ms;
/// Connections above the limit that are told 503; beyond these they are closed without a word.
constexpr std::size_t most_refused_at_a_time = 64;

expected<tcp::endpoint> resolve(asio::io_context& io, const std::string& address) {
  auto colon = address.rfind(':');
  unsigned port = 0;
  const auto* end = address.data() + address.size();
  if (colon == std::string::npos || colon + 1 == address.size() ||
      std::from_chars(address.data() + colon + 1, end, port).ptr != end || port > 65535)
    return fail(errc::invalid_argument, "'" + address + "' is not HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000");
  auto host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  error_code ec;
  tcp::resolver resolver(io);
  auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, ec);
  if (ec || found.empty())
    return fail(errc::invalid_argument, "the host of '" + address + "' is not known: " + ec.message());
  return found.begin()->endpoint();
}

std::string to_text(const tcp::endpoint& endpoint) {
  auto host = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(endpoint.port());
}

}  // namespace

/// Lives on the server's thread once `run` was called; only `stop` comes from outside.
class server::running {
 public:
  running(options wanted, handler handle, std::shared_ptr<certificate> shown)
      : shared_(std::make_shared<environment>(std::move(wanted), std::move(handle))),
        acceptor_(shared_->io),
        check_timer_(shared_->io),
        accept_timer_(shared_->io) {
    shared_->certificate = std::move(shown);
    shared_->on_connection_closed = [this] { end_when_empty(); };
  }

  expected<void> listen() {
    const auto& wanted = shared_->wanted.address;
    auto endpoint = resolve(shared_->io, wanted);
    if (!endpoint) return tl::unexpected(endpoint.error());
    error_code ec;
    acceptor_.open(endpoint->protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
    if (!ec && shared_->wanted.reuse_port) acceptor_.set_option(reuse_port(true), ec);
    if (!ec) acceptor_.bind(*endpoint, ec);
    if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec == asio::error::address_in_use)
      return fail(errc::unavailable, wanted + " is in use: end what listens there, or choose another address");
    if (ec == asio::error::access_denied)
      return fail(errc::unavailable, wanted + " needs privileges: choose a port from 1024 on");
    if (ec) return fail(errc::unavailable, "cannot listen on " + wanted + ": " + ec.message());
    address_ = to_text(acceptor_.local_endpoint(ec));
    return {};
  }

  void run() {
    accept();
    thread_ = std::thread([this] {
      while (!shared_->io.stopped()) {
        try {
          shared_->io.run();
        } catch (const std::exception& defect) {
          // No memory, most likely. The connection it happened to is cut by its limit of time; the others go on.
          spdlog::error("http: {} goes on after: {}", address_, defect.what());
        }
      }
    });
  }

  void close_door() {
    if (!thread_.joinable() || std::exchange(door_closes_, true)) return;
    auto done = std::make_shared<std::promise<void>>();  // the handler's own: no wait for one that threw
    auto closed = done->get_future();
    asio::post(shared_->io, [this, done = std::move(done)] {
      drain();
      done->set_value();
    });
    closed.wait();
  }

  void stop(std::chrono::milliseconds grace) {
    if (!thread_.joinable()) return;
    auto empty = ended_.get_future();
    close_door();
    if (empty.wait_for(grace) != std::future_status::ready) {
      asio::post(shared_->io, [this] {
        for (const auto& each : present()) each->close();
      });
      empty.wait();
    }
    thread_.join();
  }

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
      if (shared_->draining) return;
      if (!ec || ec == asio::error::connection_aborted) {
        accept();
        if (!ec) open(std::move(socket));
        return;
      }
      // Out of descriptors or memory: others must end first, and asking again at once would only burn the processor.
      spdlog::warn("http: {} cannot accept a connection: {}", address_, ec.message());
      accept_timer_.expires_after(check_interval);
      accept_timer_.async_wait([this](error_code cancelled) {
        if (!cancelled) accept();
      });
    });
  }

  void open(tcp::socket socket) {
    auto& connections = shared_->connections;
    auto most = shared_->wanted.limits.connections;
    bool refused = connections.size() >= most;
    if (refused) shared_->counters.connection_refused();
    if (connections.size() >= most + most_refused_at_a_time) return;
    auto fresh = std::make_shared<connection>(*shared_, std::move(socket));
    connections.insert(fresh);
    shared_->counters.connection_opened();
    refused ? fresh->start_refused() : fresh->start();
    if (!std::exchange(checking_, true)) check_later();
  }

  /// One timer for all connections, and none while there are none: an idle server does not wake.
  void check_later() {
    check_timer_.expires_after(check_interval);
    check_timer_.async_wait([this](error_code cancelled) {
      if (cancelled) return;
      checking_ = !shared_->connections.empty();
      if (checking_) check_later();  // first: what throws below must not end all limits of time
      const auto now = steady::now();
      for (const auto& each : present()) each->check(now);
    });
  }

  /// A copy, because what is done to a connection may end it.
  [[nodiscard]] std::vector<std::shared_ptr<connection>> present() const {
    return {shared_->connections.begin(), shared_->connections.end()};
  }

  void drain() {
    shared_->draining = true;
    error_code ignored;  // closing a listening socket cannot fail in a way that matters
    acceptor_.close(ignored);
    accept_timer_.cancel();
    for (const auto& each : present()) each->drain();
    end_when_empty();
  }

  void end_when_empty() {
    if (!shared_->draining || !shared_->connections.empty() || over_) return;
    over_ = true;
    check_timer_.cancel();
    shared_->io.stop();
    ended_.set_value();
  }

  std::shared_ptr<environment> shared_;
  tcp::acceptor acceptor_;
  asio::steady_timer check_timer_;
  asio::steady_timer accept_timer_;
  std::string address_;
  std::thread thread_;
  std::promise<void> ended_;
  bool door_closes_ = false;
  bool checking_ = false;
  bool over_ = false;
};

server::server(std::unique_ptr<running> instance) : running_(std::move(instance)) {}
server::server(server&&) noexcept = default;

server::~server() {
  if (running_) stop(0ms);
}

expected<server> server::start(options wanted, handler handle) {
  const bool secured = !wanted.certificate.empty() || !wanted.certificate_key.empty();
  std::shared_ptr<certificate> shown;
  if (secured) {
    auto opened = certificate::open(wanted.certificate, wanted.certificate_key);
    if (!opened) return tl::unexpected(opened.error());
    shown = std::move(*opened);
  }
  auto instance = std::make_unique<running>(std::move(wanted), std::move(handle), std::move(shown));
  auto listening = instance->listen();
  if (!listening) return tl::unexpected(listening.error());
  instance->run();
  return server(std::move(instance));
}

const std::string& server::address() const noexcept { return running_->address(); }

void server::close_door() { running_->close_door(); }
void server::stop(std::chrono::milliseconds grace) { running_->stop(grace); }

}  // namespace shoal::http
