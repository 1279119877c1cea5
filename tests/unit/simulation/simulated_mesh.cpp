#include "unit/simulation/simulated_mesh.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>

#include "scheduler/scheduler_state.hpp"
#include "worker/worker_state.hpp"

namespace shoal::test {

namespace {

using namespace protocol;
using std::chrono::microseconds;

constexpr microseconds fixed_cost{300};
constexpr double per_token_us = 20;
constexpr std::int64_t longest_text = 64;
constexpr double mean_tokens = 34;
/// What a request costs at batches of four.
constexpr double request_us = 300 / 4.0 + per_token_us * mean_tokens;

model_spec text_model(std::size_t number) {
  model_spec spec;
  spec.name = "model" + std::to_string(number);
  spec.version = 1;
  spec.state = model_state::ready;
  spec.batch_symbol = "batch";
  spec.pad_symbol = "length";
  spec.inputs = {{"tokens", dtype::int64, {{1, 1024, "batch"}, {1, 512, "length"}}, 0}};
  spec.outputs = {{"vector", dtype::fp32, {{1, 1024, "batch"}, dimension::fixed(1)}, 0}};
  return spec;
}

using node_id = std::size_t;

struct connection {
  node_id ends[2];
  bool up = true;
  time_point last[2];  ///< when what was sent in each direction arrives: in order
};

class mesh;

/// What a node knows of the network.
class port final : public link {
 public:
  port(mesh& world, node_id self) : world_(world), self_(self) {}
  expected<void> send(peer_id to, message body) override;
  void settle(peer_id, request_id) override {}

 private:
  mesh& world_;
  node_id self_;
};

struct node {
  service_kind service = service_kind::gateway;
  instance_id instance = 0;
  bool alive = true;
  std::unique_ptr<port> way;
  std::unique_ptr<metrics> figures;
  std::unique_ptr<scheduler::scheduler_state> scheduler;
  std::unique_ptr<worker::worker_state> worker;
  bool computing = false;
  std::optional<time_point> alarm;
};

class mesh {
 public:
  mesh(const simulated_world& world, std::uint64_t seed) : world_(world), random_(seed) {
    seen_.answered_of.resize(world.load.size());
    seen_.longest.resize(world.load.size());
    add(service_kind::gateway);
    for (std::size_t i = 0; i < world.schedulers; ++i) add_scheduler(i);
    for (std::size_t i = 0; i < world.workers; ++i) add_worker();
  }

  simulated_history run() {
    end_ = now_ + in_seconds(world_.seconds);
    for (std::size_t model = 0; model < world_.load.size(); ++model)
      if (world_.load[model] > 0) arrive(model);
    every(world_.breaks, [this] { break_one(); });
    every(world_.worker_deaths, [this] { kill_worker(); });
    every(world_.scheduler_deaths, [this] { kill_scheduler(); });
    const auto last = end_ + world_.time_left + std::chrono::seconds(1);
    while (!events_.empty() && events_.top().when <= last) {
      const auto next = events_.top();
      events_.pop();
      now_ = next.when;
      next.what();
    }
    seen_.unheard = open_.size();
    for (const auto& each : nodes_)
      if (each->figures)
        for (const auto& [name, value] : each->figures->snapshot()) {
          if (name == "shoal_worker_withdrawn_total") seen_.withdrawn += value;
          if (name == "shoal_scheduler_recalled_total") seen_.recalled += value;
        }
    return std::move(seen_);
  }

  expected<void> send(node_id from, peer_id over, message body) {
    auto& line = connections_.at(over - 1);
    if (!line.up) return fail(errc::unavailable, "no such peer");
    const auto to = line.ends[line.ends[0] == from ? 1 : 0];
    deliver(over, to, delivery{over, std::move(body)});
    return {};
  }

 private:
  struct event {
    time_point when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const event& other) const { return std::pair(when, order) > std::pair(other.when, other.order); }
  };
  struct open_request {
    std::size_t model = 0;
    infer request;
    time_point arrived, deadline;
    node_id scheduler = 0;  ///< 0: none can be asked
  };

