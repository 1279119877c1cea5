#include "link/socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>

namespace shoal::link {

namespace {

/// A defect of ours or a machine without descriptors or memory; nothing here can go on after that.
[[noreturn]] void give_up(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + zmq_strerror(zmq_errno()));
}

struct loan {
  std::shared_ptr<const void> owner;
  std::shared_ptr<std::atomic<std::uint64_t>> held;
  std::size_t size;
};

void give_back(void*, void* hint) {
  auto* lent = static_cast<loan*>(hint);
  if (lent->held) lent->held->fetch_sub(lent->size, std::memory_order_relaxed);
  delete lent;
}

}  // namespace

context::context() : raw_(zmq_ctx_new()) {
  if (raw_ == nullptr) give_up("cannot make a ZeroMQ context");
  zmq_ctx_set(raw_, ZMQ_MAX_SOCKETS, 16384);
}

context::~context() {
  gatekeeper_.reset();  // its sockets are of this context
  while (zmq_ctx_term(raw_) != 0 && zmq_errno() == EINTR) {
  }
}

std::shared_ptr<context> context::of_process() {
  static std::mutex mutex;
  static std::weak_ptr<context> current;
  std::lock_guard lock(mutex);
  auto shared = current.lock();
  if (!shared) current = shared = std::make_shared<context>();
  return shared;
}

std::shared_ptr<void> context::guard(const std::string& domain, gatekeeper::question admits) {
  const std::lock_guard lock(mutex_);
  if (!gatekeeper_) gatekeeper_.emplace(raw_);
  return gatekeeper_->guard(domain, std::move(admits));
}

frame::frame(std::span<const std::byte> bytes, std::span<const buffer> more) {
  auto size = bytes.size();
  for (const auto& each : more) size += each.size();
  if (zmq_msg_init_size(&raw_, size) != 0) throw std::bad_alloc();
  auto* to = static_cast<std::byte*>(zmq_msg_data(&raw_));
  to = std::copy(bytes.begin(), bytes.end(), to);
  for (const auto& each : more) to = std::copy(each.bytes().begin(), each.bytes().end(), to);
}

frame::frame(frame&& other) noexcept {
  zmq_msg_init(&raw_);
  zmq_msg_move(&raw_, &other.raw_);
}

frame& frame::operator=(frame&& other) noexcept {
  if (this != &other) zmq_msg_move(&raw_, &other.raw_);
  return *this;
}

frame frame::lend(const buffer& data, const std::shared_ptr<std::atomic<std::uint64_t>>& held) {
  if (data.size() < copy_below) return frame(data.bytes());
  frame result;
  auto* lent = new loan{data.owner(), held, data.size()};
  if (held) held->fetch_add(data.size(), std::memory_order_relaxed);
  // ZeroMQ only reads what it sends.
  auto* bytes = const_cast<std::byte*>(data.data());
  if (zmq_msg_init_data(&result.raw_, bytes, data.size(), give_back, lent) != 0) {
    give_back(nullptr, lent);
    throw std::bad_alloc();
  }
  return result;
}

buffer frame::into_buffer(frame&& from) {
  auto owner = std::make_shared<frame>(std::move(from));
  auto bytes = owner->bytes();
  return {std::move(owner), bytes};
}

std::span<const std::byte> frame::bytes() const noexcept {
  return {static_cast<const std::byte*>(zmq_msg_data(&raw_)), zmq_msg_size(&raw_)};
}

std::string_view frame::text() const noexcept {
  return {static_cast<const char*>(zmq_msg_data(&raw_)), zmq_msg_size(&raw_)};
}

int frame::source() const noexcept { return zmq_msg_get(&raw_, ZMQ_SRCFD); }

std::string_view frame::key() const noexcept {
  const char* text = zmq_msg_gets(&raw_, "User-Id");
  return text == nullptr ? std::string_view() : text;
}

socket::socket(std::shared_ptr<context> owner, int type)
    : context_(std::move(owner)), raw_(zmq_socket(context_->raw(), type)) {
  if (raw_ == nullptr) give_up("cannot make a ZeroMQ socket");
  set(ZMQ_LINGER, 0);
}

socket::~socket() { zmq_close(raw_); }

void socket::set(int option, int value) {
  if (zmq_setsockopt(raw_, option, &value, sizeof value) != 0) give_up("cannot set a ZeroMQ socket's option");
}

void socket::set_max_frame(std::int64_t bytes) {
  constexpr std::int64_t curve_overhead = 33;  // "\x07MESSAGE", a nonce of 8, flags, an authenticator of 16
  if (is_secured_) bytes += curve_overhead;
  if (zmq_setsockopt(raw_, ZMQ_MAXMSGSIZE, &bytes, sizeof bytes) != 0) give_up("cannot limit a ZeroMQ socket's frames");
}

void socket::serve_curve(const std::string& secret_key, const std::string& domain) {
  is_secured_ = true;
  set(ZMQ_CURVE_SERVER, 1);
  if (zmq_setsockopt(raw_, ZMQ_CURVE_SECRETKEY, secret_key.c_str(), secret_key.size()) != 0 ||
      zmq_setsockopt(raw_, ZMQ_ZAP_DOMAIN, domain.c_str(), domain.size()) != 0)
    give_up("cannot give a ZeroMQ socket its key");
}

