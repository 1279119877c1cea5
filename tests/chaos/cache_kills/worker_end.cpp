#include "chaos/cache_kills/worker_end.hpp"

#include <stdexcept>

namespace shoal::chaos {

namespace {

constexpr std::chrono::seconds patience{30};

link::options settings() {
  link::options made;
  made.service = protocol::service_kind::worker;
  made.first_retry = made.last_retry = std::chrono::milliseconds(10);
  made.max_message_bytes = 64ull << 20;
  return made;
}

template <class Ready>
void wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& held, const char* what, Ready&& ready) {
  if (!changed.wait_for(held, patience, ready)) throw std::runtime_error(std::string("no ") + what + " within 30 s");
}

}  // namespace

worker_end::worker_end(const std::string& cache) : link_(settings()) {
  link_.start([this](protocol::link_event event) { on(std::move(event)); });
  if (auto reached = link_.connect(protocol::service_kind::cache, cache); !reached)
    throw std::runtime_error(reached.error().message);
}

bool worker_end::wait_for_cache(const std::function<bool()>& while_true) {
  const auto end = std::chrono::steady_clock::now() + patience;
  std::unique_lock held(mutex_);
  while (cache_ == 0) {
    changed_.wait_for(held, std::chrono::milliseconds(5));
    if (cache_ == 0 && !while_true()) return false;
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("the cache did not come back within 30 s");
  }
  return true;
}

bool worker_end::store(std::uint64_t id, const protocol::object_key& key, buffer bytes) {
  const std::lock_guard held(mutex_);
  if (cache_ == 0) return false;
  const auto size = static_cast<std::int64_t>(bytes.bytes().size());
  protocol::store body{id, key, {}, {}, tensor{"", dtype::uint8, {size}, std::move(bytes)}};
  if (!link_.send(cache_, std::move(body))) return false;
  ++waiting_;
  return true;
}

std::map<std::uint64_t, expected<void>> worker_end::take_stored() {
  const std::lock_guard held(mutex_);
  return std::exchange(stored_, {});
}

bool worker_end::wait_for_stored() {
  std::unique_lock held(mutex_);
  wait_until(changed_, held, "answer to what was given", [&] { return waiting_ == 0; });
  return cache_ != 0;
}

std::optional<std::vector<protocol::leased::object>> worker_end::acquire(std::vector<protocol::object_key> keys,
                                                                         bool verify) {
  std::unique_lock held(mutex_);
  leased_.reset();
  if (cache_ == 0 || !link_.send(cache_, protocol::acquire{next_++, std::move(keys), verify})) return {};
  wait_until(changed_, held, "lease", [&] { return leased_ || cache_ == 0; });
  if (!leased_) return {};
  return std::move(leased_->objects);
}

void worker_end::release(std::vector<protocol::object_key> keys) {
  const std::lock_guard held(mutex_);
  if (cache_ != 0) static_cast<void>(link_.send(cache_, protocol::release{std::move(keys)}));
}

void worker_end::wait_for_loss() {
  std::unique_lock held(mutex_);
  wait_until(changed_, held, "loss", [&] { return cache_ == 0; });
}

void worker_end::on(protocol::link_event event) {
  const std::lock_guard held(mutex_);
  if (const auto* up = std::get_if<protocol::peer_up>(&event)) {
    cache_ = up->peer;
  } else if (std::holds_alternative<protocol::peer_down>(event)) {
    cache_ = 0;
    waiting_ = 0;
  } else if (auto* came = std::get_if<protocol::delivery>(&event)) {
    if (auto* done = std::get_if<protocol::stored>(&came->body)) {
      stored_.insert_or_assign(done->id, std::move(done->result));
      --waiting_;
    } else if (auto* lease = std::get_if<protocol::leased>(&came->body)) {
      leased_ = std::move(*lease);
    }
  }
  changed_.notify_all();
}

}  // namespace shoal::chaos
