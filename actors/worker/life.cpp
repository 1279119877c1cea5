// The part of the worker's mind that takes models into service and out of it (worker_state.hpp).
#include <algorithm>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "core/name.hpp"
#include "worker/worker_state.hpp"

namespace shoal::worker {

using namespace protocol;

namespace {

constexpr std::size_t most_orders = 64;
constexpr std::size_t answers_kept = 64;
/// Versions that were unloaded, of which a scheduler might still send a batch: the oldest of so many no longer.
constexpr std::size_t gone_kept = 32;

std::string title(const std::pair<std::string, std::uint64_t>& key) {
  return "model '" + key.first + "' version " + std::to_string(key.second);
}

}  // namespace

void worker_state::load(std::vector<protocol::load> models) {
  for (auto& model : models) {
    auto& spec = models_[{model.name, model.version}];
    spec = {};
    spec.name = model.name;
    spec.version = model.version;
    leaving_.erase({model.name, model.version});
    compute_.load(std::move(model));
  }
  announce_to_all();
}

void worker_state::on(loaded& loaded, time_point now) {
  auto& spec = loaded.spec;
  const model_key key{spec.name, spec.version};
  const bool is_ready = spec.state == model_state::ready;
  if (is_ready)
    spdlog::info("model {} version {} is ready after {:.2f} s", spec.name, spec.version, loaded.seconds);
  else
    spdlog::error("model {} version {} cannot be served: {}", spec.name, spec.version, spec.reason);
  const auto reason = spec.reason;
  if (is_ready) plans_.serve(loaded);
  models_[key] = std::move(spec);
  announce_to_all();
  if (!report_at_) report_at_ = now;
  std::vector<request_key> done;
  for (const auto& [order_key, order] : orders_)
    if (order.request.verb == life_verb::load && order.request.model == key.first && order.version == key.second)
      done.push_back(order_key);
  for (const auto& order_key : done) {
    if (!is_ready) {
      answer_order(order_key, fail(errc::invalid_argument, title(key) + " could not be loaded: " + reason));
      continue;
    }
    auto& order = orders_.at(order_key);
    order.said = fmt::format("loaded version {} in {:.2f} s", key.second, loaded.seconds);
    if (order.request.replace) replace_older(order);
    if (order.leaving.empty()) answer_order(order_key, order.said);
  }
  release_drained();
}

void worker_state::announce_to_all() {
  models_ready_.Set(static_cast<double>(std::count_if(
      models_.begin(), models_.end(), [](const auto& entry) { return entry.second.state == model_state::ready; })));
  places_.each_scheduler([this](peer_id peer) { announce(peer); });
  publish_health();
}

void worker_state::announce(peer_id scheduler) {
  catalogue all;
  for (const auto& [key, spec] : models_) {
    all.models.push_back(spec);
    if (!draining_) continue;
    // Not left out, which would say that the models were unloaded: requests for them wait for another worker.
    all.models.back().state = model_state::loading;
    all.models.back().reason = "its worker is shutting down";
  }
  const auto sent = link_.send(scheduler, std::move(all));  // a scheduler that is gone is told when it is back
  if (!sent && sent.error().code != errc::unavailable)
    spdlog::error("the models cannot be told to a scheduler, which gives no work for them: {}", sent.error().message);
}

// --- orders ---------------------------------------------------------------------------------------------------------

void worker_state::on_message(peer_id from, manage& request, time_point) {
  if (!places_.knows(from)) return unexpected_.Increment();
  const auto key = request.key;
  const auto tell = [&](const expected<std::string>& result) {
    static_cast<void>(link_.send(from, managed{key, std::vector<worker_answer>{{options_.instance, result}}}));
  };
  if (const auto under_way = orders_.find(key); under_way != orders_.end()) {
    under_way->second.askers.insert(from);  // the same, through another scheduler
    return;
  }
  for (const auto& [known, result] : answered_)
    if (known == key) return tell(result);
  if (auto good = check_name("a model's", request.model); !good) return tell(tl::unexpected(good.error()));
  if (draining_) return tell(fail(errc::unavailable, "this worker is shutting down"));
  if (orders_.size() >= most_orders)
    return tell(fail(errc::overloaded, "this worker has too many loads and unloads under way: try again"));
  auto& order = orders_[key];
  order.request = std::move(request);
  order.askers.insert(from);
  if (order.request.verb == life_verb::unload) return start_unload(order);
  const model_key wanted{order.request.model, order.request.version};
  if (auto may = may_load(wanted); !may) return answer_order(key, tl::unexpected(may.error()));
  compute_.find({key, wanted.first, wanted.second});
}

expected<void> worker_state::may_load(const model_key& key) const {
  if (const auto leaving = leaving_.find(key); leaving != leaving_.end() && leaving->second != leave::gone)
    return tl::unexpected(error{errc::unavailable, title(key) + " is being unloaded: try again in a moment"});
  const auto known = models_.find(key);
  if (known == models_.end() || known->second.state == model_state::failed) return {};
  if (known->second.state == model_state::loading) return fail(errc::unavailable, title(key) + " is still loading");
  return fail(errc::invalid_argument, title(key) + " is loaded already");
}

void worker_state::on(found& found, time_point) {
  const auto at = orders_.find(found.key);
  if (at == orders_.end()) return unexpected_.Increment();
  if (!found.what) return answer_order(found.key, tl::unexpected(found.what.error()));
  if (auto may = may_load({found.what->name, found.what->version}); !may)
    return answer_order(found.key, tl::unexpected(may.error()));
  at->second.version = found.what->version;
  load({std::move(*found.what)});
}

void worker_state::start_unload(order& order) {
  const auto key = order.request.key;
  std::vector<model_key> chosen;
  for (const auto& [known, spec] : models_) {
    if (known.first != order.request.model) continue;
    if (order.request.version != 0 && known.second != order.request.version) continue;
    if (spec.state == model_state::loading)
      return answer_order(key,
                          fail(errc::unavailable, title(known) + " is still loading: unload it when that is over"));
    chosen.push_back(known);
  }
  if (chosen.empty())
    return answer_order(
        key, fail(errc::not_found,
                  "this worker has no model '" + order.request.model + "'" +
                      (order.request.version != 0 ? " version " + std::to_string(order.request.version) : "")));
  order.said = "unloaded version";
  for (const auto& each : chosen) {
    order.said += (each == chosen.front() ? " " : ", ") + std::to_string(each.second);
    if (models_.at(each).state == model_state::ready) order.leaving.insert(each);
    leave_service(each);
  }
  announce_to_all();
  if (order.leaving.empty()) return answer_order(key, order.said);
  release_drained();
}

/// A new version serves: the older ones go. They serve until this very moment, and the gateways hand what was meant for
/// the highest version to the new one.
void worker_state::replace_older(order& order) {
  std::vector<model_key> older;
  for (const auto& [known, spec] : models_)
    if (known.first == order.request.model && known.second < order.version && spec.state != model_state::loading)
      older.push_back(known);
  if (older.empty()) return;
  order.said += ", unloaded";
  for (const auto& each : older) {
    order.said += (each == older.front() ? " " : ", ") + std::to_string(each.second);
    if (models_.at(each).state == model_state::ready) order.leaving.insert(each);
    leave_service(each);
  }
  announce_to_all();
}

/// Nothing new is taken for it; its memory is freed once what was taken is over.
void worker_state::leave_service(const model_key& key) {
  const bool holds_memory = models_.at(key).state == model_state::ready;
  plans_.stop(key);
  models_.erase(key);
  if (holds_memory) leaving_[key] = leave::draining;
}

void worker_state::release_drained() {
  for (auto& [key, phase] : leaving_) {
    if (phase != leave::draining) continue;
    const bool in_use = std::any_of(batches_.begin(), batches_.end(), [&key = key](const staged& batch) {
      return !batch.members.empty() && batch.members.front().request.model == key.first &&
             batch.members.front().request.version == key.second;
    });
    if (in_use) continue;
    phase = leave::releasing;
    compute_.unload({key.first, key.second});
  }
}

void worker_state::on(unloaded& unloaded, time_point now) {
  const model_key key{unloaded.name, unloaded.version};
  const auto leaving = leaving_.find(key);
  if (leaving == leaving_.end() || leaving->second != leave::releasing) return unexpected_.Increment();
  leaving->second = leave::gone;
  spdlog::info("{} is unloaded", title(key));
  if (leaving_.size() > gone_kept)
    if (const auto gone = std::find_if(leaving_.begin(), leaving_.end(),
                                       [&](const auto& e) { return e.second == leave::gone && e.first != key; });
        gone != leaving_.end())
      leaving_.erase(gone);
  std::vector<request_key> done;
  for (auto& [order_key, order] : orders_)
    if (order.leaving.erase(key) != 0 && order.leaving.empty()) done.push_back(order_key);
  for (const auto& order_key : done) answer_order(order_key, orders_.at(order_key).said);
  if (!report_at_) report_at_ = now;
}

void worker_state::answer_order(request_key key, expected<std::string> result) {
  const auto order = orders_.extract(key);
  for (const auto asker : order.mapped().askers)  // one that is gone has told its gateway so
    static_cast<void>(link_.send(asker, managed{key, std::vector<worker_answer>{{options_.instance, result}}}));
  answered_.emplace_back(key, std::move(result));
  if (answered_.size() > answers_kept) answered_.pop_front();
}

}  // namespace shoal::worker
