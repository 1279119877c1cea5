#include "http/connection.hpp"

#include <algorithm>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include "http/content_coding.hpp"
#include "http/pending_answer.hpp"
#include "http/target.hpp"

namespace shoal::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

namespace {

using namespace std::chrono_literals;

/// How long a client that was refused may go on sending before its socket is closed. (Closing at once while bytes come
/// in resets the connection, and the client might lose the answer that tells it why.)
constexpr auto linger_time = 2s;
/// Smaller answers are compressed where they are: it takes less than a quarter of a millisecond.
constexpr std::size_t compressed_at_once = std::size_t{16} << 10;
/// Answers up to this are not counted: health, errors and metrics go out when others take all the room for answers.
constexpr std::size_t uncounted_answer = std::size_t{64} << 10;
constexpr auto without_limit = std::chrono::milliseconds::max();

std::string head_of(const response& answer, bool keep_alive, unsigned http_version) {
  auto reason = beast::http::obsolete_reason(beast::http::int_to_status(answer.status));
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + ' ';
  head.append(reason.data(), reason.size());
  if (!answer.content_type.empty()) head.append("\r\nContent-Type: ").append(answer.content_type);
  for (const auto& [name, value] : answer.fields) head.append("\r\n").append(name).append(": ").append(value);
  head.append("\r\nContent-Length: ").append(std::to_string(answer.body_size()));
  if (!keep_alive) head.append("\r\nConnection: close");
  if (keep_alive && http_version == 10) head.append("\r\nConnection: keep-alive");
  head.append("\r\n\r\n");
  return head;
}

}  // namespace

environment::environment(options wanted_, handler handle_)
    : wanted(std::move(wanted_)),
      handle(std::move(handle_)),
      bodies(std::make_shared<byte_budget>(wanted.limits.body_bytes_total)),
      answers(std::make_shared<byte_budget>(wanted.limits.answer_bytes_total)),
      counters(wanted.registry, wanted.name) {}

asio::thread_pool& environment::coder() {
  if (!coder_) coder_.emplace(1);
  return *coder_;
}

expected<taken_bytes> environment::room_for_answer(std::size_t bytes) {
  if (bytes <= uncounted_answer) return taken_bytes();
  if (bytes > wanted.limits.answer_bytes_total)
    return fail(errc::too_large, "the answer's " + std::to_string(bytes) + " bytes are more than this server holds");
  while (true) {
    if (auto room = taken_bytes::take(answers, bytes)) return std::move(*room);
    auto since = steady::now() - wanted.limits.slow_reader_time;
    std::shared_ptr<connection> slowest;
    for (const auto& each : connections)
      if (const auto begun = each->writes_since(); begun && *begun <= since) {
        since = *begun;
        slowest = each;
      }
    if (!slowest)
      return fail(errc::overloaded,
                  "answers that wait to be read take all the memory there is for them: try again later");
    slowest->close();
  }
}

connection::connection(environment& shared, asio::ip::tcp::socket socket)
    : shared_(shared), socket_(std::move(socket)), input_(shared.wanted.limits.header_bytes + 4096) {
  error_code ignored;  // a socket option that cannot be set costs speed, not correctness
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

void connection::start() { next_request(); }

void connection::start_refused() {
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
      error_code ignored;
      socket_.cancel(ignored);
      break;
    }
    default: close();
  }
}

void connection::drain() {
  keep_alive_ = false;
  if (phase_ == phase::idle || phase_ == phase::lingering) close();
}

void connection::close() {
  if (phase_ == phase::closed) return;
  auto self = shared_from_this();
  auto was = std::exchange(phase_, phase::closed);
  closed_ = true;
  error_code ignored;  // the descriptor is gone in any case
  socket_.close(ignored);
  answer_bytes_.give_back();
  then_ = nullptr;
  shared_.connections.erase(self);
  shared_.counters.connection_closed();
  if (counted_) shared_.counters.request_abandoned();
  auto gone = std::exchange(on_disconnect_, nullptr);
  if (was == phase::handling && gone) gone();
  shared_.on_connection_closed();
}

