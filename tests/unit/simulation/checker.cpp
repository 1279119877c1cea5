#include "unit/simulation/checker.hpp"

#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "unit/simulation/model.hpp"

namespace shoal::test {

using namespace protocol;

std::uint64_t checker::ask(asked request) {
  requests_.push_back({std::move(request)});
  ++open_;
  ++seen_.asked;
  const auto number = requests_.size();
  time_.at(requests_.back().what.due + grace + microseconds(1), [this, number] { look_at(number); });
  return number;
}

void checker::fail(const std::string& what) {
  constexpr std::size_t enough = 20;
  if (broken_.size() < enough) broken_.push_back(fmt::format("{:.6f} s: {}", time_.seconds(), what));
}

void checker::fail(std::uint64_t number, const std::string& what) {
  fail(fmt::format("request {}: {}", number, what));
  suspects_.insert(number);
}

bool checker::is_open(std::uint64_t number) const {
  const auto& each = requests_[number - 1];
  return !each.ended && !each.abandoned;
}

void checker::end(std::uint64_t number, const outcome& with) {
  auto& each = requests_[number - 1];
  note(number);
  note(with.result ? 1000 : static_cast<std::uint64_t>(with.result.error().code));
  if (each.abandoned) return;
  if (std::exchange(each.ended, true)) return fail(number, "a second outcome");
  --open_;
  const auto now = time_.now();
  const auto& what = each.what;
  if (now > std::max(what.due, excused_[what.owner]) + grace)
    fail(number, fmt::format("its outcome came {} ms after its deadline",
                             std::chrono::duration_cast<milliseconds>(now - what.due).count()));
  if (with.result) {
    ++seen_.answered;
    ++seen_.answered_of[what.model];
    auto& longest = seen_.longest[what.model][what.priority];
    longest = std::max(longest, std::chrono::duration_cast<microseconds>(now - what.at));
    if (with.model != what.model || (what.version != 0 && with.version != what.version))
      fail(number, fmt::format("answered by {} version {}", with.model, with.version));
    else if (with.result->size() != 1 || !same(with.result->front(), answer_of(what.model, with.version, what.input)))
      fail(number, fmt::format("a wrong answer in the name of {} version {}", with.model, with.version));
    if (what.is_calm && each.runs != 1) fail(number, fmt::format("all was well, and it ran {} times", each.runs));
    return;
  }
  const auto& why = with.result.error();
  ++seen_.why[why.code];
  if (why.code == errc::cancelled && each.gave_up) {
    ++seen_.given_up;
    return;
  }
  ++(why.code == errc::deadline_exceeded ? seen_.expired : seen_.refused);
  const bool poison = why.code == errc::poisoned && what.is_poison;
  if (!allowed_.contains(why.code) && !poison)
    fail(number, fmt::format("refused with {}: {}", name_of(why.code), why.message));
  else if (is_retryable(why.code) && !why.retryable)
    fail(number, fmt::format("refused for good with {}: {}", name_of(why.code), why.message));
  if (what.is_calm) fail(number, fmt::format("all was well, and it ended with {}: {}", name_of(why.code), why.message));
}

void checker::abandon_all_of(place_id owner) {
  for (auto& each : requests_)
    if (each.what.owner == owner && !each.ended && !std::exchange(each.abandoned, true)) {
      ++seen_.abandoned;
      --open_;
    }
}

void checker::give_up(std::uint64_t number) { requests_[number - 1].gave_up = true; }

void checker::run(std::uint64_t number) {
  ++seen_.runs;
  if (number != 0) ++requests_[number - 1].runs;
}

void checker::look_at(std::uint64_t number) {
  if (!is_open(number)) return;
  auto& each = requests_[number - 1];
  if (const auto until = excused_[each.what.owner] + grace; until >= time_.now())
    return time_.at(until + microseconds(1), [this, number] { look_at(number); });
  fail(number, "no outcome though its deadline and grace are over");
  each.abandoned = true;
  --open_;
}

}  // namespace shoal::test
