// One accepted socket: a state machine on the server's thread that reads a request, hands it to the handler, writes the
// answer, and begins again. Internal to actors/http (Beast and Asio are slow to compile and stay in here).
//
//   (handshake ->) idle -> header -> body -> handling -> writing -> idle ...      any error -> writing -> lingering ->
//   closed
//
// Requests are taken one at a time, also when a client pipelines them. One read is always under way while there is room
// for what it brings, also during handling: that is how a client that leaves is noticed. While that read is under way
// `input_` is empty, so its memory does not move.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "core/bounded_bytes.hpp"
#include "core/clock.hpp"
#include "core/compression.hpp"
#include "http/certificate.hpp"
#include "http/server.hpp"
#include "http/traffic.hpp"
#include "http/transport.hpp"

namespace shoal::http {

class connection;

/// What the connections of a server share. Responders keep it alive after the server has stopped, so that they can
/// still be called; `connections` is empty by then.
struct environment : std::enable_shared_from_this<environment> {
  environment(options wanted, handler handle);

  boost::asio::io_context io{1};
  options wanted;
  std::shared_ptr<http::certificate> certificate;  ///< null: in the clear
  handler handle;
  std::shared_ptr<byte_budget> bodies;
  std::shared_ptr<byte_budget> answers;
  traffic counters;
  std::unordered_set<std::shared_ptr<connection>> connections;
  std::function<void()> on_connection_closed;
  bool draining = false;

  /// A thread for long work (compressed bodies, long JSON), made when the first of it comes: it would keep all other
  /// connections waiting. What
  /// it runs may use the environment, which waits for it in the end, and must not own it.
  boost::asio::thread_pool& coder();

  /// For an answer until it is written. If others take all of it, connections whose clients do not read are closed, the
  /// slowest first. Errors: too_large, overloaded.
  expected<taken_bytes> room_for_answer(std::size_t bytes);

 private:
  std::optional<boost::asio::thread_pool> coder_;
};

class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(environment& shared, boost::asio::ip::tcp::socket socket);

  void start();
  /// Answers 503 without reading anything: the server has all the connections it takes.
  void start_refused();
  /// Ends the connection if what it does takes too long.
  void check(time_point now);
  /// No further request: ends at once if none is under way.
  void drain();
  void close();

  void answer(response answer);
  void answer_aside(std::function<response()> make);
  void aside(std::function<void()> work, std::function<void()> then);
  /// When the write under way began that holds room for answers; nothing: there is none.
  [[nodiscard]] std::optional<time_point> writes_since() const;
  void on_disconnect(std::function<void()> gone);

 private:
  enum class phase { handshake, idle, header, body, handling, writing, lingering, closed };
  // The parser reads the header, and a chunked body; a body of known length is received without it, in place.
  using parser = boost::beast::http::request_parser<boost::beast::http::empty_body>;

  static constexpr auto without_limit = std::chrono::milliseconds::max();
  void enter(phase next, std::chrono::milliseconds time_allowed);
  void next_request();
  void read();
  void on_read(boost::system::error_code ec, std::size_t bytes, bool in_place);
  void on_input_ended(boost::system::error_code ec);
  void parse();
  void on_header();
  void receive_body();
  void on_body_bytes();
  bool fill_request();
  void handle();
  void inflate_body(coding format);
  void hand_over();
  void refuse(unsigned status, std::string_view message);
  void turn_away(response answer);
  void refuse_unparsable(boost::system::error_code ec);
  void refuse_exhausted();
  void send(response answer);
  void write(response answer);
  void on_written(boost::system::error_code ec);

  environment& shared_;
  transport socket_;
  phase phase_ = phase::idle;
  time_point expires_;
  time_point entered_;
  time_point handled_since_;

  boost::beast::flat_buffer input_;
  std::atomic<bool> closed_{false};  // read by the coder, too
  bool reading_ = false;
  bool input_ended_ = false;
  bool keep_alive_ = true;
  bool head_ = false;     // the answer has no body (HEAD)
  bool counted_ = false;  // this answer belongs to a request that was counted in flight

  std::optional<parser> parser_;
  std::function<std::size_t(std::uint64_t, boost::beast::string_view, boost::system::error_code&)> on_chunk_;
  std::optional<bounded_bytes> body_;
  std::size_t length_ = 0;  // of a body that is not chunked
  request request_;
  std::shared_ptr<const void> pass_;     // of the gate
  std::optional<coding> wanted_coding_;  // of the answer
  std::function<void()> on_disconnect_;
  std::function<void()> then_;  // after what is done aside

  std::string head_text_;
  response response_;  // alive until written
  taken_bytes answer_bytes_;
};

}  // namespace shoal::http
