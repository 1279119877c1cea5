#include "mesh/history.hpp"

#include <algorithm>

namespace shoal::test {

namespace {

/// What a request may end with though nothing was wrong with it.
bool is_explained(errc failure) {
  return failure == errc::deadline_exceeded || failure == errc::unavailable || failure == errc::overloaded ||
         failure == errc::poisoned;
}

}  // namespace

std::vector<std::string> broken_promises(const history& all, milliseconds grace) {
  std::vector<std::string> broken;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& each = all[i];
    const auto say = [&](const std::string& what) { broken.push_back("request " + std::to_string(i) + " " + what); };
    if (each.outcomes != 1) say("has " + std::to_string(each.outcomes) + " outcomes");
    if (each.outcomes == 0) continue;
    const auto late = each.ended - (each.sent + each.deadline);
    if (late > grace)
      say("was told its outcome " + std::to_string(std::chrono::duration_cast<milliseconds>(late).count()) +
          " ms after its deadline");
    if (!each.failure && !each.is_right) say("has a wrong answer");
    if (each.failure && !is_explained(*each.failure)) say("ended with " + std::string(name_of(*each.failure)));
  }
  return broken;
}

milliseconds longest_gap(const history& all, time_point from, time_point to) {
  std::vector<time_point> answers{from, to};
  for (const auto& each : all)
    if (each.outcomes > 0 && !each.failure && each.ended > from && each.ended < to) answers.push_back(each.ended);
  std::sort(answers.begin(), answers.end());
  auto longest = time_point::duration::zero();
  for (std::size_t i = 1; i < answers.size(); ++i) longest = std::max(longest, answers[i] - answers[i - 1]);
  return std::chrono::duration_cast<milliseconds>(longest);
}

}  // namespace shoal::test