// --- input ----------------------------------------------------------------------------------------------------------

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
  auto length = parser_->content_length();
  length_ = length ? static_cast<std::size_t>(*length) : 0;
  if (!parser_->chunked() && length_ == 0) return handle();

  auto expectation = head[beast::http::field::expect];
  if (expectation.empty() || head.version() < 11) return receive_body();
  if (!beast::iequals(expectation, "100-continue"))
    return refuse(417, "of all expectations only '100-continue' is understood");
  static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  enter(phase::body, shared_.wanted.limits.transfer_time);
  asio::async_write(socket_, asio::buffer(go_on), [self = shared_from_this()](error_code ec, std::size_t) {
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

// --- the answer -----------------------------------------------------------------------------------------------------

void connection::handle() {
  if (body_) request_.body = body_->take();
  body_.reset();
  enter(phase::handling, without_limit);
  handled_since_ = steady::now();
  counted_ = true;
  shared_.counters.request_started();
  wanted_coding_ = wanted_coding(request_);
  const auto format = content_coding(request_);
  if (!format)
    answer(error_response(415, format.error().message));
  else if (*format)
    inflate_body(**format);
  else
    hand_over();
  if (phase_ == phase::handling && !reading_ && input_.size() == 0) read();
}

void connection::inflate_body(coding format) {
  asio::post(shared_.coder(), [self = shared_from_this(), format, compressed = request_.body] {
    if (self->closed_) return;  // whoever wanted it has left meanwhile
    expected<buffer> bytes;
    try {
      bytes = inflate(format, compressed.bytes(), self->shared_.wanted.limits.body_bytes, self->shared_.bodies);
    } catch (const std::bad_alloc&) {
      bytes = fail(errc::overloaded, "there is no memory to inflate the body in: try again later");
    }
    asio::post(self->shared_.io, [self, bytes = std::move(bytes)]() mutable {
      if (self->phase_ != phase::handling) return;
      if (!bytes) return self->answer(error_response({bytes.error().code, "the body: " + bytes.error().message}));
      self->request_.body = std::move(*bytes);
      self->hand_over();
    });
  });
}

void connection::hand_over() {
  auto pending = std::make_shared<pending_answer>(shared_.shared_from_this(), weak_from_this());
  try {
    shared_.handle(std::move(request_), responder(std::move(pending)));
  } catch (const std::exception& defect) {
    // A defect of the handler, or no memory: this client is told, the others are served on.
    answer(error_response(500, std::string("the request could not be handled: ") + defect.what()));
  }
}

void connection::on_disconnect(std::function<void()> gone) {
  if (phase_ == phase::handling) on_disconnect_ = std::move(gone);
}

void connection::answer(response answer) {
  if (phase_ != phase::handling) return;
  on_disconnect_ = nullptr;
  counted_ = false;
  auto room = shared_.room_for_answer(answer.body_size());
  if (room)
    answer_bytes_ = std::move(*room);
  else
    answer = error_response(room.error());
  shared_.counters.request_answered(answer.status, steady::now() - handled_since_);
  send(std::move(answer));
}

void connection::answer_aside(std::function<response()> make) {
  if (phase_ != phase::handling) return;
  auto made = std::make_shared<std::optional<response>>();
  aside([made, make = std::move(make)] { *made = make(); }, [this, made] { answer(std::move(**made)); });
}

void connection::aside(std::function<void()> work, std::function<void()> then) {
  if (phase_ != phase::handling) return;
  then_ = std::move(then);
  asio::post(shared_.coder(), [self = shared_from_this(), work = std::move(work)] {
    if (self->closed_) return;
    std::string defect;
    try {
      work();
    } catch (const std::exception& thrown) {
      defect = thrown.what();
    }
    asio::post(self->shared_.io, [self, defect = std::move(defect)] {
      const auto go_on = std::exchange(self->then_, nullptr);
      if (self->phase_ != phase::handling) return;
      if (defect.empty()) return go_on();
      self->answer(error_response(500, "the request could not be handled: " + defect));
    });
  });
}

std::optional<time_point> connection::writes_since() const {
  if (phase_ != phase::writing || answer_bytes_.size() == 0) return std::nullopt;
  return entered_;
}

void connection::send(response answer) {
  const auto size = answer.body_size();
  // Whoever keeps answers must know what this one depends on.
  if (size >= least_compressed) answer.fields.emplace_back("Vary", "Accept-Encoding");
  if (!wanted_coding_ || size < least_compressed) return write(std::move(answer));
  if (size <= compressed_at_once) return write(compress(std::move(answer), *wanted_coding_));
  asio::post(shared_.coder(), [self = shared_from_this(), answer = std::move(answer)]() mutable {
    if (self->closed_) return;
    answer = compress(std::move(answer), *self->wanted_coding_);
    asio::post(self->shared_.io, [self, answer = std::move(answer)]() mutable {
      if (self->phase_ == phase::handling) self->write(std::move(answer));
    });
  });
}

void connection::refuse(unsigned status, std::string_view message) {
  keep_alive_ = false;
  shared_.counters.request_refused(status);
  write(error_response(status, message));
}

void connection::refuse_unparsable(error_code ec) {
  using beast::http::error;
  const auto& limits = shared_.wanted.limits;
  if (ec == error::header_limit)
    return refuse(431, "the header is longer than the limit of " + std::to_string(limits.header_bytes) + " bytes");
  if (ec == error::body_limit)
    return refuse(413, "the body is longer than the limit of " + std::to_string(limits.body_bytes) + " bytes");
  if (ec == error::bad_version) return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  refuse(400, "this is not an HTTP/1.1 request: " + ec.message());
}

void connection::refuse_exhausted() {
  keep_alive_ = false;
  shared_.counters.request_refused(503);
  write(error_response(
      {errc::overloaded, "the bodies of other requests take all the memory there is for them: try again later"}));
}

void connection::write(response answer) {
  if (shared_.draining) keep_alive_ = false;
  auto version = parser_ && parser_->is_header_done() ? parser_->get().version() : 11;
  head_text_ = head_of(answer, keep_alive_, version);
  response_ = std::move(answer);
  std::vector<asio::const_buffer> parts{asio::buffer(head_text_)};
  if (!head_)
    for (const auto& part : response_.body) parts.emplace_back(part.data(), part.size());
  enter(phase::writing, shared_.wanted.limits.transfer_time);
  asio::async_write(socket_, parts, [self = shared_from_this()](error_code ec, std::size_t) { self->on_written(ec); });
}

void connection::on_written(error_code ec) {
  response_ = {};
  answer_bytes_.give_back();
  if (phase_ == phase::closed) return;
  if (ec) return close();
  if (keep_alive_ && !input_ended_) return next_request();
  error_code ignored;  // a peer that has gone already is what the read below finds out
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  if (input_ended_) return close();
  body_.reset();
  enter(phase::lingering, linger_time);
  input_.clear();
  if (!reading_) read();
}

}  // namespace shoal::http
