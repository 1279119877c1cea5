#include "link/client.hpp"

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/deadline_queue.hpp"
#include "link/zmq_link.hpp"

namespace shoal::link {

using namespace shoal::protocol;

struct client::state {
  struct request {
    done on_outcome;
    peer_id at = 0;
  };

  zmq_link link;
  const std::string endpoint;

  mutable std::mutex mutex;
  std::condition_variable changed;
  peer_id gateway = 0;  ///< zero: not connected
  request_id next_id = 1;
  std::unordered_map<request_id, request> requests;
  deadline_queue<request_id> deadlines;
  std::deque<std::promise<expected<catalogue>>> catalogues;  ///< asked for, in order
  std::deque<std::promise<expected<report>>> reports;
  std::unordered_map<request_id, std::promise<expected<std::vector<worker_answer>>>> managing;

  state(options own, std::string at) : link(std::move(own)), endpoint(std::move(at)) {}

  [[nodiscard]] error not_connected() const {
    return {errc::unavailable, "the gateway at " + endpoint + " cannot be reached"};
  }

  void on_event(link_event event) {
    if (const auto* up = std::get_if<peer_up>(&event)) {
      std::lock_guard lock(mutex);
      gateway = up->peer;
      changed.notify_all();
    } else if (const auto* down = std::get_if<peer_down>(&event)) {
      on_down(down->peer, {errc::unavailable, "the gateway is gone: " + down->reason.message});
    } else {
      on_message(std::move(std::get<delivery>(event).body));
    }
  }

  void on_down(peer_id peer, const error& reason) {
    std::unordered_map<request_id, request> lost;
    std::deque<std::promise<expected<catalogue>>> unheard_catalogues;
    std::deque<std::promise<expected<report>>> unheard_reports;
    decltype(managing) unheard_managing;
    {
      std::lock_guard lock(mutex);
      if (peer != gateway) return;
      gateway = 0;
      lost.swap(requests);
      unheard_catalogues.swap(catalogues);
      unheard_reports.swap(reports);
      unheard_managing.swap(managing);
    }
    for (auto& [id, each] : lost) each.on_outcome(outcome{id, 0, tl::unexpected(reason)});
    for (auto& each : unheard_catalogues) each.set_value(tl::unexpected(reason));
    for (auto& each : unheard_reports) each.set_value(tl::unexpected(reason));
    for (auto& [id, each] : unheard_managing) each.set_value(tl::unexpected(reason));
  }

  void on_message(message body) {
    if (auto* ended = std::get_if<outcome>(&body)) {
      end(ended->id, std::move(*ended));
    } else if (auto* models = std::get_if<catalogue>(&body)) {
      answer(catalogues, std::move(*models));
    } else if (auto* figures = std::get_if<report>(&body)) {
      answer(reports, std::move(*figures));
    } else if (auto* done = std::get_if<managed>(&body)) {
      std::unique_lock lock(mutex);
      auto node = managing.extract(done->key.id);
      lock.unlock();
      if (!node.empty()) node.mapped().set_value(std::move(done->result));
    }
  }

  /// Whoever asked first; a catalogue that nobody asked for is news, which this client does not follow.
  template <class Body>
  void answer(std::deque<std::promise<expected<Body>>>& waiting, Body body) {
    std::unique_lock lock(mutex);
    if (waiting.empty()) return;
    auto first = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    first.set_value(std::move(body));
  }

  /// Only the first one who ends a request gets its callback; later outcomes fall on the floor here.
  void end(request_id id, outcome with) {
    std::unique_lock lock(mutex);
    auto found = requests.find(id);
    if (found == requests.end()) return;
    auto ended = std::move(found->second);
    requests.erase(found);
    lock.unlock();
    ended.on_outcome(std::move(with));
  }

  /// Takes a request back before its outcome has come.
  void give_up(request_id id, error why) {
    peer_id at = 0;
    {
      std::lock_guard lock(mutex);
      auto found = requests.find(id);
      if (found == requests.end()) return;
      at = found->second.at;
    }
    link.settle(at, id);
    // If it cannot be told, the gateway's own deadline ends the request there.
    static_cast<void>(link.send(at, protocol::cancel{{0, id}}));
    end(id, outcome{id, 0, tl::unexpected(std::move(why))});
  }

