#include "worker/calibration.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::worker;

namespace {
std::vector<std::pair<std::size_t, int>> pairs(const std::vector<split>& all) {
  std::vector<std::pair<std::size_t, int>> found;
  for (const auto& each : all) found.emplace_back(each.workers, each.threads);
  return found;
}
using list = std::vector<std::pair<std::size_t, int>>;
}  // namespace

TEST_CASE("the splits of the cores go from one worker with all to a worker for each; what is asked for is kept") {
  CHECK(pairs(candidates(1, 0, 0)) == list{{1, 1}});
  CHECK(pairs(candidates(2, 0, 0)) == list{{1, 2}, {2, 1}});
  CHECK(pairs(candidates(6, 0, 0)) == list{{1, 6}, {2, 3}, {4, 1}, {6, 1}});
  CHECK(pairs(candidates(4, 2, 0)) == list{{2, 1}, {2, 2}});
  CHECK(pairs(candidates(4, 8, 0)) == list{{8, 1}});
  CHECK(pairs(candidates(4, 0, 2)) == list{{1, 2}, {2, 2}});
  CHECK(pairs(candidates(4, 3, 5)) == list{{3, 5}});
}

TEST_CASE("with one choice, or nothing that could be run, nothing is measured and the sentence says so") {
  const auto given = calibrate({}, {0, 1}, 1, 1);
  CHECK(given.measured.empty());
  CHECK(given.sentence.find("1 worker x 1 thread as asked for") != std::string::npos);
  CHECK(calibrate({}, {0}, 0, 0).sentence.find("no choice") != std::string::npos);
  CHECK(calibrate({{"/nowhere", "m", 1}}, {0, 1}, 0, 0).sentence.find("no model could be run") != std::string::npos);
}
