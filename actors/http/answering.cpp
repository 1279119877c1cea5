// Of a connection: from a whole request to its answer and what follows it.
#include "http/connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include "http/content_coding.hpp"
#include "http/pending_answer.hpp"

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

/// With what the gate says. Whoever asked may ask again, with a token, unless a body is on its way that nobody reads.
void connection::turn_away(response answer) {
  if (parser_->chunked() || parser_->content_length().value_or(0) != 0) keep_alive_ = false;
  shared_.counters.request_refused(answer.status);
  write(std::move(answer));
}

void connection::refuse_exhausted() {
  keep_alive_ = false;
  shared_.counters.request_refused(503);
  write(error_response(
      {errc::overloaded, "the bodies of other requests take all the memory there is for them: try again later"}));
}

void connection::write(response answer) {
  if (shared_.draining) keep_alive_ = false;
  pass_.reset();  // whoever has read this answer may ask again
  auto version = parser_ && parser_->is_header_done() ? parser_->get().version() : 11;
  head_text_ = head_of(answer, keep_alive_, version);
  response_ = std::move(answer);
  std::vector<asio::const_buffer> parts{asio::buffer(head_text_)};
  if (!head_)
    for (const auto& part : response_.body) parts.emplace_back(part.data(), part.size());
  enter(phase::writing, shared_.wanted.limits.transfer_time);
  socket_.async_write(parts, [self = shared_from_this()](error_code ec, std::size_t) { self->on_written(ec); });
}

void connection::on_written(error_code ec) {
  response_ = {};
  answer_bytes_.give_back();
  if (phase_ == phase::closed) return;
  if (ec) return close();
  if (keep_alive_ && !input_ended_) return next_request();
  socket_.end_writing(shared_from_this());
  if (input_ended_) return close();
  body_.reset();
  enter(phase::lingering, linger_time);
  input_.clear();
  if (!reading_) read();
}

}  // namespace shoal::http
