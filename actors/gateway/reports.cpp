// What the gateway tells of itself, and of the mesh as the schedulers tell it.
#include <set>

#include "gateway/gateway_state.hpp"

namespace shoal::gateway {

using namespace protocol;

void gateway_state::on_message(peer_id from, const describe&, time_point) {
  static_cast<void>(link_.send(from, catalogue(*board_->models.load())));
}

void gateway_state::on_message(peer_id from, const inquire&, time_point) {
  report answer;
  answer.services.push_back(own_report());
  std::set<instance_id> told{options_.instance};
  for (const auto& [peer, scheduler] : schedulers_)
    for (const auto& each : scheduler.report.services)
      if (told.insert(each.instance).second) answer.services.push_back(each);
  static_cast<void>(link_.send(from, std::move(answer)));
}

service_report gateway_state::own_report() const {
  service_report own{"gateway", options_.instance, {}, tally_.all(), {}};
  for (auto& [name, value] : figures_.snapshot()) own.figures.push_back({name, value});
  return own;
}

void gateway_state::send_report() {
  report_due_ = false;
  for (const auto& [peer, scheduler] : schedulers_)
    if (scheduler.takes_reports) static_cast<void>(link_.send(peer, report{{own_report()}}));
}

std::vector<model_statistics> gateway_state::statistics() const {
  auto all = tally_.all();
  std::set<instance_id> told{options_.instance};
  for (const auto& [peer, scheduler] : schedulers_)
    for (const auto& each : scheduler.report.services)
      if (each.service == "gateway" && told.insert(each.instance).second) merge(all, each.models);
  return all;
}

void gateway_state::on_message(peer_id from, report& report, time_point) {
  const auto found = schedulers_.find(from);
  if (found == schedulers_.end()) return unexpected_.Increment();
  found->second.report = std::move(report);
}

}  // namespace shoal::gateway