  static steady::duration in_seconds(double s) {
    return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(s));
  }
  double between(double a, double b) { return std::uniform_real_distribution(a, b)(random_); }
  void at(time_point when, std::function<void()> what) { events_.push({when, ++order_, std::move(what)}); }
  void every(double rate, std::function<void()> what) {
    if (rate <= 0) return;
    at(now_ + in_seconds(std::exponential_distribution(rate)(random_)), [this, rate, what = std::move(what)] {
      if (now_ >= end_) return;
      what();
      every(rate, what);
    });
  }
  void note(std::uint64_t what) { seen_.print = (seen_.print ^ what) * 0x100000001b3; }  // FNV-1a

  // --- nodes and connections ---

  node_id add(service_kind service) {
    const auto id = nodes_.size();
    auto& added = *nodes_.emplace_back(std::make_unique<node>());
    added.service = service;
    added.instance = 1000 + id;
    added.way = std::make_unique<port>(*this, id);
    if (service != service_kind::gateway) added.figures = std::make_unique<metrics>();
    return id;
  }

  void add_scheduler(std::size_t place) {
    const auto id = add(service_kind::scheduler);
    scheduler::scheduler_options options;
    options.instance = nodes_[id]->instance;
    options.max_queue = 100'000;
    nodes_[id]->scheduler =
        std::make_unique<scheduler::scheduler_state>(options, *nodes_[id]->way, *nodes_[id]->figures);
    if (schedulers_.size() <= place) schedulers_.resize(place + 1);
    schedulers_[place] = id;
    connect(gateway_, id);
    for (node_id other = 0; other < id; ++other)
      if (nodes_[other]->alive && nodes_[other]->worker) connect(id, other);
  }

  void add_worker() {
    const auto id = add(service_kind::worker);
    auto& added = *nodes_[id];
    worker::worker_options options;
    options.instance = added.instance;
    added.worker = std::make_unique<worker::worker_state>(
        options, *added.way,
        worker::worker_state::compute_port{[](lookup) {}, [](load) {},
                                           [this, id](compute job) { start(id, std::move(job)); }, [](unload) {}},
        *added.figures);
    for (std::size_t model = 0; model < world_.load.size(); ++model) {
      loaded done;
      done.spec = text_model(model);
      added.worker->on(done, now_);
    }
    connect(gateway_, id);
    for (const auto scheduler : schedulers_)
      if (nodes_[scheduler]->alive) connect(scheduler, id);
  }

  void connect(node_id a, node_id b) {
    connections_.push_back({{a, b}, true, {now_, now_}});
    const peer_id id = connections_.size();
    for (const auto& [self, other] : {std::pair(a, b), std::pair(b, a)})
      deliver(id, self, peer_up{id, nodes_[other]->service, nodes_[other]->instance, 1, {"device=cpu"}});
  }

  void disconnect(peer_id id) {
    auto& line = connections_[id - 1];
    line.up = false;
    for (const auto end : line.ends)
      if (nodes_[end]->alive) hear(end, peer_down{id, {errc::unavailable, "the connection broke"}});
  }

  void deliver(peer_id over, node_id to, link_event what) {
    auto& line = connections_[over - 1];
    auto& last = line.last[line.ends[0] == to ? 0 : 1];
    last = std::max(last, now_ + microseconds(static_cast<int>(between(50, 150))));
    at(last, [this, over, to, what = std::move(what)]() mutable {
      if (connections_[over - 1].up && nodes_[to]->alive) hear(to, std::move(what));
    });
  }

