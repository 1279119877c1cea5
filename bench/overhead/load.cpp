#include "overhead/load.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "link/client.hpp"

namespace shoal::bench {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

double seconds_since(clock::time_point begin) { return std::chrono::duration<double>(clock::now() - begin).count(); }

void need(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}

// --- the raw relay --------------------------------------------------------------------------------------------------

class raw final : public load {
 public:
  raw(const std::string& endpoint, std::size_t bytes) : payload_(bytes, 'x'), context_(zmq_ctx_new()) {
    socket_ = zmq_socket(context_, ZMQ_DEALER);
    const int none = 0;
    const int timeout = 10000;
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    need(zmq_connect(socket_, endpoint.c_str()) == 0, "cannot reach " + endpoint);
  }
  ~raw() override {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

  latency one_by_one(int requests) override {
    return measure(requests, [this] {
      send();
      receive();
    });
  }

  double saturated(int requests, int window) override {
    const auto begin = clock::now();
    for (int i = 0; i < window; ++i) send();
    for (int i = window; i < requests; ++i) {
      receive();
      send();
    }
    for (int i = 0; i < window; ++i) receive();
    return requests / seconds_since(begin);
  }

 private:
  void send() {
    zmq_msg_t message;  // the payload lives as long as this load, so nothing is freed
    zmq_msg_init_data(
        &message, payload_.data(), payload_.size(), [](void*, void*) {}, nullptr);
    need(zmq_msg_send(&message, socket_, 0) >= 0, "the raw relay takes nothing");
  }
  void receive() {
    zmq_msg_t message;
    zmq_msg_init(&message);
    need(zmq_msg_recv(&message, socket_, 0) == static_cast<int>(payload_.size()), "the raw relay does not answer");
    zmq_msg_close(&message);
  }

  std::string payload_;
  void* context_;
  void* socket_;
};

// --- the native door ------------------------------------------------------------------------------------------------

class native final : public load {
 public:
  native(const std::string& endpoint, std::size_t bytes) {
    auto client = link::client::connect(endpoint, 10s);
    need(client.has_value(), client ? "" : client.error().message);
    client_ = std::move(*client);
    request_.model = "identity";
    const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
    const auto width = std::min<std::int64_t>(count, 4096);
    tensor x{"x", dtype::fp32, {count / width, width}, {}};
    x.data = buffer::make(bytes, [&](std::byte* to) { std::fill_n(to, bytes, std::byte{0}); });
    request_.inputs = {std::move(x)};
  }

  latency one_by_one(int requests) override {
    return measure(requests, [this] { check(client_->infer(request_, 10s)); });
  }

  double saturated(int requests, int window) override {
    std::mutex mutex;
    std::condition_variable changed;
    int in_flight = 0;
    int answered = 0;
    std::string wrong;
    const auto begin = clock::now();
    for (int i = 0; i < requests; ++i) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return in_flight < window; });
        ++in_flight;
      }
      client_->submit(request_, 30s, [&](const protocol::outcome& outcome) {
        std::lock_guard lock(mutex);
        if (!outcome.result) wrong = outcome.result.error().message;
        --in_flight;
        ++answered;
        changed.notify_one();
      });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answered == requests; });
    need(wrong.empty(), wrong);
    return requests / seconds_since(begin);
  }

 private:
  void check(const protocol::outcome& outcome) {
    need(outcome.result.has_value(), outcome.result ? "" : outcome.result.error().message);
    need(outcome.result->front().data.size() == request_.inputs.front().data.size(), "the answer has another size");
  }

  std::unique_ptr<link::client> client_;
  protocol::infer request_;
};

// --- the HTTP door --------------------------------------------------------------------------------------------------

