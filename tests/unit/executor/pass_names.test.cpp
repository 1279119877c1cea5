#include <doctest/doctest.h>

#include "executor/pass_names.hpp"

using namespace shoal;
using executor::all_passes;
using executor::parse_passes;
using executor::pass_options;

TEST_CASE("all and none are every pass on and off") {
  for (const auto& each : all_passes()) {
    CAPTURE(each.name);
    CHECK(parse_passes("all").value().*(each.flag) == pass_options{}.*(each.flag));
    CHECK(!(parse_passes("none").value().*(each.flag)));
    CHECK(!(pass_options::none().*(each.flag)));
  }
}

TEST_CASE("single passes are taken away from all and added to none") {
  for (const auto& each : all_passes()) {
    const auto name = std::string(each.name);
    CHECK(!(parse_passes("all-" + name).value().*(each.flag)));
    CHECK(parse_passes("none+" + name).value().*(each.flag));
  }
  const auto two = parse_passes("none+drop_dead+fold_constants").value();
  CHECK((two.drop_dead && two.fold_constants && !two.drop_no_ops));
}

TEST_CASE("what is not known is refused with what is") {
  for (const auto* wrong : {"", "some", "all-", "none+", "all+drop_dead", "none-drop_dead", "all-other", "allx"}) {
    const auto parsed = parse_passes(wrong);
    REQUIRE(!parsed.has_value());
    CHECK(parsed.error().code == errc::invalid_argument);
    CHECK(parsed.error().message.find("fold_constants") != std::string::npos);
  }
}
