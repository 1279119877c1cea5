// A gateway in memory: keeps what the door submits and answers when the test says so.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "gateway/front.hpp"

namespace shoal::test {

class fake_front final : public gateway::front {
 public:
  /// What becomes of a request at once; nothing: it is kept until `finish`.
  using behaviour = std::function<std::optional<protocol::outcome>(const protocol::infer&)>;

  explicit fake_front(protocol::catalogue models, behaviour behave = nullptr)
      : models_(std::make_shared<const gateway::model_list>(gateway::model_list{std::move(models), true})),
        behave_(std::move(behave)) {}

  protocol::request_id submit(protocol::infer request, done on_outcome) override {
    std::unique_lock lock(mutex_);
    auto ticket = ++last_ticket_;
    last_request_ = request;
    auto outcome = behave_ ? behave_(request) : std::nullopt;
    if (!outcome) kept_.emplace(ticket, std::move(on_outcome));
    changed_.notify_all();
    lock.unlock();
    if (outcome) on_outcome(std::move(*outcome));
    return ticket;
  }

  void cancel(protocol::request_id ticket) override {
    std::lock_guard lock(mutex_);
    cancelled_.insert(ticket);
    changed_.notify_all();
  }

  [[nodiscard]] std::shared_ptr<const gateway::model_list> models() const override {
    std::lock_guard lock(mutex_);
    return models_;
  }
  void list(gateway::model_list models) {
    std::lock_guard lock(mutex_);
    models_ = std::make_shared<const gateway::model_list>(std::move(models));
  }
  [[nodiscard]] bool ready() const override { return is_ready; }

  /// Answered at once, as `managing` says.
  void manage(protocol::manage request, managed on_answer) override {
    std::unique_lock lock(mutex_);
    asked_to_manage_.push_back(request);
    lock.unlock();
    on_answer(managing(request));
  }
  void statistics(told on_answer) override { on_answer(counted); }

  std::vector<protocol::manage> asked_to_manage() {
    std::lock_guard lock(mutex_);
    return asked_to_manage_;
  }

  std::function<expected<std::vector<protocol::worker_answer>>(const protocol::manage&)> managing =
      [](const protocol::manage&) {
        return std::vector<protocol::worker_answer>{{1, std::string("done")}};
      };
  std::vector<protocol::model_statistics> counted;

  /// Waits for the request and answers it, on the caller's thread.
  void finish(protocol::request_id ticket, protocol::outcome outcome) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return kept_.contains(ticket); });
    auto on_outcome = std::move(kept_[ticket]);
    kept_.erase(ticket);
    lock.unlock();
    on_outcome(std::move(outcome));
  }

  /// Waits until the request has come in.
  void wait_for(protocol::request_id ticket) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return last_ticket_ >= ticket; });
  }

  /// Waits until the request has been taken back.
  void wait_for_cancel(protocol::request_id ticket) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled_.contains(ticket); });
  }

  protocol::infer last_request() {
    std::lock_guard lock(mutex_);
    return last_request_;
  }
  std::size_t submitted() {
    std::lock_guard lock(mutex_);
    return last_ticket_;
  }

  std::atomic<bool> is_ready{true};

 private:
  std::shared_ptr<const gateway::model_list> models_;
  behaviour behave_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  protocol::request_id last_ticket_ = 0;
  protocol::infer last_request_;
  std::map<protocol::request_id, done> kept_;
  std::set<protocol::request_id> cancelled_;
  std::vector<protocol::manage> asked_to_manage_;
};

/// `identity`: input `x` -> output `y`, FP32 [batch, width].
inline protocol::model_spec identity_model() {
  protocol::model_spec spec;
  spec.name = "identity";
  spec.version = 1;
  spec.state = protocol::model_state::ready;
  spec.batch_symbol = "batch";
  spec.inputs = {{"x", dtype::fp32, {{1, 32, "batch"}, {0, 1 << 20, "width"}}}};
  spec.outputs = {{"y", dtype::fp32, {{1, 32, "batch"}, {0, 1 << 20, "width"}}}};
  return spec;
}

/// The first input as the output `y`.
inline protocol::outcome echo(const protocol::infer& request) {
  protocol::outcome outcome;
  outcome.model = request.model;
  outcome.version = request.version == 0 ? 1 : request.version;
  auto output = request.inputs.front();
  output.name = "y";
  outcome.result = std::vector<tensor>{std::move(output)};
  return outcome;
}

}  // namespace shoal::test
