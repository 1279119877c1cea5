#include <deque>
#include <thread>
#include <utility>

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <nlohmann/json.hpp>

#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using nlohmann::json;

constexpr std::uint64_t most_bytes = std::uint64_t{1} << 30;  ///< of one answer

/// Why an answer is none; nothing: it is.
std::optional<errc> meaning_of(unsigned status) {
  switch (status) {
    case 200: return std::nullopt;
    case 400:
    case 413: return errc::invalid_argument;
    case 404: return errc::not_found;
    case 429:
    case 503: return errc::overloaded;
    case 408:
    case 504: return errc::deadline_exceeded;
    default: return errc::internal;
  }
}

struct job {
  const std::string* bytes = nullptr;
  target::done on_end;
};

class pool;

class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(asio::io_context& io, pool& owner) : stream_(io), owner_(owner) {}
  void open(const tcp::endpoint& to, job first);
  void run(job next);

 private:
  void read();
  void end(std::optional<errc> how, bool reusable);

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  job job_;
  pool& owner_;
};

/// Lives on one thread, the one that runs `io`.
class pool {
 public:
  pool(asio::io_context& io, tcp::endpoint to, std::size_t most, milliseconds timeout)
      : timeout(timeout), io_(io), to_(std::move(to)), most_(most) {}

  void take(job one) {
    if (!idle_.empty()) {
      auto warm = std::move(idle_.back());
      idle_.pop_back();
      warm->run(std::move(one));
    } else if (open_ < most_) {
      ++open_;
      std::make_shared<connection>(io_, *this)->open(to_, std::move(one));
    } else {
      waiting_.push_back(std::move(one));
    }
  }
  void is_free(std::shared_ptr<connection> one) {
    if (waiting_.empty()) return idle_.push_back(std::move(one));
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    one->run(std::move(next));
  }
  void is_gone() {
    --open_;
    if (waiting_.empty()) return;
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    take(std::move(next));
  }

  milliseconds timeout;

 private:
  asio::io_context& io_;
  tcp::endpoint to_;
  std::size_t most_;
  std::size_t open_ = 0;
  std::vector<std::shared_ptr<connection>> idle_;
  std::deque<job> waiting_;
};

void connection::open(const tcp::endpoint& to, job first) {
  job_ = std::move(first);
  stream_.expires_after(owner_.timeout);
  stream_.async_connect(to, [self = shared_from_this()](beast::error_code problem) {
    if (problem) return self->end(errc::unavailable, false);
    beast::error_code ignored;  // without it, small requests are slower, and that shows
    self->stream_.socket().set_option(tcp::no_delay(true), ignored);
    self->run(std::move(self->job_));
  });
}

void connection::run(job next) {
  job_ = std::move(next);
  stream_.expires_after(owner_.timeout);
  asio::async_write(stream_, asio::buffer(*job_.bytes), [self = shared_from_this()](beast::error_code problem, auto) {
    if (problem) return self->end(errc::unavailable, false);
    self->read();
  });
}

void connection::read() {
  parser_.emplace();
  parser_->body_limit(most_bytes);
  http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code problem, auto) {
    if (problem == beast::error::timeout) return self->end(errc::deadline_exceeded, false);
    if (problem) return self->end(errc::unavailable, false);
    self->end(meaning_of(self->parser_->get().result_int()), self->parser_->keep_alive());
  });
}

void connection::end(std::optional<errc> how, bool reusable) {
  const auto self = shared_from_this();
  auto told = std::exchange(job_, {});
  if (reusable)
    owner_.is_free(self);
  else
    owner_.is_gone();
  told.on_end(how);
}

std::string body_of(const protocol::infer& request) {
  json inputs = json::array();
  std::string tensors;
  for (const auto& input : request.inputs) {
    inputs.push_back({{"name", input.name},
                      {"datatype", name_of(input.type)},
                      {"shape", input.dims},
                      {"parameters", {{"binary_data_size", input.data.size()}}}});
    tensors.append(reinterpret_cast<const char*>(input.data.data()), input.data.size());
  }
  json parameters{{"binary_data_output", true}};
  if (request.time_left.count() != 0) parameters["timeout"] = request.time_left.count();
  if (request.priority != protocol::priority::standard)
    parameters["priority"] = request.priority == protocol::priority::critical ? "critical" : "batch";
  const auto header = json{{"inputs", inputs}, {"parameters", parameters}}.dump();
  return "Inference-Header-Content-Length: " + std::to_string(header.size()) +
         "\r\nContent-Length: " + std::to_string(header.size() + tensors.size()) + "\r\n\r\n" + header + tensors;
}

