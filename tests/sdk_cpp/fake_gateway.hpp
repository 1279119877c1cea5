// A gateway that does as the model's name says. It speaks through an actors/link of its own, as a real one does.
//
//   silent    no outcome                         busy       overloaded, come again in 10 ms
//   held      an outcome when `let_go` is called  busy once  as busy, then answers
//   freeze    where `freezes`: nothing any more,  leaving    unavailable
//             no heartbeats either
//   poisoned  an error that no retry helps        twice      answers twice
//   others    x comes back as y
#pragma once

#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "shoal/client.hpp"
#include "unit/link/recorder.hpp"

namespace shoal::test {

class fake_gateway {
 public:
  explicit fake_gateway(const std::string& transport = "ipc", std::uint32_t credit_messages = 1024)
      : recorder_(set_up(transport, credit_messages),
                  [this](recorder&, const protocol::link_event& event) { on(event); }) {}
  ~fake_gateway() { thaw(); }

  [[nodiscard]] std::string endpoint() const { return recorder_.link.endpoints().front(); }
  recorder& link() { return recorder_; }
  std::atomic<bool> freezes{false};

  std::vector<protocol::infer> requests() { return all<protocol::infer>(); }
  std::vector<protocol::cancel> cancels() { return all<protocol::cancel>(); }

  void let_go() {
    std::vector<std::pair<protocol::peer_id, protocol::infer>> held;
    {
      std::lock_guard lock(mutex_);
      held.swap(held_);
    }
    for (const auto& [to, request] : held) answer(to, request);
  }
  void thaw() {
    if (!std::exchange(thawed_, true)) thaw_.set_value();
  }

 private:
  static link::options set_up(const std::string& transport, std::uint32_t credit_messages) {
    auto own = quick(protocol::service_kind::gateway);
    own.bind = {fresh_address(transport)};
    own.credit_messages = credit_messages;
    return own;
  }

  template <class Message>
  std::vector<Message> all() {
    std::vector<Message> found;
    for (const auto& each : recorder_.messages())
      if (const auto* body = std::get_if<Message>(&each.body)) found.push_back(*body);
    return found;
  }

  void say(protocol::peer_id to, protocol::message body) {
    static_cast<void>(recorder_.link.send(to, std::move(body)));
  }
  void answer(protocol::peer_id to, const protocol::infer& request) {
    auto outputs = request.inputs;
    for (auto& each : outputs) each.name = "y";
    say(to, protocol::outcome{request.id, request.attempt, std::move(outputs), request.model, 3});
  }
  void refuse(protocol::peer_id to, const protocol::infer& request, error why, milliseconds retry_after = {}) {
    why.retry_after = retry_after;
    say(to, protocol::outcome{request.id, request.attempt, tl::unexpected(std::move(why)), request.model});
  }

  void on(const protocol::link_event& event) {
    const auto* came = std::get_if<protocol::delivery>(&event);
    if (came == nullptr) return;
    const auto from = came->from;
    if (const auto* request = std::get_if<protocol::infer>(&came->body)) return on_request(from, *request);
    if (std::holds_alternative<protocol::describe>(came->body)) {
      protocol::model_spec spec{"identity", 3, protocol::model_state::ready};
      spec.inputs = {{"x", dtype::fp32, {{1, 8, "batch"}, protocol::dimension::fixed(4)}}};
      say(from, protocol::catalogue{{spec}});
    } else if (std::holds_alternative<protocol::inquire>(came->body)) {
      say(from, protocol::report{{{"gateway", 7, {{"requests", 2}}, {}}}});
    } else if (const auto* change = std::get_if<protocol::manage>(&came->body)) {
      std::vector<protocol::worker_answer> answers{{1, std::string("done")}};
      answers.push_back({2, fail(errc::not_found, "no such model here")});
      say(from, protocol::managed{change->key, std::move(answers)});
    }
  }

  void on_request(protocol::peer_id from, const protocol::infer& request) {
    const auto& model = request.model;
    if (model == "silent") return;
    if (model == "freeze" && freezes) return thawing_.wait();
    if (model == "held") {
      std::lock_guard lock(mutex_);
      return static_cast<void>(held_.emplace_back(from, request));
    }
    if (model == "poisoned") return refuse(from, request, {errc::poisoned, "it ended two workers"});
    if (model == "leaving") return refuse(from, request, {errc::unavailable, "ask another one"});
    if (model == "busy" || (model == "busy once" && !std::exchange(was_busy_, true)))
      return refuse(from, request, {errc::overloaded, "the queue is full"}, 10ms);
    if (model == "twice") answer(from, request);
    answer(from, request);
  }

  std::mutex mutex_;
  std::vector<std::pair<protocol::peer_id, protocol::infer>> held_;
  std::promise<void> thaw_;
  std::shared_future<void> thawing_ = thaw_.get_future().share();
  bool thawed_ = false;
  bool was_busy_ = false;  ///< the link's thread only
  recorder recorder_;      ///< last: its thread ends before what it uses
};

/// A request for `model` whose x is [1, 4]: first, first + 1, ...
inline client::request ask(std::string model, float first = 0) {
  return {std::move(model), {client::tensor("x", {1, 4}, {first, first + 1, first + 2, first + 3})}};
}

/// With the short heartbeat of `quick`.
inline client::options quick_options() {
  client::options with;
  with.heartbeat = 100ms;
  return with;
}

template <class... Gateways>
client::mesh mesh_of(const client::options& with, const Gateways&... gateways) {
  auto made = client::connect(std::vector<std::string>{gateways.endpoint()...}, with);
  if (!made) throw std::runtime_error(made.error().message);
  return std::move(*made);
}

inline double figure(const client::mesh& mesh, const std::string& name) {
  for (const auto& each : mesh.figures())
    if (each.name == name) return each.value;
  return -1;
}

}  // namespace shoal::test
