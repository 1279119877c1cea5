#include "overhead/raw_relay.hpp"

#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include <zmq.h>

namespace shoal::bench {

namespace {

constexpr std::size_t large = 64 * 1024;  // as gateway.inline_bytes

void check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + ": " + zmq_strerror(zmq_errno()));
}

class socket {
 public:
  socket(void* context, int type) : socket_(zmq_socket(context, type)) {
    const int none = 0;
    check(zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none), "ZMQ_LINGER");
    check(zmq_setsockopt(socket_, ZMQ_SNDHWM, &none, sizeof none), "ZMQ_SNDHWM");
    check(zmq_setsockopt(socket_, ZMQ_RCVHWM, &none, sizeof none), "ZMQ_RCVHWM");
  }
  ~socket() { zmq_close(socket_); }
  socket(const socket&) = delete;
  socket& operator=(const socket&) = delete;

  void bind(const std::string& address) { check(zmq_bind(socket_, address.c_str()), address.c_str()); }
  void connect(const std::string& address) { check(zmq_connect(socket_, address.c_str()), address.c_str()); }
  [[nodiscard]] void* raw() const { return socket_; }

 private:
  void* socket_;
};

/// One multipart message; frames are moved, never copied.
class frames {
 public:
  frames() = default;
  ~frames() { clear(); }
  frames(const frames&) = delete;
  frames& operator=(const frames&) = delete;

  bool receive(const socket& from) {
    clear();
    for (;;) {
      zmq_msg_t part;
      zmq_msg_init(&part);
      if (zmq_msg_recv(&part, from.raw(), parts_.empty() ? ZMQ_DONTWAIT : 0) < 0) {
        zmq_msg_close(&part);
        return false;
      }
      const bool more = zmq_msg_more(&part) != 0;
      parts_.push_back(part);
      if (!more) return true;
    }
  }

  void send(const socket& to, std::size_t from = 0, const std::string& route = {}) {
    if (!route.empty()) check(zmq_send(to.raw(), route.data(), route.size(), ZMQ_SNDMORE), "send");
    for (std::size_t i = from; i < parts_.size(); ++i)
      check(zmq_msg_send(&parts_[i], to.raw(), i + 1 < parts_.size() ? ZMQ_SNDMORE : 0), "send");
  }

  [[nodiscard]] std::size_t size() const { return parts_.size(); }
  [[nodiscard]] std::string text(std::size_t i) {
    return {static_cast<char*>(zmq_msg_data(&parts_[i])), zmq_msg_size(&parts_[i])};
  }
  [[nodiscard]] std::size_t bytes(std::size_t i) { return zmq_msg_size(&parts_[i]); }

 private:
  void clear() {
    for (auto& part : parts_) zmq_msg_close(&part);
    parts_.clear();
  }
  std::vector<zmq_msg_t> parts_;
};

constexpr const char* hello = "hello";

void wait_for_any(std::vector<zmq_pollitem_t>& items) { zmq_poll(items.data(), static_cast<int>(items.size()), -1); }

void run_gateway(void* context, const relay_addresses& at) {
  socket router(context, ZMQ_ROUTER);
  router.bind(at.gateway);
  if (at.inner != at.gateway) router.bind(at.inner);
  socket scheduler(context, ZMQ_DEALER);
  scheduler.connect(at.scheduler);
  check(zmq_send(scheduler.raw(), hello, 5, 0), "hello");
  std::string worker;
  frames message;
  std::vector<zmq_pollitem_t> items{{router.raw(), 0, ZMQ_POLLIN, 0}};
  for (;;) {
    wait_for_any(items);
    while (message.receive(router)) {
      // [client][payload], [worker][client][payload], or a hello of the worker
      if (message.size() == 3) {
        message.send(router, 1);
      } else if (message.bytes(1) == 5 && message.text(1) == hello) {
        worker = message.text(0);
      } else if (message.bytes(1) > large) {
        message.send(router, 0, worker);
      } else {
        message.send(scheduler);
      }
    }
  }
}

void run_scheduler(void* context, const relay_addresses& at) {
  socket router(context, ZMQ_ROUTER);
  router.bind(at.scheduler);
  std::string worker;
  frames message;
  std::vector<zmq_pollitem_t> items{{router.raw(), 0, ZMQ_POLLIN, 0}};
  for (;;) {
    wait_for_any(items);
    while (message.receive(router)) {
      // [gateway][client][payload], a hello of the gateway, or an offer of the worker
      if (message.size() == 3)
        message.send(router, 1, worker);
      else if (message.text(1) == "offer")
        worker = message.text(0);
    }
  }
}

void run_worker(void* context, const relay_addresses& at) {
  socket scheduler(context, ZMQ_DEALER);
  scheduler.connect(at.scheduler);
  socket gateway(context, ZMQ_DEALER);
  gateway.connect(at.inner);
  check(zmq_send(scheduler.raw(), "offer", 5, 0), "offer");
  check(zmq_send(gateway.raw(), hello, 5, 0), "hello");
  frames message;
  std::vector<zmq_pollitem_t> items{{scheduler.raw(), 0, ZMQ_POLLIN, 0}, {gateway.raw(), 0, ZMQ_POLLIN, 0}};
  for (;;) {
    wait_for_any(items);
    for (auto* from : {&scheduler, &gateway})
      while (message.receive(*from)) message.send(gateway);
  }
}

}  // namespace

std::string relay_endpoint(const std::string& folder) { return "ipc://" + folder + "/raw-gateway"; }

void run_relay_stage(void* context, const std::string& stage, const relay_addresses& addresses) {
  if (stage == "gateway") return run_gateway(context, addresses);
  if (stage == "scheduler") return run_scheduler(context, addresses);
  if (stage == "worker") return run_worker(context, addresses);
  throw std::runtime_error("no relay stage is called " + stage);
}

void run_relay(const std::string& stage, const std::string& folder) {
  void* context = zmq_ctx_new();
  if (stage != "all") {
    const auto gateway = relay_endpoint(folder);
    return run_relay_stage(context, stage, {gateway, gateway, "ipc://" + folder + "/raw-scheduler"});
  }
  const relay_addresses inner{relay_endpoint(folder), "inproc://gateway", "inproc://scheduler"};
  std::vector<std::thread> stages;
  for (const char* each : {"scheduler", "gateway", "worker"})
    stages.emplace_back([=] { run_relay_stage(context, each, inner); });
  for (auto& each : stages) each.join();
}

}  // namespace shoal::bench
