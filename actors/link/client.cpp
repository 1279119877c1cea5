#include "link/client.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "core/name.hpp"
#include "link/counters.hpp"
#include "link/zmq_link.hpp"

namespace shoal::link {

using namespace shoal::protocol;

namespace {

std::string list_of(const std::vector<std::string>& endpoints) {
  std::string text;
  for (const auto& each : endpoints) text += (text.empty() ? "" : ", ") + each;
  return text;
}

error would_wait_for_itself() {
  return {errc::invalid_argument, "a blocking call in a callback would wait for itself: use the one with a callback"};
}

}  // namespace

struct client::state {
  zmq_link link;
  const std::string endpoints;

  mutable std::mutex mutex;
  std::condition_variable changed;
  client_state mind;
  std::vector<std::function<void()>> posted;
  counter thrown{0};
  std::atomic<std::thread::id> thread{};

  state(options own, std::string at, client_policy with)
      : link(listened_to(std::move(own))), endpoints(std::move(at)), mind(link, endpoints, with, link.instance()) {}

  /// What the link complains of is why there is no connection.
  options listened_to(options own) {
    own.log = [this, others = std::move(own.log)](log_level level, const std::string& sentence) {
      if (others) others(level, sentence);
      if (level == log_level::debug) return;
      std::lock_guard lock(mutex);
      mind.complained(sentence);
    };
    return own;
  }

  void on_event(link_event event) {
    std::lock_guard lock(mutex);
    mind.on(event, steady::now());
    if (std::holds_alternative<peer_up>(event)) changed.notify_all();
  }

  /// Once in every round of the link, after its events: what is due, and what has ended is told without the lock.
  bool after_poll() {
    thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
    client_state::endings ended;
    std::vector<std::function<void()>> jobs;
    {
      std::lock_guard lock(mutex);
      mind.tick(steady::now());
      ended = mind.take_endings();
      jobs.swap(posted);
      if (const auto next = mind.next()) link.wake_at(*next);
    }
    tell(std::move(ended), std::move(jobs));
    return false;
  }

  void tell(client_state::endings ended, std::vector<std::function<void()>> jobs) {
    for (auto& each : jobs) guarded(each);
    for (auto& each : ended.requests) guarded([&] { each.tell(std::move(each.with)); });
    for (auto& each : ended.questions) guarded([&] { each.tell(std::move(each.with)); });
  }

  template <class Call>
  void guarded(Call&& call) {
    try {
      call();
    } catch (...) {  // whoever was told threw: the link's thread serves others too
      add(thrown);
    }
  }

  /// Does something to the mind from any thread, and sees to it that what follows is done by the link's.
  template <class Action>
  auto with_mind(Action&& action) {
    std::unique_lock lock(mutex);
    const auto before = mind.next();
    auto result = action(mind, steady::now());
    const auto next = mind.next();
    const bool ended = mind.has_endings();
    lock.unlock();
    if (ended)
      link.wake();
    else if (next && (!before || *next < *before))
      link.wake_at(*next);
    return result;
  }

  template <class Body>
  expected<Body> ask(client_state::question what, milliseconds within) {
    if (thread.load(std::memory_order_relaxed) == std::this_thread::get_id())
      return tl::unexpected(would_wait_for_itself());
    // Shared: the one who waits may be gone before the one who tells has returned.
    const auto promise = std::make_shared<std::promise<expected<message>>>();
    auto answer = promise->get_future();
    with_mind([&](client_state& mind, time_point now) {
      mind.ask(
          std::move(what), within, [promise](expected<message> with) { promise->set_value(std::move(with)); }, now);
      return true;
    });
    auto heard = answer.get();
    if (!heard) return tl::unexpected(std::move(heard.error()));
    return std::get<Body>(std::move(*heard));
  }
};

client::client(std::unique_ptr<state> made) : state_(std::move(made)) {}

client::~client() {
  state_->link.stop();
  // What is told may ask for more, which ends at once.
  for (bool more = true; more;) {
    std::unique_lock lock(state_->mutex);
    state_->mind.close({errc::cancelled, "the client was closed"});
    auto ended = state_->mind.take_endings();
    auto jobs = std::exchange(state_->posted, {});
    lock.unlock();
    more = !ended.empty() || !jobs.empty();
    state_->tell(std::move(ended), std::move(jobs));
  }
}

expected<std::unique_ptr<client>> client::connect(const std::string& endpoint, milliseconds timeout, options own) {
  return connect(std::vector{endpoint}, timeout, {}, std::move(own));
}

expected<std::unique_ptr<client>> client::connect(const std::vector<std::string>& endpoints, milliseconds timeout,
                                                  client_policy policy, options own) {
  own.service = service_kind::client;
  std::unique_ptr<client> made(new client(std::make_unique<state>(std::move(own), list_of(endpoints), policy)));
  auto* state = made->state_.get();
  state->link.start([state](link_event event) { state->on_event(std::move(event)); },
                    [state] { return state->after_poll(); });
  for (const auto& endpoint : endpoints)
    if (auto reached = state->link.connect(service_kind::gateway, endpoint); !reached)
      return tl::unexpected(reached.error());
  if (timeout <= milliseconds::zero()) return made;
  std::unique_lock lock(state->mutex);
  if (!state->changed.wait_for(lock, std::min<milliseconds>(timeout, std::chrono::hours(24)),
                               [&] { return state->mind.connected(); }))
    return tl::unexpected(state->mind.not_connected());
  lock.unlock();
  return made;
}

request_id client::submit(protocol::infer request, milliseconds within, done on_outcome) {
  return state_->with_mind([&](client_state& mind, time_point now) {
    return mind.submit(std::move(request), within, std::move(on_outcome), now);
  });
}

outcome client::infer(protocol::infer request, milliseconds within) {
  if (on_own_thread()) return outcome{0, 0, tl::unexpected(would_wait_for_itself())};
  const auto ended = std::make_shared<std::promise<outcome>>();
  auto result = ended->get_future();
  submit(std::move(request), within, [ended](outcome with) { ended->set_value(std::move(with)); });
  return result.get();
}

void client::cancel(request_id id) {
  state_->with_mind([&](client_state& mind, time_point) {
    mind.give_up(id, {errc::cancelled, "the request was taken back"});
    return true;
  });
}

void client::post(std::function<void()> what) {
  {
    std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(what));
  }
  state_->link.wake();
}

expected<catalogue> client::describe(milliseconds within) {
  return state_->ask<catalogue>(protocol::describe{}, within);
}

expected<report> client::inquire(milliseconds within) { return state_->ask<report>(protocol::inquire{}, within); }

expected<std::vector<worker_answer>> client::manage(protocol::manage request, milliseconds within) {
  if (auto good = check_name("a model's", request.model); !good) return tl::unexpected(good.error());
  auto answer = state_->ask<managed>(std::move(request), within);
  if (!answer) return tl::unexpected(std::move(answer.error()));
  return std::move(answer->result);
}

bool client::connected() const {
  std::lock_guard lock(state_->mutex);
  return state_->mind.connected();
}

bool client::on_own_thread() const {
  return state_->thread.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

std::vector<figure> client::figures() const {
  auto all = state_->link.figures();
  std::lock_guard lock(state_->mutex);
  const auto own = state_->mind.figures();
  all.insert(all.end(), own.begin(), own.end());
  all.push_back({"client_thrown", static_cast<double>(state_->thrown)});
  return all;
}

}  // namespace shoal::link
