// Plans of trained networks on real images: what narrow convolutions lose in the task. Skipped, and that is said, where
// the images were absent when the fixtures were exported.
#include <doctest/doctest.h>

#include <string>

#include "precision/planner.hpp"
#include "unit/executor/cifar_images.hpp"
#include "unit/executor/fixture.hpp"

using namespace shoal;

TEST_CASE("planned ResNets call hardly an image by another name, and are right as often") {
  executor::set_compute_threads(1);
  for (const std::string name : {"zoo/resnet20", "zoo/resnet56"}) {
    CAPTURE(name);
    const auto images = test::read_cifar_images(name);
    if (!images) {
      MESSAGE("SKIPPED: " << name << ": no images were there when the fixtures were exported");
      continue;
    }
    const auto plain = test::load_fixture(name);
    const auto input = plain->spec().inputs[0].name;
    precision::planning how;
    how.seconds = 20;
    // One image of every forty, alone and eight at a time.
    for (std::int64_t first = 0; first + 320 <= images->count(); first += 320) {
      how.samples.push_back({images->normalised(first, 1, input)});
      how.samples.push_back({images->normalised(first, 8, input, 40)});
    }
    const auto planned = precision::plan_precision(test::fixture_archive(name), how);
    REQUIRE_MESSAGE(planned.has_value(), (planned ? "" : planned.error().message));
    MESSAGE(name << ": " << planned->verdict);
    const auto loaded = executor::model::load(test::fixture_archive(name), {}, nullptr, {}, &planned->plan);
    REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().message));
    const auto fp32 = test::accuracy_of(*plain, *images);
    const auto narrow = test::accuracy_of(**loaded, *images);
    const auto per_cent = [&](std::int64_t of) {
      return 100.0 * static_cast<double>(of) / static_cast<double>(images->count());
    };
    MESSAGE(name << ": top-1 " << per_cent(narrow.right) << "% instead of " << per_cent(fp32.right) << "%, "
                 << narrow.differ << " images called otherwise");
    // Of 1,000 images some are always on the edge: what is bounded is the loss of a broken kernel, not of rounding.
    CHECK(per_cent(narrow.right) >= per_cent(fp32.right) - 1.0);
    CHECK(per_cent(narrow.differ) <= 4.0);
  }
}
