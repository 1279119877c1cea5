// Open Inference Protocol v2 over HTTP/1.1: a pool of keep-alive connections on the engine's own thread, which runs
// Asio's loop in `poll`. A request takes the connection that was free last; when all are busy the pool grows, and when
// it may not, the request waits its turn, which its latency counts. A connection that the server closed while it was
// idle is noticed only by writing to it: a request that could not be written to a kept connection, or that got no byte
// of an answer on one that had been idle, is sent once more on a fresh one, and says so. Any other that was written may
// have reached the server, and breaking the connection is then its answer.
#include <deque>
#include <limits>
#include <unordered_map>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "services/mesh/bench/oip_http.hpp"

namespace shoal::services::bench {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t default_connections = 512;

class http_target final : public target {
 public:
  http_target(http_address to, tcp::resolver::results_type endpoints, const target_options& options)
      : to_(std::move(to)),
        endpoints_(std::move(endpoints)),
        json_(options.json_tensors),
        check_(options.check),
        most_connections_(options.connections == 0 ? default_connections : options.connections) {}

  ~http_target() override {
    abandon();
    io_.poll();  // the handlers of what was closed
  }

  expected<model_interface> describe(const std::string& model, std::uint64_t version, milliseconds within) override {
    const auto text = std::make_shared<std::string>(metadata_request(to_, model, version));
    keeps_body_ = true;
    job asked{++last_, text, {}, steady::now(), false};
    const auto which = asked.which;
    place(std::move(asked));
    std::vector<ended> heard;
    for (const auto until = steady::now() + within; heard.empty() && steady::now() < until;) poll(until, heard);
    keeps_body_ = false;
    if (heard.empty()) {
      abandon();
      return fail(errc::deadline_exceeded, "http://" + to_.authority() + " does not answer in time");
    }
    if (heard.front().failure) return fail(*heard.front().failure, heard.front().reason);
    auto described = read_metadata(bodies_[which]);
    bodies_.clear();
    if (described) outputs_[model] = described->outputs;
    return described;
  }

  expected<std::size_t> prepare(const call& request) override {
    auto text = infer_request(to_, request, json_);
    if (!text) return tl::unexpected(text.error());
    prepared_.push_back({std::make_shared<std::string>(std::move(*text)), request.model});
    const auto& made = *prepared_.back().text;
    return made.size() - made.find("\r\n\r\n") - 4;
  }

  ticket send(std::size_t prepared) override {
    const auto& request = prepared_[prepared];
    place({++last_, request.text, request.model, steady::now(), false});
    return last_;
  }

  void poll(time_point until, std::vector<ended>& into) override {
    // Asio's own run_until sleeps in whole milliseconds; its timers do not.
    if (until != alarm_at_) {
      alarm_at_ = until;
      alarm_.expires_at(until);
      alarm_.async_wait([this, until](error_code wrong) {
        if (!wrong && alarm_at_ == until) alarm_at_ = {};
      });
    }
    if (until <= steady::now()) {
      io_.poll();
    } else {
      while (ended_.empty() && steady::now() < until) io_.run_one();
      io_.poll();
    }
    for (auto& each : ended_) into.push_back(std::move(each));
    ended_.clear();
  }

  void abandon() override {
    waiting_.clear();
    for (const auto& each : busy_) {
      each->given_up = true;
      error_code ignored;  // it is closed either way
      each->socket.close(ignored);
    }
    open_ -= busy_.size();
    busy_.clear();
  }

 private:
  struct job {
    ticket which;
    std::shared_ptr<const std::string> text;
    std::string model;
    time_point since;
    bool again;
  };
  struct connection {
    explicit connection(asio::io_context& io) : socket(io) {}
    tcp::socket socket;
    beast::flat_buffer received;
    std::optional<http::response_parser<http::string_body>> parser;
    job current;
    microseconds waited{};
    bool fresh = true;
    bool was_idle = false;  ///< before `current`
    bool given_up = false;
    std::size_t place = 0;  ///< in busy_
  };
  using connection_pointer = std::shared_ptr<connection>;
  struct encoded {
    std::shared_ptr<const std::string> text;
    std::string model;
  };

  void place(job next) {
    if (!idle_.empty() && !next.again) {
      auto with = std::move(idle_.back());
      idle_.pop_back();
      with->was_idle = true;
      return begin(std::move(with), std::move(next));
    }
    if (open_ >= most_connections_ &&
        !idle_.empty()) {  // a second try wants a fresh connection: an idle one makes room
      idle_.erase(idle_.begin());
      --open_;
    }
    if (open_ >= most_connections_) return waiting_.push_back(std::move(next));
    ++open_;
    auto with = std::make_shared<connection>(io_);
    take(with, std::move(next));
    asio::async_connect(with->socket, endpoints_, [this, with](error_code wrong, const tcp::endpoint&) {
      if (with->given_up) return;
      if (wrong) return lose(with, wrong, false);
      with->socket.set_option(tcp::no_delay(true), wrong);
      write(with);
    });
  }

