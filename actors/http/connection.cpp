// From an accepted socket to a whole request; what follows is in answering.cpp.
#include "http/connection.hpp"

#include <algorithm>
#include <exception>

#include <spdlog/spdlog.h>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>

#include "http/target.hpp"

namespace shoal::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

connection::connection(environment& shared, asio::ip::tcp::socket socket)
    : shared_(shared),
      socket_(std::move(socket), shared.certificate ? shared.certificate->current(steady::now()) : nullptr),
      input_(shared.wanted.limits.header_bytes + 4096) {}

void connection::start() {
  if (!socket_.is_secured()) return next_request();
  enter(phase::handshake, shared_.wanted.limits.header_time);
  socket_.async_handshake([self = shared_from_this()](error_code ec) {
    if (self->phase_ == phase::closed) return;
    ec ? self->close() : self->next_request();
  });
}

void connection::start_refused() {
  if (socket_.is_secured()) return close();  // a handshake would be the work that there is no room for
  keep_alive_ = false;
  auto answer = error_response({errc::overloaded, "all connections of this server are taken: try again later"});
  write(std::move(answer));
}

void connection::enter(phase next, std::chrono::milliseconds time_allowed) {
  phase_ = next;
  entered_ = steady::now();
  expires_ = time_allowed == without_limit ? time_point::max() : entered_ + time_allowed;
}

void connection::check(time_point now) {
  if (now < expires_) return;
  switch (phase_) {
    case phase::header:
    case phase::body: {
      // The read (or the write of 100 Continue) ends with operation_aborted, and its handler answers 408.
      socket_.cancel();
      break;
    }
    default: close();
  }
}

void connection::drain() {
  keep_alive_ = false;
  if (phase_ == phase::handshake || phase_ == phase::idle || phase_ == phase::lingering) close();
}

void connection::close() {
  if (phase_ == phase::closed) return;
  auto self = shared_from_this();
  auto was = std::exchange(phase_, phase::closed);
  closed_ = true;
  socket_.close();
  pass_.reset();
  answer_bytes_.give_back();
  then_ = nullptr;
  shared_.connections.erase(self);
  shared_.counters.connection_closed();
  if (counted_) shared_.counters.request_abandoned();
  auto gone = std::exchange(on_disconnect_, nullptr);
  if (was == phase::handling && gone) {
    try {
      gone();
    } catch (const std::exception& defect) {  // of the handler's: the others are served on
      spdlog::error("http: what a client's leaving asks for was not done: {}", defect.what());
    }
  }
  shared_.on_connection_closed();
}

void connection::next_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(shared_.wanted.limits.header_bytes));
  parser_->body_limit(shared_.wanted.limits.body_bytes);
  enter(phase::idle, shared_.wanted.limits.idle_time);
  if (input_.size() != 0) return parse();
  if (!reading_) read();
}

void connection::read() {
  asio::mutable_buffer to;
  bool in_place = phase_ == phase::body && !parser_->chunked();
  if (in_place) {
    auto room = body_->room();
    if (room.empty()) return refuse_exhausted();
    to = {room.data(), room.size()};
  } else {
    to = input_.prepare(input_.max_size() - input_.size());
  }
  reading_ = true;
  socket_.async_read_some(to, [self = shared_from_this(), in_place](error_code ec, std::size_t bytes) {
    self->reading_ = false;
    self->on_read(ec, bytes, in_place);
  });
}

void connection::on_read(error_code ec, std::size_t bytes, bool in_place) {
  if (phase_ == phase::closed) return;
  if (ec) return on_input_ended(ec);
  if (in_place) {
    body_->commit(bytes);
    return on_body_bytes();
  }
  input_.commit(bytes);
  switch (phase_) {
    case phase::idle:
    case phase::header:
    case phase::body: return parse();
    case phase::lingering: input_.clear(); return read();
    case phase::handshake:
    case phase::handling:  // the next request, pipelined: it waits its turn, and so does reading on
    case phase::writing:
    case phase::closed: return;
  }
}

