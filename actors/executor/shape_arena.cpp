#include "executor/shape_arena.hpp"

#include <algorithm>
#include <cstdlib>

namespace shoal::executor {

void shape_arena::aligned_free::operator()(std::byte* block) const noexcept { std::free(block); }

void shape_arena::begin(std::uint64_t bucket) {
  ++run_;
  next_ = 0;
  departed_ = false;
  recording_.allocations.clear();
  mode_ = mode::off;
  current_ = nullptr;
  if (closed_) return;
  if (!buckets_.contains(bucket) && buckets_.size() == max_buckets) drop_oldest();
  current_ = &buckets_[bucket];
  current_->used = run_;
  if (current_->departures >= max_departures) return;
  if (!current_->plan)
    mode_ = mode::recording;
  else if (prepare_replay(*current_->plan))
    mode_ = mode::replaying;
}

bool shape_arena::prepare_replay(const memory_plan& plan) {
  // A block that outlived its run against the plan: its bit belongs to that plan, so the arena waits for it.
  if (!idle()) return false;
  if (plan.arena_bytes > size_) {
    arena_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment_, plan.arena_bytes)));
    size_ = arena_ ? plan.arena_bytes : 0;
    if (!arena_) return false;
  }
  needed_ = std::max(needed_, plan.arena_bytes);
  live_.assign((plan.offsets.size() + 63) / 64, 0);
  return true;
}

shape_arena::placement shape_arena::allocate(std::size_t bytes) {
  if (mode_ == mode::recording) {
    if (recording_.allocations.size() == max_allocations) {
      mode_ = mode::off;
      current_->departures = max_departures;
      return {};
    }
    return {nullptr, recording_.begin(bytes), run_};
  }
  if (mode_ != mode::replaying || departed_) return {};
  const auto& plan = *current_->plan;
  const auto index = next_++;
  if (index >= plan.offsets.size() || bytes > plan.bytes[index]) {
    departed_ = true;
    if (index >= plan.offsets.size()) ++current_->departures;
    return {};
  }
  if (plan.offsets[index] == memory_plan::outside) return {};
  const auto& shares = plan.shares[index];
  for (std::size_t word = 0; word < shares.size(); ++word)
    if ((shares[word] & live_[word]) != 0) return {};
  live_[index / 64] |= std::uint64_t{1} << (index % 64);
  ++alive_;
  return {arena_.get() + plan.offsets[index] + margin_, index, run_};
}

void shape_arena::release(const placement& block) {
  if (block.block != nullptr) {
    --alive_;
    if (block.run == run_ && !live_.empty()) live_[block.index / 64] &= ~(std::uint64_t{1} << (block.index % 64));
    if (closed_ && idle()) free_arena();
  } else if (block.run == run_ && mode_ == mode::recording) {
    recording_.end(block.index);
  }
}

void shape_arena::finish() {
  if (mode_ == mode::recording) {
    if (!current_->trace.allocations.empty() && !recording_.cover(current_->trace)) ++current_->departures;
    current_->trace = recording_;
    current_->plan = memory_plan::make(recording_, alignment_, margin_);
  } else if (mode_ == mode::replaying && departed_) {
    current_->plan.reset();  // the next run of this bucket is recorded, and the plan made wide enough for both
  }
  abandon();
}

void shape_arena::abandon() {
  mode_ = mode::off;
  current_ = nullptr;
}

void shape_arena::drop_oldest() {
  buckets_.erase(std::min_element(buckets_.begin(), buckets_.end(),
                                  [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
}

std::size_t shape_arena::plans() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(buckets_.begin(), buckets_.end(), [](const auto& each) { return each.second.plan.has_value(); }));
}

void shape_arena::free_arena() {
  arena_.reset();
  size_ = 0;
}

void shape_arena::trim() {
  if (idle() && needed_ < size_) free_arena();
  needed_ = 0;
}

void shape_arena::close() {
  closed_ = true;
  buckets_.clear();
  abandon();
  if (idle()) free_arena();
}

}  // namespace shoal::executor
