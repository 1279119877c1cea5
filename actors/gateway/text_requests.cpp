// The gateway's share in requests that carry text: it holds them, while the text actor makes ordinary ones of them.
#include "gateway/gateway_state.hpp"

namespace shoal::gateway {

using namespace protocol;

void gateway_state::read_text(request_id id, held incoming) {
  text_order order{id, std::move(incoming.request), incoming.deadline, incoming.any_version};
  incoming.request = {};
  incoming.request.model = order.request.model;
  incoming.request.version = order.request.version;
  texts_.emplace(id, std::move(incoming));
  held_bytes_.Set(static_cast<double>(bytes_));
  text_.take(std::move(order));
}

void gateway_state::on(text_done& done, time_point now) {
  // Not there: the client has gone, or its time was over.
  if (texts_.contains(done.ticket)) finish_text(done.ticket, std::move(done.result), now);
}

void gateway_state::finish_text(request_id id, outcome result, time_point now) {
  const auto found = texts_.find(id);
  auto request = std::move(found->second);
  texts_.erase(found);
  bytes_ -= request.bytes;
  held_bytes_.Set(static_cast<double>(bytes_));
  if (auto client = clients_.find(request.client); client != clients_.end())
    client->second.requests.erase(request.client_id);
  latency_.Observe(std::chrono::duration<double>(now - request.arrived).count());
  if (result.result)
    succeeded_.Increment();
  else
    outcomes_[static_cast<std::size_t>(result.result.error().code)]->Increment();
  result.model = request.request.model;
  if (result.version == 0) result.version = request.request.version;
  reply(request, std::move(result));
}

/// Nobody waits for it any more: its parts are taken back.
void gateway_state::abandon_text(request_id id) {
  const auto found = texts_.find(id);
  if (auto client = clients_.find(found->second.client); client != clients_.end())
    client->second.requests.erase(found->second.client_id);
  bytes_ -= found->second.bytes;
  held_bytes_.Set(static_cast<double>(bytes_));
  texts_.erase(found);
  text_.drop(id);
}

}  // namespace shoal::gateway