void connection::on_input_ended(error_code ec) {
  input_ended_ = true;
  switch (phase_) {
    case phase::header:
    case phase::body:
      if (ec == asio::error::operation_aborted) return refuse(408, "the request took too long to arrive");
      if (ec == asio::error::eof) return refuse(400, "the connection ended before the request did");
      return close();
    case phase::writing: return;  // the client may still read the answer
    case phase::handshake:
    case phase::idle:
    case phase::handling:
    case phase::lingering:
    case phase::closed: return close();
  }
}

void connection::parse() {
  if (phase_ == phase::idle) enter(phase::header, shared_.wanted.limits.header_time);
  while (true) {
    error_code ec;
    auto used = parser_->put(input_.data(), ec);
    input_.consume(used);
    if (ec && ec != beast::http::error::need_more) return refuse_unparsable(ec);
    if (body_ && body_->exhausted()) return refuse_exhausted();
    if (phase_ == phase::header && parser_->is_header_done()) return on_header();
    if (phase_ == phase::body && parser_->is_done()) return handle();
    if (!ec && used != 0) continue;
    if (input_.size() == input_.max_size()) return refuse(431, "the header is too large");
    return read();
  }
}

void connection::on_header() {
  const auto& head = parser_->get();
  keep_alive_ = parser_->keep_alive() && !shared_.draining;
  head_ = head.method() == beast::http::verb::head;
  const auto hosts = head.count(beast::http::field::host);
  if (hosts > 1 || (hosts == 0 && head.version() >= 11))
    return refuse(400, "an HTTP/1.1 request has one field Host");  // RFC 9112, 3.2
  auto coding = head[beast::http::field::transfer_encoding];
  if (!coding.empty() && !beast::iequals(coding, "chunked"))
    return refuse(501, "of all transfer codings only 'chunked' is understood");
  if (!fill_request()) return;
  if (shared_.wanted.gate) {
    auto passed = shared_.wanted.gate(request_);
    if (!passed) return turn_away(std::move(passed.error()));
    pass_ = std::move(*passed);
  }
  auto length = parser_->content_length();
  length_ = length ? static_cast<std::size_t>(*length) : 0;
  if (!parser_->chunked() && length_ == 0) return handle();

  auto expectation = head[beast::http::field::expect];
  if (expectation.empty() || head.version() < 11) return receive_body();
  if (!beast::iequals(expectation, "100-continue"))
    return refuse(417, "of all expectations only '100-continue' is understood");
  static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  enter(phase::body, shared_.wanted.limits.transfer_time);
  socket_.async_write(asio::buffer(go_on), [self = shared_from_this()](error_code ec, std::size_t) {
    if (self->phase_ == phase::closed) return;
    if (ec) return self->close();
    self->receive_body();
  });
}

bool connection::fill_request() {
  const auto& head = parser_->get();
  auto path = path_of({head.target().data(), head.target().size()});
  if (!path) {
    refuse(400, path.error().message);
    return false;
  }
  request_ = {};
  request_.path = std::move(*path);
  request_.method.assign(head.method_string().data(), head.method_string().size());
  for (const auto& field : head)
    request_.fields.emplace_back(std::string(field.name_string()), std::string(field.value()));
  return true;
}

void connection::receive_body() {
  enter(phase::body, shared_.wanted.limits.transfer_time);
  if (parser_->chunked()) {
    body_.emplace(shared_.bodies, shared_.wanted.limits.body_bytes, std::nullopt);
    on_chunk_ = [this](std::uint64_t, beast::string_view bytes, error_code&) {
      return body_->append(std::as_bytes(std::span(bytes.data(), bytes.size())));
    };
    parser_->on_chunk_body(on_chunk_);
    parser_->eager(true);
    return parse();
  }
  body_.emplace(shared_.bodies, shared_.wanted.limits.body_bytes, length_);
  auto have = std::min(length_, input_.size());
  input_.consume(body_->append({static_cast<const std::byte*>(input_.data().data()), have}));
  on_body_bytes();
}

void connection::on_body_bytes() {
  if (body_->exhausted()) return refuse_exhausted();
  if (body_->size() == length_) return handle();
  read();
}

}  // namespace shoal::http
