// The bytes of a connection, in the clear or by TLS: what connection.cpp reads and writes through. One read and one
// write may be under way at a time. Internal to actors/http.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

namespace shoal::http {

class transport {
 public:
  /// `tls` null: in the clear.
  transport(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls)
      : socket_(std::move(socket)), tls_(std::move(tls)) {
    boost::system::error_code ignored;  // a socket option that cannot be set costs speed, not correctness
    socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    if (tls_) secured_.emplace(socket_, *tls_);
  }

  [[nodiscard]] bool is_secured() const noexcept { return secured_.has_value(); }

  template <class Handler>
  void async_handshake(Handler&& done) {
    secured_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(done));
  }

  template <class Buffer, class Handler>
  void async_read_some(const Buffer& to, Handler&& done) {
    if (secured_)
      secured_->async_read_some(to, std::forward<Handler>(done));
    else
      socket_.async_read_some(to, std::forward<Handler>(done));
  }

  template <class Buffers, class Handler>
  void async_write(const Buffers& from, Handler&& done) {
    if (secured_)
      boost::asio::async_write(*secured_, from, std::forward<Handler>(done));
    else
      boost::asio::async_write(socket_, from, std::forward<Handler>(done));
  }

  /// Nothing more will be written; what `keep` owns lives until the other side knows.
  template <class Owner>
  void end_writing(Owner keep) {
    if (secured_) return secured_->async_shutdown([keep = std::move(keep)](boost::system::error_code) {});
    boost::system::error_code ignored;  // a peer that has gone already is what the next read finds out
    socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }

  void cancel() {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }
  void close() {
    boost::system::error_code ignored;  // the descriptor is gone in any case
    socket_.close(ignored);
  }

 private:
  boost::asio::ip::tcp::socket socket_;
  std::shared_ptr<boost::asio::ssl::context> tls_;
  std::optional<boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>> secured_;
};

}  // namespace shoal::http