void socket::use_curve(const curve_pair& own, const std::string& server_key) {
  is_secured_ = true;
  if (zmq_setsockopt(raw_, ZMQ_CURVE_SERVERKEY, server_key.c_str(), server_key.size()) != 0 ||
      zmq_setsockopt(raw_, ZMQ_CURVE_PUBLICKEY, own.public_key.c_str(), own.public_key.size()) != 0 ||
      zmq_setsockopt(raw_, ZMQ_CURVE_SECRETKEY, own.secret_key.c_str(), own.secret_key.size()) != 0)
    give_up("cannot give a ZeroMQ socket its keys");
}

expected<std::string> socket::bind(const std::string& endpoint) {
  if (endpoint.find('[') != std::string::npos) set(ZMQ_IPV6, 1);
  if (zmq_bind(raw_, endpoint.c_str()) != 0) {
    const auto code =
        zmq_errno() == EINVAL || zmq_errno() == EPROTONOSUPPORT ? errc::invalid_argument : errc::unavailable;
    return fail(code, "cannot listen on " + endpoint + ": " + zmq_strerror(zmq_errno()));
  }
  char last[512];
  std::size_t size = sizeof last;
  if (zmq_getsockopt(raw_, ZMQ_LAST_ENDPOINT, last, &size) != 0) return endpoint;
  return std::string(last);
}

expected<void> socket::connect(const std::string& endpoint) {
  if (endpoint.find('[') != std::string::npos) set(ZMQ_IPV6, 1);
  if (zmq_connect(raw_, endpoint.c_str()) == 0) return {};
  return fail(errc::invalid_argument, "cannot connect to " + endpoint + ": " + zmq_strerror(zmq_errno()));
}

void socket::unbind(const std::string& endpoint) {
  // It fails only for what is not bound, which is what is wanted.
  zmq_unbind(raw_, endpoint.c_str());
}

int socket::descriptor() const {
  int fd = -1;
  std::size_t size = sizeof fd;
  if (zmq_getsockopt(raw_, ZMQ_FD, &fd, &size) != 0) give_up("cannot learn a ZeroMQ socket's descriptor");
  return fd;
}

sent socket::send(std::span<frame> frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int flags = ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
    while (zmq_msg_send(frames[i].raw(), raw_, flags) < 0) {
      if (zmq_errno() == EINTR) continue;
      // Only the first frame can be refused: ZeroMQ keeps room for a message that it has begun.
      return zmq_errno() == EAGAIN ? sent::full : sent::gone;
    }
  }
  return sent::yes;
}

bool socket::receive(std::vector<frame>& frames, std::size_t max_frames) {
  frames.clear();
  bool too_many = false;
  for (;;) {
    frame next;
    while (zmq_msg_recv(next.raw(), raw_, ZMQ_DONTWAIT) < 0) {
      if (zmq_errno() == EINTR) continue;
      return false;  // EAGAIN before the first frame: messages come whole
    }
    const bool more = zmq_msg_more(next.raw()) != 0;
    if (frames.size() == max_frames) too_many = true;
    if (!too_many) frames.push_back(std::move(next));
    if (more) continue;
    if (too_many) frames.clear();
    return true;
  }
}

bool socket::has_message() {
  int events = 0;
  std::size_t size = sizeof events;
  return zmq_getsockopt(raw_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

namespace {

std::string monitor_endpoint() {
  static std::atomic<std::uint64_t> next{0};
  return "inproc://shoal-monitor-" + std::to_string(next++);
}

}  // namespace

monitor::monitor(std::shared_ptr<context> owner, socket& watched, bool listens)
    : watched_(watched), events_(std::move(owner), ZMQ_PAIR) {
  // Without a limit: ZeroMQ's I/O thread would wait for us otherwise.
  events_.set(ZMQ_RCVHWM, 0);
  const auto endpoint = monitor_endpoint();
  const int handshakes =
      ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  const int wanted = ZMQ_EVENT_DISCONNECTED | (listens ? ZMQ_EVENT_CLOSED : handshakes);
  if (zmq_socket_monitor(watched_.raw(), endpoint.c_str(), wanted) != 0) give_up("cannot monitor a ZeroMQ socket");
  if (auto connected = events_.connect(endpoint); !connected) throw std::runtime_error(connected.error().message);
}

monitor::~monitor() { zmq_socket_monitor(watched_.raw(), nullptr, 0); }

bool monitor::next(std::uint16_t& event, int& descriptor) {
  // Frame 1: event (16 bits), value (32 bits): the descriptor. Frame 2: the endpoint.
  while (events_.receive(frames_, 2)) {
    if (frames_.empty() || frames_[0].size() < sizeof event + sizeof descriptor) continue;
    std::memcpy(&event, frames_[0].bytes().data(), sizeof event);
    std::memcpy(&descriptor, frames_[0].bytes().data() + sizeof event, sizeof descriptor);
    return true;
  }
  return false;
}

std::vector<int> monitor::lost() {
  std::vector<int> result;
  std::uint16_t event = 0;
  int descriptor = -1;
  while (next(event, descriptor)) {
    if (event == ZMQ_EVENT_DISCONNECTED) result.push_back(descriptor);
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) handshake_ = broken_handshake::refused;
    // A server that knows no such key, or speaks in the clear, hangs up without a word.
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
      handshake_ = broken_handshake::mismatched;
  }
  return result;
}

void monitor::await_closed(std::size_t n, int limit_ms) {
  std::uint16_t event = 0;
  int descriptor = -1;
  while (n > 0) {
    if (next(event, descriptor)) {
      if (event == ZMQ_EVENT_CLOSED) --n;
      continue;
    }
    zmq_pollitem_t item{events_.raw(), 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, limit_ms) <= 0) return;
  }
}

}  // namespace shoal::link
