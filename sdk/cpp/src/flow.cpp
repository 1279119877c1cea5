#include "flow.hpp"

#include <algorithm>
#include <exception>
#include <string>

namespace shoal::client {

namespace detail {

flow::flow(std::shared_ptr<session> over, source from, const call& how, std::size_t window, bool ordered)
    : session_(std::move(over)),
      from_(std::move(from)),
      window_(std::max<std::size_t>(window, 1)),
      ordered_(ordered),
      how_{how.deadline, own_.get_token(), how.priority},
      linked_(how.stop, on_stop{&own_}) {}

flow::~flow() { own_.request_stop(); }

/// An outcome that no request has: the last of this flow.
void flow::end_with(error why) {
  exhausted_ = true;
  std::lock_guard lock(board_->mutex);
  const auto index = drawn_++;
  board_->ready.emplace(ordered_ ? index : board_->arrived++, indexed{index, tl::unexpected(std::move(why))});
}

std::optional<request> flow::draw() {
  if (held_) return std::exchange(held_, std::nullopt);
  std::string what;
  try {
    auto next = from_();
    if (!next) exhausted_ = true;
    return next;
  } catch (const std::exception& problem) {
    what = problem.what();
  } catch (...) {
    what = "something that is no std::exception";
  }
  end_with({errc::internal, "the source of requests threw: " + what, false, {}, 0});
  return std::nullopt;
}

void flow::fill() {
  for (;;) {
    bool alone = false;
    {
      std::lock_guard lock(board_->mutex);
      if (exhausted_ || board_->in_flight + board_->ready.size() >= window_) return;
      alone = board_->in_flight == 0 && board_->ready.empty();
    }
    if (own_.stop_requested()) {
      exhausted_ = true;
      return;
    }
    auto next = draw();
    if (!next) continue;
    const auto index = drawn_;
    {
      std::lock_guard lock(board_->mutex);
      ++board_->in_flight;
    }
    done arrived = [board = board_, index, ordered = ordered_](expected<result> came) {
      std::lock_guard lock(board->mutex);
      --board->in_flight;
      board->ready.emplace(ordered ? index : board->arrived++, indexed{index, std::move(came)});
      board->changed.notify_one();
    };
    // Waits for room in the mesh's window only if there is nothing else to wait for.
    const bool sent = session_->submit(*next, how_, arrived, alone ? session::full::waits : session::full::refuses);
    if (sent) {
      ++drawn_;
      continue;
    }
    held_ = std::move(next);
    std::lock_guard lock(board_->mutex);
    --board_->in_flight;
    return;
  }
}

std::optional<indexed> flow::next() {
  if (session_->client().on_own_thread()) {
    if (std::exchange(exhausted_, true) && taken_ >= drawn_) return std::nullopt;
    own_.request_stop();
    taken_ = drawn_ + 1;
    return indexed{
        drawn_++,
        tl::unexpected(
            error{errc::invalid_argument, "a map or stream pulled in a callback would wait for itself", false, {}, 0})};
  }
  fill();
  std::unique_lock lock(board_->mutex);
  if (taken_ >= drawn_) return std::nullopt;
  auto& ready = board_->ready;
  board_->changed.wait(lock, [&] { return !ready.empty() && (!ordered_ || ready.begin()->first == taken_); });
  auto first = ready.extract(ready.begin());
  ++taken_;
  return std::move(first.mapped());
}

}  // namespace detail

mapping::mapping(std::unique_ptr<detail::flow> made) : flow_(std::move(made)) {}
mapping::mapping(mapping&&) noexcept = default;
mapping& mapping::operator=(mapping&&) noexcept = default;
mapping::~mapping() = default;

std::optional<mapping::value> mapping::next() {
  auto came = flow_->next();
  if (!came) return std::nullopt;
  return std::move(came->result);
}

streaming::streaming(std::unique_ptr<detail::flow> made) : flow_(std::move(made)) {}
streaming::streaming(streaming&&) noexcept = default;
streaming& streaming::operator=(streaming&&) noexcept = default;
streaming::~streaming() = default;

std::optional<indexed> streaming::next() { return flow_->next(); }

}  // namespace shoal::client
