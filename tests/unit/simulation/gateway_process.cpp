#include "unit/simulation/gateway_process.hpp"

#include <spdlog/fmt/fmt.h>

namespace shoal::test {

using namespace protocol;

namespace {

gateway::gateway_options options_of(const surroundings& with) {
  gateway::gateway_options options;
  options.instance = with.instance;
  options.max_requests = with.of.max_requests;
  options.inline_bytes = with.of.inline_bytes;
  return options;
}

}  // namespace

gateway_process::gateway_process(surroundings with)
    : process(std::move(with)), mind_(options_of(with_), way(), board_, figures_) {}

void gateway_process::submit(std::uint64_t number, infer request) {
  const auto ticket = board_->next_id++;
  tickets_[number] = ticket;
  submission given{ticket, std::move(request), [this, number](const outcome& told) {
                     tickets_.erase(number);
                     with_.checks.end(number, told);
                   }};
  mind_.submit(given, now());
  with_.stepped();
}

void gateway_process::withdraw(std::uint64_t number) {
  const auto found = tickets_.find(number);
  if (found == tickets_.end()) return;
  with_.checks.give_up(number);
  mind_.withdraw(found->second);
  with_.stepped();
}

void gateway_process::examine() {
  if (mind_.requests() > with_.of.max_requests)
    with_.checks.fail(fmt::format("a gateway holds {} requests of {}", mind_.requests(), with_.of.max_requests));
}

std::string gateway_process::left() const {
  return mind_.idle() ? "" : fmt::format("{} request(s) at a gateway", mind_.requests());
}

double gateway_process::counter(const std::string& name) {
  for (const auto& [known, value] : figures_.snapshot())
    if (known == name) return value;
  return 0;
}

}  // namespace shoal::test
