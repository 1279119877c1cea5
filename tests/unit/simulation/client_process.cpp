#include "unit/simulation/client_process.hpp"

#include <spdlog/fmt/fmt.h>

namespace shoal::test {

using namespace protocol;

namespace {

link::client_policy policy_of_sdk() {
  link::client_policy policy;
  policy.waits = policy.queues = policy.retries = true;
  policy.grace = milliseconds(50);
  return policy;
}

}  // namespace

client_process::client_process(surroundings with)
    : process(std::move(with)), mind_(way(), "the mesh", policy_of_sdk(), with_.instance) {}

void client_process::submit(std::uint64_t number, infer request, milliseconds within) {
  ids_[number] = mind_.submit(
      std::move(request), within,
      [this, number](const outcome& told) {
        ids_.erase(number);
        with_.checks.end(number, told);
      },
      now());
  tell();
  with_.stepped();
}

void client_process::give_up(std::uint64_t number) {
  const auto found = ids_.find(number);
  if (found == ids_.end()) return;
  with_.checks.give_up(number);
  mind_.give_up(found->second, {errc::cancelled, "it was taken back"});
  tell();
  with_.stepped();
}

void client_process::manage(protocol::manage what, milliseconds within, std::function<void(bool)> heard) {
  const auto answers = std::make_shared<int>(0);
  mind_.ask(
      std::move(what), within,
      [this, answers, heard = std::move(heard)](const expected<message>& told) {
        if (++*answers > 1) with_.checks.fail("a second answer to a load or unload");
        bool any = false;
        if (told)
          if (const auto& all = std::get<managed>(*told).result)
            for (const auto& each : *all) any = any || each.result.has_value();
        heard(any);
      },
      now());
  tell();
  with_.stepped();
}

void client_process::on(link_event& event) {
  if (const auto* told = std::get_if<delivery>(&event))
    if (const auto* ended = std::get_if<outcome>(&told->body);
        ended && !answered_.emplace(told->from, ended->id).second)
      with_.checks.fail(
          fmt::format("a client was given two outcomes for its request {} by peer {}", ended->id, told->from));
  mind_.on(event, now());
  tell();
}

void client_process::on_wake() {
  mind_.tick(now());
  tell();
}

void client_process::tell() {
  while (mind_.has_endings()) {
    auto over = mind_.take_endings();
    for (auto& each : over.requests) each.tell(std::move(each.with));
    for (auto& each : over.questions) each.tell(std::move(each.with));
  }
}

std::string client_process::left() const {
  return ids_.empty() ? "" : fmt::format("{} request(s) of a client", ids_.size());
}

}  // namespace shoal::test
