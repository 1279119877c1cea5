#include "unit/link/recorder.hpp"

#include <unistd.h>

#include <atomic>
#include <filesystem>

namespace shoal::test {

namespace {
template <class T>
std::size_t count(const recorder::events& events) {
  std::size_t n = 0;
  for (const auto& event : events) n += std::holds_alternative<T>(event) ? 1 : 0;
  return n;
}

template <class T>
std::vector<T> all(const recorder::events& events) {
  std::vector<T> result;
  for (const auto& event : events)
    if (const auto* one = std::get_if<T>(&event)) result.push_back(*one);
  return result;
}
}  // namespace

recorder::recorder(link::options own, reaction react) : link(std::move(own)) {
  if (auto bound = link.bind(); !bound) throw std::runtime_error(bound.error().message);
  link.start([this, react = std::move(react)](protocol::link_event event) {
    {
      std::lock_guard lock(mutex_);
      events_.push_back(event);
    }
    if (react) react(*this, event);
    changed_.notify_all();
  });
}

bool recorder::wait_for_up(std::size_t n) {
  return wait([n](const events& e) { return count<protocol::peer_up>(e) >= n; });
}
bool recorder::wait_for_down(std::size_t n) {
  return wait([n](const events& e) { return count<protocol::peer_down>(e) >= n; });
}
bool recorder::wait_for_messages(std::size_t n) {
  return wait([n](const events& e) { return count<protocol::delivery>(e) >= n; });
}

bool recorder::wait_for_figure(const std::string& name, double at_least) {
  // Counters tell nobody when they change, so they are looked at again after each event, or a moment.
  const auto until = std::chrono::steady_clock::now() + 10s;
  std::unique_lock lock(mutex_);
  while (figure(name) < at_least) {
    if (std::chrono::steady_clock::now() > until) return false;
    changed_.wait_for(lock, 2ms);
  }
  return true;
}

std::vector<protocol::peer_up> recorder::ups() {
  std::lock_guard lock(mutex_);
  return all<protocol::peer_up>(events_);
}
std::vector<protocol::peer_down> recorder::downs() {
  std::lock_guard lock(mutex_);
  return all<protocol::peer_down>(events_);
}
std::vector<protocol::delivery> recorder::messages() {
  std::lock_guard lock(mutex_);
  return all<protocol::delivery>(events_);
}

protocol::peer_id recorder::last_peer() {
  const auto seen = ups();
  return seen.empty() ? 0 : seen.back().peer;
}

double recorder::figure(const std::string& name) const {
  for (const auto& each : link.figures())
    if (each.name == name) return each.value;
  return -1;
}

link::options quick(protocol::service_kind service) {
  link::options own;
  own.service = service;
  own.heartbeat = 100ms;
  own.first_retry = 10ms;
  own.last_retry = 100ms;
  return own;
}

std::string fresh_address(const std::string& transport) {
  static std::atomic<int> next{0};
  if (transport == "tcp") return "tcp://127.0.0.1:0";
  const auto name = "shoal-link-test-" + std::to_string(getpid()) + "-" + std::to_string(next++);
  if (transport == "inproc") return "inproc://" + name;
  return "ipc://" + (std::filesystem::temp_directory_path() / name).string();
}

tensor floats(const std::string& name, std::size_t count, float first) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i % 8192);
  return {name, dtype::fp32, {static_cast<std::int64_t>(count)}, buffer::copy(std::as_bytes(std::span(values)))};
}

protocol::infer request(protocol::request_id id, std::size_t floats_in_it) {
  protocol::infer body;
  body.id = id;
  body.model = "identity";
  body.inputs.push_back(floats("x", floats_in_it, static_cast<float>(id % 1000)));
  return body;
}

}  // namespace shoal::test