class http_door final : public target {
 public:
  http_door(std::string address, tcp::endpoint to, std::size_t connections, milliseconds timeout)
      : address_(std::move(address)), to_(to), pool_(io_, to, connections, timeout), thread_([this] { io_.run(); }) {}
  ~http_door() override {
    work_.reset();
    io_.stop();
    thread_.join();
  }

  expected<protocol::model_spec> spec(const std::string& model, std::uint64_t version) override {
    asio::io_context own;
    beast::tcp_stream stream(own);
    beast::error_code problem;
    stream.socket().connect(to_, problem);
    http::request<http::empty_body> asked{http::verb::get, path_of(model, version), 11};
    asked.set(http::field::host, address_);
    beast::flat_buffer buffer;
    http::response<http::string_body> answer;
    if (!problem) http::write(stream, asked, problem);
    if (!problem) http::read(stream, buffer, answer, problem);
    if (problem) return fail(errc::unavailable, "no server answers at http://" + address_ + ": " + problem.message());
    if (answer.result_int() != 200)
      return fail(meaning_of(answer.result_int()).value_or(errc::internal),
                  "http://" + address_ + std::string(asked.target()) + ": " + answer.body().substr(0, 300));
    return read_spec(model, version, answer.body());
  }

  expected<void> prepare(std::vector<protocol::infer> requests) override {
    for (const auto& request : requests)
      requests_.push_back("POST " + path_of(request.model, request.version) + "/infer HTTP/1.1\r\nHost: " + address_ +
                          "\r\nContent-Type: application/octet-stream\r\n" + body_of(request));
    return {};
  }

  void send(std::size_t which, done on_end) override {
    asio::post(io_, [this, which, on_end = std::move(on_end)]() mutable {
      pool_.take({&requests_[which], std::move(on_end)});
    });
  }

 private:
  static std::string path_of(const std::string& model, std::uint64_t version) {
    return "/v2/models/" + model + (version == 0 ? "" : "/versions/" + std::to_string(version));
  }

  static expected<protocol::model_spec> read_spec(const std::string& model, std::uint64_t version,
                                                  const std::string& text) {
    protocol::model_spec spec;
    spec.name = model;
    spec.version = version;
    try {
      const auto told = json::parse(text);
      for (const auto& each : told.at("inputs")) {
        const auto type = parse_dtype(each.at("datatype").get<std::string>());
        if (!type) return fail(errc::unsupported, "input " + each.at("name").dump() + " is of an unknown datatype");
        protocol::tensor_spec input{each.at("name").get<std::string>(), *type, {}, 0};
        for (const auto& size : each.at("shape"))
          input.dims.push_back(size.get<std::int64_t>() < 0 ? protocol::dimension{1, 1 << 30, "free"}
                                                            : protocol::dimension::fixed(size.get<std::int64_t>()));
        spec.inputs.push_back(std::move(input));
      }
    } catch (const json::exception& wrong) {
      return fail(errc::incompatible, std::string("the model's metadata is not that of the protocol: ") + wrong.what());
    }
    return spec;
  }

  std::string address_;
  tcp::endpoint to_;
  std::vector<std::string> requests_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  pool pool_;
  std::thread thread_;
};

}  // namespace

expected<std::unique_ptr<target>> http_target(const std::string& address, std::size_t connections,
                                              milliseconds timeout) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return fail(errc::invalid_argument, "http://" + address + ": write http://HOST:PORT");
  asio::io_context io;
  beast::error_code problem;
  const auto found = tcp::resolver(io).resolve(address.substr(0, colon), address.substr(colon + 1), problem);
  if (problem || found.empty())
    return fail(errc::unavailable, "http://" + address + " cannot be resolved: " + problem.message());
  return std::make_unique<http_door>(address, found.begin()->endpoint(), connections, timeout);
}

}  // namespace shoal::services::bench