  bool end_late_ones() {
    for (;;) {
      std::optional<request_id> late;
      {
        std::lock_guard lock(mutex);
        late = deadlines.pop_due(steady::now());
        if (!late) {
          if (const auto next = deadlines.next()) link.wake_at(*next);
          return false;
        }
      }
      give_up(*late, {errc::deadline_exceeded, "no outcome came from " + endpoint + " within the time given"});
    }
  }

  template <class Question, class Body>
  expected<Body> ask(std::deque<std::promise<expected<Body>>>& waiting, milliseconds within) {
    std::promise<expected<Body>> promise;
    auto answer = promise.get_future();
    {
      std::lock_guard lock(mutex);
      if (gateway == 0) return tl::unexpected(not_connected());
      if (auto sent = link.send(gateway, Question{}); !sent) return tl::unexpected(sent.error());
      waiting.push_back(std::move(promise));
    }
    if (answer.wait_for(within) != std::future_status::ready)
      return fail(errc::deadline_exceeded, "no answer came from " + endpoint + " within the time given");
    return answer.get();
  }
};

client::client(std::unique_ptr<state> made) : state_(std::move(made)) {}
client::~client() {
  state_->link.stop();
  state_->on_down(state_->gateway, {errc::cancelled, "the client was closed"});
}

expected<std::unique_ptr<client>> client::connect(const std::string& endpoint, milliseconds timeout, options own) {
  own.service = service_kind::client;
  std::unique_ptr<client> made(new client(std::make_unique<state>(std::move(own), endpoint)));
  auto* state = made->state_.get();
  state->link.start([state](link_event event) { state->on_event(std::move(event)); },
                    [state] { return state->end_late_ones(); });
  if (auto reached = state->link.connect(service_kind::gateway, endpoint); !reached)
    return tl::unexpected(reached.error());
  std::unique_lock lock(state->mutex);
  if (!state->changed.wait_for(lock, timeout, [&] { return state->gateway != 0; }))
    return tl::unexpected(state->not_connected());
  lock.unlock();
  return made;
}

request_id client::submit(protocol::infer request, milliseconds within, done on_outcome) {
  if (request.time_left.count() == 0) request.time_left = within;
  std::unique_lock lock(state_->mutex);
  const auto id = request.id = state_->next_id++;
  const auto at = state_->gateway;
  if (at == 0) {
    lock.unlock();
    on_outcome(outcome{id, 0, tl::unexpected(state_->not_connected())});
    return id;
  }
  state_->requests.emplace(id, state::request{std::move(on_outcome), at});
  const auto due = steady::now() + within;
  const auto next = state_->deadlines.next();
  state_->deadlines.add(due, id);
  lock.unlock();
  if (!next || due < *next) state_->link.wake_at(due);
  if (auto sent = state_->link.send(at, std::move(request)); !sent)
    state_->end(id, outcome{id, 0, tl::unexpected(sent.error())});
  return id;
}

outcome client::infer(protocol::infer request, milliseconds within) {
  std::promise<outcome> ended;
  auto result = ended.get_future();
  submit(std::move(request), within, [&](outcome with) { ended.set_value(std::move(with)); });
  return result.get();
}

void client::cancel(request_id id) { state_->give_up(id, {errc::cancelled, "the request was taken back"}); }

expected<catalogue> client::describe(milliseconds within) {
  return state_->ask<protocol::describe>(state_->catalogues, within);
}

expected<report> client::inquire(milliseconds within) {
  return state_->ask<protocol::inquire>(state_->reports, within);
}

expected<std::vector<worker_answer>> client::manage(protocol::manage request, milliseconds within) {
  std::promise<expected<std::vector<worker_answer>>> promise;
  auto answer = promise.get_future();
  request_id id = 0;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->gateway == 0) return tl::unexpected(state_->not_connected());
    id = state_->next_id++;
    request.key = {0, id};
    request.time_left = within;
    if (auto sent = state_->link.send(state_->gateway, std::move(request)); !sent) return tl::unexpected(sent.error());
    state_->managing.emplace(id, std::move(promise));
  }
  // Longer than what the gateway was given: it says which workers have not answered.
  if (answer.wait_for(within + milliseconds(1000)) == std::future_status::ready) return answer.get();
  std::lock_guard lock(state_->mutex);
  state_->managing.erase(id);
  return fail(errc::deadline_exceeded, "no answer came from " + state_->endpoint + " within the time given");
}

bool client::connected() const {
  std::lock_guard lock(state_->mutex);
  return state_->gateway != 0;
}

std::vector<figure> client::figures() const { return state_->link.figures(); }

}  // namespace shoal::link
