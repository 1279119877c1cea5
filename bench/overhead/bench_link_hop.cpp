// One hop there and back: two links, one of which answers each request on its poll thread, against a DEALER and a
// ROUTER that do the same with bare frames. Both in one process with a ZeroMQ context per side, taken in turns.
#include <zmq.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <unistd.h>

#include "link/client.hpp"
#include "link/socket.hpp"
#include "link/zmq_link.hpp"
#include "overhead/spread.hpp"

namespace {

using namespace shoal;
using namespace shoal::bench;
using namespace std::chrono_literals;

constexpr int repetitions = 7;

buffer payload(std::size_t bytes) {
  return buffer::make(bytes, [&](std::byte* to) { std::fill_n(to, bytes, std::byte{1}); });
}

class raw_pair {
 public:
  explicit raw_pair(const std::string& address)
      : here_(std::make_shared<link::context>()),
        there_(address.starts_with("inproc") ? here_ : std::make_shared<link::context>()),
        router_(there_, ZMQ_ROUTER),
        dealer_(here_, ZMQ_DEALER) {
    const auto endpoint = router_.bind(address);
    if (!endpoint || !dealer_.connect(*endpoint)) throw std::runtime_error("cannot connect");
    echo_ = std::thread([this] {
      for (bool more = true; more;) {
        std::vector<link::frame> frames;
        while (more && router_.receive(frames, 4)) {
          more = frames.back().size() > 0;
          router_.send(frames);
        }
        wait(router_);
      }
    });
  }
  ~raw_pair() {
    send(buffer());
    echo_.join();
  }

  double latency(const buffer& body) {
    const auto since = steady::now();
    send(body);
    receive();
    return std::chrono::duration<double, std::micro>(steady::now() - since).count();
  }

  double rate(const buffer& body, std::size_t outstanding, std::size_t n) {
    const auto since = steady::now();
    std::size_t sent = 0;
    for (; sent < outstanding; ++sent) send(body);
    for (std::size_t i = 0; i < n; ++i) {
      receive();
      if (sent++ < n) send(body);
    }
    return static_cast<double>(n) / std::chrono::duration<double>(steady::now() - since).count();
  }

 private:
  static void wait(link::socket& on) {
    zmq_pollitem_t item{on.raw(), 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, 1000);
  }
  void send(const buffer& body) {
    std::vector<link::frame> frames;
    frames.push_back(link::frame::lend(body, nullptr));
    while (dealer_.send(frames) != link::sent::yes) std::this_thread::yield();
  }
  void receive() {
    while (!dealer_.receive(frames_, 4)) wait(dealer_);
  }

  std::shared_ptr<link::context> here_, there_;
  link::socket router_, dealer_;
  std::vector<link::frame> frames_;
  std::thread echo_;
};

class link_pair {
 public:
  explicit link_pair(const std::string& address) : server_(options_for(address)) {
    if (auto bound = server_.bind(); !bound) throw std::runtime_error(bound.error().message);
    server_.start([this](protocol::link_event event) {
      auto* came = std::get_if<protocol::delivery>(&event);
      if (came == nullptr) return;
      auto& request = std::get<protocol::infer>(came->body);
      if (!server_.send(came->from, protocol::outcome{request.id, 0, std::move(request.inputs)})) std::abort();
    });
    link::options own;
    if (!address.starts_with("inproc")) own.shared_context = std::make_shared<link::context>();
    auto client = link::client::connect(server_.endpoints().front(), 5s, own);
    if (!client) throw std::runtime_error(client.error().message);
    client_ = std::move(*client);
  }

  double latency(const buffer& body) {
    const auto since = steady::now();
    if (!client_->infer(request(body), 10s).result) throw std::runtime_error("an outcome with an error");
    return std::chrono::duration<double, std::micro>(steady::now() - since).count();
  }

  double rate(const buffer& body, std::size_t outstanding, std::size_t n) {
    const auto since = steady::now();
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t sent = std::min(outstanding, n), ended = 0;
    std::function<void(protocol::outcome)> next = [&](const protocol::outcome&) {
      std::unique_lock lock(mutex);
      if (++ended == n) return changed.notify_one();
      if (sent == n) return;
      ++sent;
      lock.unlock();
      client_->submit(request(body), 10s, next);
    };
    for (std::size_t i = 0; i < std::min(outstanding, n); ++i) client_->submit(request(body), 10s, next);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended == n; });
    return static_cast<double>(n) / std::chrono::duration<double>(steady::now() - since).count();
  }

 private:
  static link::options options_for(const std::string& address) {
    link::options own;
    own.service = protocol::service_kind::gateway;
    own.bind = {address};
    return own;
  }
  static protocol::infer request(const buffer& body) {
    protocol::infer request;
    request.model = "identity";
    request.inputs.push_back({"x", dtype::uint8, {static_cast<std::int64_t>(body.size())}, body});
    return request;
  }

  link::zmq_link server_;
  std::unique_ptr<link::client> client_;
};

void measure(const std::string& transport, const std::string& raw_address, const std::string& link_address) {
  raw_pair raw(raw_address);
  link_pair own(link_address);
  const auto line = [&](const char* what, const char* unit, auto one) {
    std::vector<double> by_raw, by_link, ratio;
    for (int i = 0; i < repetitions; ++i) {
      by_raw.push_back(one(raw));
      by_link.push_back(one(own));
      ratio.push_back(by_link.back() / by_raw.back());
    }
    const auto r = spread::of(ratio);
    std::printf("%-8s %-28s %10.1f %10.1f %-10s %6.2f (%.2f .. %.2f)\n", transport.c_str(), what, quantile(by_raw, 0.5),
                quantile(by_link, 0.5), unit, r.median, r.low, r.high);
    std::fflush(stdout);
  };
  const auto latency = [](std::size_t bytes, int n) {
    return [body = payload(bytes), n](auto& pair) {
      std::vector<double> all;
      for (int i = 0; i < n; ++i) all.push_back(pair.latency(body));
      return quantile(all, 0.5);
    };
  };
  const auto rate = [](std::size_t bytes, std::size_t outstanding, std::size_t n) {
    return [body = payload(bytes), outstanding, n](auto& pair) { return pair.rate(body, outstanding, n); };
  };
  line("4 KiB, one, p50", "us", latency(4096, 2000));
  line("4 KiB, 64 at a time", "1/s", rate(4096, 64, 20'000));
  line("1 MiB, one, p50", "us", latency(1 << 20, 200));
  line("1 MiB, 8 at a time", "MiB/s", rate(1 << 20, 8, 500));
}

}  // namespace

int main() {
  try {
    std::printf("%-8s %-28s %10s %10s %-10s %s\n", "over", "what", "raw", "link", "", "link/raw (smallest .. largest)");
    const auto own = "/tmp/shoal-link-hop-" + std::to_string(getpid());
    measure("inproc", "inproc://raw-hop", "inproc://link-hop");
    measure("ipc", "ipc://" + own + "-raw", "ipc://" + own + "-link");
    measure("tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0");
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "bench_link_hop: %s\n", problem.what());
    return 1;
  }
}