  void begin(connection_pointer with, job next) {
    take(with, std::move(next));
    write(with);
  }

  void take(const connection_pointer& with, job next) {
    with->current = std::move(next);
    with->parser.reset();
    with->waited = std::chrono::duration_cast<microseconds>(steady::now() - with->current.since);
    with->place = busy_.size();
    busy_.push_back(with);
  }

  void write(const connection_pointer& with) {
    asio::async_write(with->socket, asio::buffer(*with->current.text), [this, with](error_code wrong, std::size_t) {
      if (with->given_up) return;
      if (wrong) return lose(with, wrong, false);
      read(with);
    });
  }

  void read(const connection_pointer& with) {
    with->parser.emplace();
    // Not boost::none: Beast 1.74 takes that for a limit of nothing when an answer's head comes without its body.
    with->parser->body_limit(std::numeric_limits<std::uint64_t>::max());
    http::async_read(with->socket, with->received, *with->parser, [this, with](error_code wrong, std::size_t) {
      if (with->given_up) return;
      if (wrong) return lose(with, wrong, true);
      answer(with);
    });
  }

  void answer(const connection_pointer& with) {
    const auto& message = with->parser->get();
    ended one;
    one.which = with->current.which;
    one.at = steady::now();
    one.waited = with->waited;
    one.second_try = with->current.again;
    one.bytes = message.body().size();
    if (message.result_int() != 200) {
      one.failure = code_of_status(message.result_int());
      one.reason = reason_of(message.result_int(), message.body());
    } else if (keeps_body_) {
      bodies_[one.which] = message.body();
    } else if (check_) {
      one.reason = why_wrong_answer(message, with->current.model);
      if (!one.reason.empty()) one.failure = errc::corrupt;
    }
    ended_.push_back(std::move(one));
    const bool keep = message.keep_alive();
    leave(with);
    with->fresh = with->was_idle = false;
    if (!keep) {
      --open_;
      if (waiting_.empty()) return;
      auto next = take_waiting();
      return place(std::move(next));
    }
    if (waiting_.empty()) return idle_.push_back(with);
    begin(with, take_waiting());
  }

  std::string why_wrong_answer(const http::response<http::string_body>& message, const std::string& model) const {
    auto json_length = std::string_view::npos;
    if (const auto field = message.find("Inference-Header-Content-Length"); field != message.end())
      json_length = std::strtoull(std::string(field->value()).c_str(), nullptr, 10);
    const auto specs = outputs_.find(model);
    return why_wrong_body(message.body(), json_length,
                          specs == outputs_.end() ? std::vector<protocol::tensor_spec>{} : specs->second);
  }

  /// The connection is gone, and with it its request, unless it may be sent again.
  void lose(const connection_pointer& with, error_code why, bool written) {
    const bool unheard = !written || (with->was_idle && !with->parser->got_some());
    const bool again = !with->fresh && !with->current.again && unheard;
    auto request = std::move(with->current);
    const auto waited = with->waited;
    leave(with);
    --open_;
    if (again) {
      request.again = true;
      return place(std::move(request));
    }
    ended one;
    one.which = request.which;
    one.at = steady::now();
    one.waited = waited;
    one.second_try = request.again;
    one.failure = errc::unavailable;
    one.reason = "http://" + to_.authority() + " cannot be reached: " + why.message();
    ended_.push_back(std::move(one));
    if (!waiting_.empty()) place(take_waiting());
  }

  void leave(const connection_pointer& with) {
    busy_[with->place] = busy_.back();
    busy_[with->place]->place = with->place;
    busy_.pop_back();
  }

  job take_waiting() {
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    return next;
  }

  const http_address to_;
  const tcp::resolver::results_type endpoints_;
  const bool json_, check_;
  const std::size_t most_connections_;
  asio::io_context io_{1};
  /// A loop that has run out of work stops for good.
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer alarm_{io_};
  time_point alarm_at_{};
  std::vector<encoded> prepared_;
  std::unordered_map<std::string, std::vector<protocol::tensor_spec>> outputs_;
  std::unordered_map<ticket, std::string> bodies_;
  bool keeps_body_ = false;
  std::size_t open_ = 0;  ///< connections, busy and idle
  std::vector<connection_pointer> idle_;
  std::vector<connection_pointer> busy_;
  std::deque<job> waiting_;
  std::vector<ended> ended_;
  ticket last_ = 0;
};

}  // namespace

expected<std::unique_ptr<target>> connect_http(const std::string& address, const target_options& options) {
  auto to = read_address(address);
  if (!to) return tl::unexpected(to.error());
  to->token = options.token;
  asio::io_context io;
  tcp::resolver resolver(io);
  error_code wrong;
  auto endpoints = resolver.resolve(to->host, to->port, wrong);
  if (wrong) return fail(errc::unavailable, "http://" + to->authority() + " cannot be reached: " + wrong.message());
  return std::make_unique<http_target>(std::move(*to), std::move(endpoints), options);
}

}  // namespace shoal::services::bench