  void hear(node_id id, link_event what) {
    auto& self = *nodes_[id];
    note(id * 31 + what.index());
    note(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    if (self.scheduler)
      self.scheduler->on(what, now_);
    else if (self.worker)
      self.worker->on(what, now_);
    else
      hear_as_gateway(what);
    set_alarm(id);
  }

  void set_alarm(node_id id) {
    auto& self = *nodes_[id];
    const auto next = self.scheduler ? self.scheduler->next_wake()
                      : self.worker  ? self.worker->next_wake()
                                     : std::nullopt;
    if (!next || (self.alarm && *self.alarm <= std::max(*next, now_))) return;
    const auto when = std::max(*next, now_);
    self.alarm = when;
    at(when, [this, id, when] {
      auto& self = *nodes_[id];
      if (!self.alive || self.alarm != when) return;
      self.alarm.reset();
      if (self.scheduler)
        self.scheduler->on_wake(now_);
      else
        self.worker->on_wake(now_);
      set_alarm(id);
    });
  }

  // --- workers ---

  void start(node_id id, compute job) {
    seen_.overlapping += std::exchange(nodes_[id]->computing, true);
    ++seen_.batches;
    std::int64_t rows = 0, longest = 0;
    for (const auto& member : job.members) {
      rows += member.inputs[0].dims[0];
      longest = std::max(longest, member.inputs[0].dims[1]);
    }
    const microseconds takes(
        std::llround((static_cast<double>(fixed_cost.count()) + per_token_us * static_cast<double>(rows * longest)) *
                     between(0.9, 1.1)));
    at(now_ + takes, [this, id, takes, rows, job = std::move(job)] {
      auto& self = *nodes_[id];
      if (!self.alive) return;
      self.computing = false;
      computed done;
      done.batch = job.batch;
      done.compute_time = takes;
      done.rows = static_cast<std::uint32_t>(rows);
      for (const auto& member : job.members)
        done.results.emplace_back(std::vector<tensor>{{"vector", dtype::fp32, {member.inputs[0].dims[0], 1}, {}}});
      self.worker->on(done, now_);
      set_alarm(id);
    });
  }

  // --- the gateway ---

  void arrive(std::size_t model) {
    const double rate = world_.load[model] * static_cast<double>(world_.workers) * 1e6 / request_us;
    at(now_ + in_seconds(std::exponential_distribution(rate)(random_)), [this, model] {
      if (now_ >= end_) return;
      ++seen_.asked;
      open_request added;
      added.model = model;
      added.arrived = now_;
      added.deadline = now_ + world_.time_left;
      added.request.id = seen_.asked;
      added.request.model = text_model(model).name;
      added.request.version = 1;
      const std::vector<priority> all{priority::critical, priority::standard, priority::batch};
      const auto& classes = world_.classes.empty() ? all : world_.classes[model];
      added.request.priority = classes[random_() % classes.size()];
      const auto tokens = std::uniform_int_distribution<std::int64_t>(4, longest_text)(random_);
      added.request.inputs = {{"tokens", dtype::int64, {1, tokens}, {}}};
      const auto id = seen_.asked;
      open_[id] = std::move(added);
      ask(id);
      at(open_[id].deadline, [this, id] {
        const auto found = open_.find(id);
        if (found == open_.end()) return;
        ++seen_.expired;
        expired_.insert(id);
        if (const auto over = way_to(found->second.scheduler))
          static_cast<void>(send(gateway_, *over, cancel{{nodes_[gateway_]->instance, id}}));
        open_.erase(found);
      });
      arrive(model);
    });
  }

  [[nodiscard]] std::optional<peer_id> way_to(node_id scheduler) const {
    const auto found = ways_.find(scheduler);
    if (found == ways_.end()) return std::nullopt;
    return found->second;
  }

  /// The scheduler of its model, or the next one that can be reached and knows it.
  void ask(request_id id) {
    auto& open = open_.at(id);
    open.scheduler = 0;
    for (std::size_t i = 0; i < schedulers_.size(); ++i) {
      const auto scheduler = schedulers_[(open.model + i) % schedulers_.size()];
      const auto over = way_to(scheduler);
      if (!over || !knows_.contains(scheduler)) continue;
      open.scheduler = scheduler;
      auto request = open.request;
      request.time_left = std::chrono::duration_cast<microseconds>(open.deadline - now_);
      static_cast<void>(send(gateway_, *over, std::move(request)));
      return;
    }
  }

  void ask_those_left() {
    std::vector<request_id> left;
    for (const auto& [id, open] : open_)
      if (open.scheduler == 0) left.push_back(id);
    for (const auto id : left) ask(id);
  }

  void hear_as_gateway(const link_event& what) {
    if (const auto* up = std::get_if<peer_up>(&what)) {
      const auto other = connections_[up->peer - 1].ends[1];
      if (nodes_[other]->scheduler) ways_[other] = up->peer;
    } else if (const auto* down = std::get_if<peer_down>(&what)) {
      const auto other = connections_[down->peer - 1].ends[1];
      if (ways_.erase(other) == 0) return;
      knows_.erase(other);
      for (auto& [id, open] : open_)
        if (open.scheduler == other) {
          ++open.request.attempt;
          open.scheduler = 0;
        }
      ask_those_left();
    } else {
      const auto& said = std::get<delivery>(what);
      if (const auto* models = std::get_if<catalogue>(&said.body)) {
        const bool serves = std::any_of(models->models.begin(), models->models.end(),
                                        [](const auto& spec) { return spec.state == model_state::ready; });
        const auto other = connections_[said.from - 1].ends[1];
        if (serves ? knows_.insert(other).second : knows_.erase(other) != 0) ask_those_left();
      }
      if (const auto* told = std::get_if<outcome>(&said.body)) end(*told);
    }
  }

  void end(const outcome& told) {
    const auto found = open_.find(told.id);
    if (found == open_.end()) {
      ++(expired_.contains(told.id) ? seen_.late : seen_.again);
      return;
    }
    const auto& open = found->second;
    if (told.result) {
      ++seen_.answered;
      ++seen_.answered_of[open.model];
      auto& longest = seen_.longest[open.model][open.request.priority];
      longest = std::max(longest, std::chrono::duration_cast<microseconds>(now_ - open.arrived));
    } else if (told.result.error().code == errc::overloaded || told.result.error().code == errc::unavailable) {
      ++seen_.refused;
    } else {
      ++seen_.wrong_ends;
    }
    open_.erase(found);
  }

  // --- faults ---

  void break_one() {
    std::vector<peer_id> up;
    for (peer_id id = 1; id <= connections_.size(); ++id)
      if (connections_[id - 1].up) up.push_back(id);
    if (up.empty()) return;
    const auto id = up[random_() % up.size()];
    disconnect(id);
    const auto a = connections_[id - 1].ends[0], b = connections_[id - 1].ends[1];
    at(now_ + in_seconds(between(0.05, 0.2)), [this, a, b] {
      if (nodes_[a]->alive && nodes_[b]->alive) connect(a, b);
    });
  }

  void kill(node_id id) {
    nodes_[id]->alive = false;
    for (peer_id each = 1; each <= connections_.size(); ++each) {
      const auto& line = connections_[each - 1];
      if (line.up && (line.ends[0] == id || line.ends[1] == id)) disconnect(each);
    }
  }

  void kill_worker() {
    std::vector<node_id> alive;
    for (node_id id = 0; id < nodes_.size(); ++id)
      if (nodes_[id]->alive && nodes_[id]->worker) alive.push_back(id);
    kill(alive[random_() % alive.size()]);
    add_worker();
  }

  void kill_scheduler() {
    const auto place = random_() % schedulers_.size();
    if (!nodes_[schedulers_[place]]->alive) return;
    kill(schedulers_[place]);
    at(now_ + std::chrono::milliseconds(500), [this, place] { add_scheduler(place); });
  }

  const simulated_world world_;
  std::mt19937_64 random_;
  time_point now_{std::chrono::hours(1)}, end_;
  std::priority_queue<event> events_;
  std::uint64_t order_ = 0;
  static constexpr node_id gateway_ = 0;
  std::vector<std::unique_ptr<node>> nodes_;
  std::vector<connection> connections_;  ///< their peer ids: the place here + 1
  std::vector<node_id> schedulers_;      ///< by place
  std::map<node_id, peer_id> ways_;      ///< to schedulers, the gateway's
  std::set<node_id> knows_;              ///< schedulers that have told of models that are ready
  std::map<request_id, open_request> open_;
  std::set<request_id> expired_;
  simulated_history seen_;
};

expected<void> port::send(peer_id to, message body) { return world_.send(self_, to, std::move(body)); }

}  // namespace

simulated_history simulate(const simulated_world& world, std::uint64_t seed) { return mesh(world, seed).run(); }

}  // namespace shoal::test
