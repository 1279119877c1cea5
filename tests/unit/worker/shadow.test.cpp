#include <doctest/doctest.h>

#include <limits>

#include "worker/shadow.hpp"

namespace {

using namespace shoal;
using namespace shoal::worker;
using std::chrono::microseconds;
using std::chrono::milliseconds;

executor::output_error off_by(double relative) { return {relative * relative, 1, true}; }

}  // namespace

TEST_CASE("samples cost no more than their share of the compute time, after the first") {
  shadow watch({.share = 0.02, .budget = 0.03});
  microseconds batches{0};
  microseconds samples{0};
  int count = 0;
  for (int i = 0; i < 20000; ++i) {
    batches += milliseconds(3);
    if (!watch.is_due(milliseconds(3))) continue;
    watch.add(milliseconds(9), {off_by(0.01)});
    if (count++ > 0) samples += milliseconds(9);
  }
  CHECK(count > 100);
  CHECK(samples.count() <= 0.0201 * static_cast<double>(batches.count()));
  CHECK(samples.count() >= 0.0190 * static_cast<double>(batches.count()));
  CHECK(watch.samples() == 20);
}

TEST_CASE("a share of nothing samples nothing") {
  shadow watch({.share = 0, .budget = 0.03});
  for (int i = 0; i < 1000; ++i) CHECK(!watch.is_due(milliseconds(100)));
}

TEST_CASE("what wavers around the budget is no breach, what is beyond it is one within a few samples") {
  shadow watch({.share = 0.02, .budget = 0.03});
  CHECK(!watch.is_breached());
  for (int i = 0; i < 30; ++i) {
    watch.add(milliseconds(1), {off_by(i % 2 == 0 ? 0.02 : 0.045)});
    CHECK(!watch.is_breached());
  }
  int needed = 0;
  while (!watch.is_breached() && needed < 20) {
    watch.add(milliseconds(1), {off_by(0.1)});
    ++needed;
  }
  CHECK(needed < 20);
}

TEST_CASE("a plan that promised no error only has to be finite") {
  shadow watch({.share = 0.02, .budget = 0});
  for (int i = 0; i < 20; ++i) watch.add(milliseconds(1), {off_by(0.5)});
  CHECK(!watch.is_breached());
  watch.add(milliseconds(1), {{0, 1, false}});
  CHECK(watch.is_breached());
}

TEST_CASE("one bad sample is no verdict, but a number that is not finite is, and so is one bad output of several") {
  shadow watch({.share = 0.02, .budget = 0.03});
  for (int i = 0; i < 3; ++i) {
    watch.add(milliseconds(1), {off_by(1)});
    CHECK(!watch.is_breached());
  }
  watch.add(milliseconds(1), {off_by(1)});
  CHECK(watch.is_breached());

  shadow finite({.share = 0.02, .budget = 0.03});
  finite.add(milliseconds(1), {{0, 1, false}});
  CHECK(finite.is_breached());

  shadow several({.share = 0.02, .budget = 0.03});
  for (int i = 0; i < 4; ++i) several.add(milliseconds(1), {off_by(0), off_by(0.2)});
  CHECK(several.error() == doctest::Approx(0.2));
  CHECK(several.is_breached());
}
