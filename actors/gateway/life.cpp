// The life of models as the gateway sees it: what clients and doors ask is asked of every scheduler.
#include <utility>

#include "core/name.hpp"
#include "gateway/gateway_state.hpp"

namespace shoal::gateway {

using namespace protocol;

void gateway_state::on_message(peer_id from, const manage& request, time_point now) {
  const auto asker = clients_.find(from);
  if (asker == clients_.end()) return unexpected_.Increment();
  if (!asker->second.administers)
    return answer_managed(from, managed{request.key, fail(errc::permission_denied,
                                                          "this key's role does not allow to load and unload models: "
                                                          "use one of the role admin")});
  ask_schedulers(request, from, request.key, now);
}

void gateway_state::manage_for_door(management& request, time_point now) {
  const request_key key{0, board_->next_id++};
  doors_waiting_.emplace(key.id, std::move(request.done));
  ask_schedulers(std::move(request.request), 0, key, now);
}

void gateway_state::answer_managed(peer_id asker, managed answer) {
  if (asker == 0) {
    auto door = doors_waiting_.extract(answer.key.id);
    if (!door.empty()) door.mapped()(std::move(answer.result));
    return;
  }
  const auto key = answer.key;
  if (const auto sent = link_.send(asker, std::move(answer)); !sent)
    static_cast<void>(link_.send(asker, managed{key, tl::unexpected(sent.error())}));
}

void gateway_state::ask_schedulers(protocol::manage request, peer_id asker, request_key askers_key, time_point now) {
  const auto refuse = [&](errc code, std::string why) {
    answer_managed(asker, managed{askers_key, fail(code, std::move(why))});
  };
  if (const auto good = check_name("a model's", request.model); !good)
    return refuse(good.error().code, good.error().message);
  if (board_->draining) return refuse(errc::unavailable, "this gateway is shutting down: ask another one");
  if (calls_.is_full()) return refuse(errc::overloaded, "too many loads and unloads are under way: try again");
  auto& onward = request;
  onward.key = {options_.instance, board_->next_id++};
  const microseconds wanted = request.time_left.count() <= 0 ? options_.default_deadline : request.time_left;
  onward.time_left = std::min<microseconds>(wanted, options_.max_deadline);
  std::map<peer_id, instance_id> asked;
  for (const auto& [peer, scheduler] : schedulers_)
    if (link_.send(peer, onward)) asked.emplace(peer, scheduler.instance);
  // A little longer than the schedulers wait for workers: their answer says which of them are late.
  calls_.open(onward.key, asker, askers_key, std::move(asked), now + onward.time_left + milliseconds(250));
}

void gateway_state::on_message(peer_id from, managed& answer, time_point) {
  if (!schedulers_.contains(from)) return unexpected_.Increment();
  calls_.answer(from, std::move(answer));
}

}  // namespace shoal::gateway
