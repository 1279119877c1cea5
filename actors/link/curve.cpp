#include "link/curve.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <zmq.h>

namespace shoal::link {

namespace {
constexpr const char* asked_at = "inproc://zeromq.zap.01";
constexpr std::size_t raw_key_size = 32;
}  // namespace

expected<curve_pair> new_curve_pair() {
  char public_key[41], secret_key[41];
  if (zmq_curve_keypair(public_key, secret_key) != 0)
    return fail(errc::unsupported, std::string("this libzmq makes no keys: ") + zmq_strerror(zmq_errno()));
  curve_pair made{public_key, secret_key};
  std::memset(secret_key, 0, sizeof secret_key);
  return made;
}

expected<std::string> public_half_of(const std::string& secret_key) {
  char public_key[41];
  if (zmq_curve_public(public_key, secret_key.c_str()) != 0)
    return fail(errc::invalid_argument, "this is no secret key");
  return std::string(public_key);
}

struct gatekeeper::parts {
  void* asked = nullptr;
  void* stop_here = nullptr;   ///< read by the thread
  void* stop_there = nullptr;  ///< written by the destructor
  std::mutex mutex;
  std::map<std::string, question> domains;
  std::thread thread;

  ~parts() {
    for (void* each : {asked, stop_here, stop_there})
      if (each != nullptr) zmq_close(each);
  }

  void answer(const std::vector<std::string>& request) {
    // Version, request, domain, address, identity, mechanism, credentials.
    const bool whole =
        request.size() == 7 && request[0] == "1.0" && request[5] == "CURVE" && request[6].size() == raw_key_size;
    char key[41] = {};
    bool admitted = false;
    if (whole) {
      zmq_z85_encode(key, reinterpret_cast<const std::uint8_t*>(request[6].data()), raw_key_size);
      // Under the lock: whoever stops guarding has not been asked any more when that returns.
      const std::lock_guard lock(mutex);
      if (const auto found = domains.find(request[2]); found != domains.end()) admitted = found->second(key);
    }
    const std::string id = request.size() > 1 ? request[1] : "";
    const std::array<std::string, 6> parts{
        "1.0", id, admitted ? "200" : "400", admitted ? "OK" : "this key is not let in", admitted ? key : "", ""};
    for (std::size_t i = 0; i < parts.size(); ++i)
      zmq_send(asked, parts[i].data(), parts[i].size(), i + 1 < parts.size() ? ZMQ_SNDMORE : 0);
  }

  void run() {
    std::vector<std::string> request;
    for (;;) {
      zmq_pollitem_t items[] = {{asked, 0, ZMQ_POLLIN, 0}, {stop_here, 0, ZMQ_POLLIN, 0}};
      if (zmq_poll(items, 2, -1) < 0 && zmq_errno() != EINTR) return;
      if ((items[1].revents & ZMQ_POLLIN) != 0) return;
      if ((items[0].revents & ZMQ_POLLIN) == 0) continue;
      request.clear();
      int more = 1;
      while (more != 0) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, asked, 0) < 0) {
          zmq_msg_close(&part);
          break;
        }
        request.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
        more = zmq_msg_more(&part);
        zmq_msg_close(&part);
      }
      answer(request);
    }
  }
};

gatekeeper::gatekeeper(void* raw_context) : parts_(std::make_shared<parts>()) {
  const auto require = [](bool done, const char* what) {
    if (!done) throw std::runtime_error(std::string(what) + ": " + zmq_strerror(zmq_errno()));
  };
  const auto stop = "inproc://shoal-gatekeeper-" + std::to_string(reinterpret_cast<std::uintptr_t>(parts_.get()));
  auto& own = *parts_;
  own.asked = zmq_socket(raw_context, ZMQ_REP);
  own.stop_here = zmq_socket(raw_context, ZMQ_PAIR);
  own.stop_there = zmq_socket(raw_context, ZMQ_PAIR);
  require(own.asked != nullptr && own.stop_here != nullptr && own.stop_there != nullptr, "no ZeroMQ socket can be had");
  const int none = 0;
  for (void* each : {own.asked, own.stop_here, own.stop_there}) zmq_setsockopt(each, ZMQ_LINGER, &none, sizeof none);
  require(zmq_bind(own.asked, asked_at) == 0, "another asks who may connect in this context");
  require(zmq_bind(own.stop_here, stop.c_str()) == 0 && zmq_connect(own.stop_there, stop.c_str()) == 0,
          "a ZeroMQ socket cannot be connected");
  own.thread = std::thread([parts = parts_.get()] { parts->run(); });
}

gatekeeper::~gatekeeper() {
  zmq_send(parts_->stop_there, "", 0, 0);
  parts_->thread.join();
}

std::shared_ptr<void> gatekeeper::guard(const std::string& domain, question admits) {
  const std::lock_guard lock(parts_->mutex);
  parts_->domains[domain] = std::move(admits);
  return {nullptr, [parts = std::weak_ptr(parts_), domain](void*) {
            const auto still = parts.lock();
            if (!still) return;
            const std::lock_guard lock(still->mutex);
            still->domains.erase(domain);
          }};
}

}  // namespace shoal::link
