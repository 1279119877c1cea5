// Any number of workers under a virtual clock, as a link of the scheduler: each runs a batch, holds a staged one, gives
// back what is recalled, and takes 300 us + 20 us a token, with 10% of noise. Seeded: the same calls give the same run.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <random>
#include <unordered_map>
#include <utility>

#include "core/clock.hpp"
#include "protocol/link.hpp"

namespace shoal::test {

/// Sentences of up to 512 tokens, joined with padding.
inline protocol::model_spec sentence_model() {
  protocol::model_spec spec;
  spec.name = "sentences";
  spec.version = 1;
  spec.state = protocol::model_state::ready;
  spec.batch_symbol = "batch";
  spec.pad_symbol = "length";
  spec.inputs = {{"tokens", dtype::int64, {{1, 1024, "batch"}, {1, 512, "length"}}, 0}};
  spec.outputs = {{"vector", dtype::fp32, {{1, 1024, "batch"}, protocol::dimension::fixed(384)}, 0}};
  return spec;
}

class simulated_workers final : public protocol::link {
 public:
  explicit simulated_workers(std::uint64_t seed) : random_(seed) {}

  expected<void> send(protocol::peer_id to, protocol::message body) override {
    if (auto* batch = std::get_if<protocol::batch>(&body)) take(to, std::move(*batch));
    if (const auto* recalled = std::get_if<protocol::recall>(&body)) give_back(to, recalled->batch);
    if (const auto* outcome = std::get_if<protocol::outcome>(&body)) {
      refused += !outcome->result;
      if (on_refusal) on_refusal(*outcome);
    }
    return {};
  }
  void settle(protocol::peer_id, protocol::request_id id) override {
    if (on_settled) on_settled(id);
  }

  struct over {
    time_point when;
    protocol::peer_id worker;
    std::uint64_t life;  ///< of the worker that ran it
    protocol::completion told;
    bool operator<(const over& other) const { return when > other.when; }
  };

  [[nodiscard]] std::optional<time_point> next() const {
    if (over_.empty()) return std::nullopt;
    return over_.top().when;
  }
  /// The next completion; nothing: its worker has died meanwhile.
  std::optional<over> pop() {
    auto first = over_.top();
    over_.pop();
    auto& worker = workers_[first.worker];
    if (first.life != worker.life) return std::nullopt;
    if (worker.running == first.told.batch) {
      worker.running = 0;
      if (!worker.staged.members.empty()) run(first.worker, std::exchange(worker.staged, {}));
    }
    return first;
  }
  /// What it had is lost with it.
  void kill(protocol::peer_id peer) {
    auto& worker = workers_[peer];
    worker = {worker.life + 1, 0, {}};
  }

  time_point now{std::chrono::hours(1)};
  std::size_t refused = 0;
  std::size_t overcommitted = 0;  ///< batches that a worker had no place for: a broken promise
  std::function<void(const protocol::outcome&)> on_refusal;
  std::function<void(protocol::request_id)> on_settled;

 private:
  struct state {
    std::uint64_t life = 0;
    protocol::batch_id running = 0;
    protocol::batch staged;
  };

  void take(protocol::peer_id to, protocol::batch batch) {
    auto& worker = workers_[to];
    if (batch.offer != 0) {
      if (worker.running == 0) return run(to, std::move(batch));
      overcommitted += !worker.staged.members.empty();
      worker.staged = std::move(batch);
      return;
    }
    if (worker.staged.id == batch.id && !worker.staged.members.empty()) {
      std::move(batch.members.begin(), batch.members.end(), std::back_inserter(worker.staged.members));
      return;
    }
    protocol::completion late{batch.id, {}, {}, {}, 0, false, 0};
    for (const auto& member : batch.members) late.returned.push_back(member.key);
    answer(to, std::move(late), {});
  }

  void run(protocol::peer_id to, protocol::batch batch) {
    workers_[to].running = batch.id;
    std::int64_t rows = 0, longest = 0;
    protocol::completion told{batch.id, {}, {}, {}, 0, true, ++offers_};
    for (const auto& member : batch.members) {
      rows += member.request.inputs[0].dims[0];
      longest = std::max(longest, member.request.inputs[0].dims[1]);
      told.finished.push_back(member.key);
    }
    const auto noise = std::uniform_real_distribution(0.9, 1.1)(random_);
    told.rows = static_cast<std::uint32_t>(rows);
    told.compute_time = microseconds(std::llround((300 + 20.0 * static_cast<double>(rows * longest)) * noise));
    const auto takes = told.compute_time;
    answer(to, std::move(told), takes);
  }

  void give_back(protocol::peer_id from, protocol::batch_id id) {
    auto& worker = workers_[from];
    if (worker.staged.id != id || worker.staged.members.empty()) return;
    protocol::completion back{id, {}, {}, {}, 0, true, ++offers_};
    for (const auto& member : worker.staged.members) back.returned.push_back(member.key);
    worker.staged = {};
    answer(from, std::move(back), {});
  }

  void answer(protocol::peer_id from, protocol::completion told, microseconds after) {
    constexpr microseconds way{100};
    over_.push({now + after + way, from, workers_[from].life, std::move(told)});
  }

  std::mt19937_64 random_;
  std::unordered_map<protocol::peer_id, state> workers_;
  std::priority_queue<over> over_;
  protocol::offer_id offers_ = 1'000'000;
};

}  // namespace shoal::test