/// A keep-alive connection that knows just enough HTTP for its own requests.
class connection {
 public:
  explicit connection(const std::string& address) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const auto colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
    need(::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0, "cannot reach " + address);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~connection() { ::close(socket_); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  void exchange(const std::string& request, std::size_t answer_bytes) {
    for (std::size_t at = 0; at < request.size();) {
      const auto wrote = ::send(socket_, request.data() + at, request.size() - at, MSG_NOSIGNAL);
      need(wrote > 0, "the HTTP door closed the connection");
      at += static_cast<std::size_t>(wrote);
    }
    received_.clear();
    std::size_t total = 0;
    while (total == 0 || received_.size() < total) {
      const auto old = received_.size();
      received_.resize(std::max<std::size_t>(old + 65536, total));
      const auto got = ::recv(socket_, received_.data() + old, received_.size() - old, 0);
      need(got > 0, "the HTTP door closed the connection");
      received_.resize(old + static_cast<std::size_t>(got));
      if (total == 0) total = length();
    }
    need(received_.starts_with("HTTP/1.1 200") && total > answer_bytes, received_.substr(0, 300));
  }

 private:
  /// Of the whole answer, or 0 while its header is not complete.
  [[nodiscard]] std::size_t length() const {
    const auto end = received_.find("\r\n\r\n");
    if (end == std::string::npos) return 0;
    const auto field = received_.find("\r\nContent-Length: ");
    need(field != std::string::npos && field < end, "an answer without Content-Length");
    return end + 4 + std::stoul(received_.substr(field + 18));
  }

  int socket_;
  std::string received_;
};

class http final : public load {
 public:
  http(std::string address, std::size_t bytes) : address_(std::move(address)), bytes_(bytes) {
    const auto count = bytes / sizeof(float);
    const auto width = std::min<std::size_t>(count, 4096);
    const auto header = R"({"inputs":[{"name":"x","datatype":"FP32","shape":[)" + std::to_string(count / width) + "," +
                        std::to_string(width) + R"(],"parameters":{"binary_data_size":)" + std::to_string(bytes) +
                        R"(}}],"parameters":{"binary_data_output":true}})";
    request_ = "POST /v2/models/identity/infer HTTP/1.1\r\nHost: " + address_ +
               "\r\nInference-Header-Content-Length: " + std::to_string(header.size()) +
               "\r\nContent-Length: " + std::to_string(header.size() + bytes) + "\r\n\r\n" + header +
               std::string(bytes, '\0');
  }

  latency one_by_one(int requests) override {
    connection to(address_);
    return measure(requests, [&] { to.exchange(request_, bytes_); });
  }

  double saturated(int requests, int window) override {
    std::atomic<int> left{requests};
    std::mutex mutex;
    std::string wrong;
    std::vector<std::thread> threads;
    const auto begin = clock::now();
    for (int i = 0; i < window; ++i)
      threads.emplace_back([&] {
        try {
          connection to(address_);
          while (left-- > 0) to.exchange(request_, bytes_);
        } catch (const std::exception& problem) {
          std::lock_guard lock(mutex);
          wrong = problem.what();
        }
      });
    for (auto& thread : threads) thread.join();
    need(wrong.empty(), wrong);
    return requests / seconds_since(begin);
  }

 private:
  std::string address_;
  std::size_t bytes_;
  std::string request_;
};

}  // namespace

latency measure(int requests, const std::function<void()>& one) {
  for (int i = 0; i < requests / 10; ++i) one();
  std::vector<double> times;
  for (int i = 0; i < requests; ++i) {
    const auto begin = clock::now();
    one();
    times.push_back(seconds_since(begin) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

std::unique_ptr<load> raw_load(const std::string& endpoint, std::size_t bytes) {
  return std::make_unique<raw>(endpoint, bytes);
}
std::unique_ptr<load> native_load(const std::string& endpoint, std::size_t bytes) {
  return std::make_unique<native>(endpoint, bytes);
}
std::unique_ptr<load> http_load(const std::string& address, std::size_t bytes) {
  return std::make_unique<http>(address, bytes);
}

}  // namespace shoal::bench
