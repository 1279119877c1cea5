// Trained networks on real images: the executor must call each image what eager PyTorch calls it. The data is not part
// of the project: where it was absent when the fixtures were exported, nothing is compared, and that is said.
#include <doctest/doctest.h>

#include <string>

#include "unit/executor/cifar_images.hpp"
#include "unit/executor/fixture.hpp"

using namespace shoal;

TEST_CASE("trained ResNets call every image what eager PyTorch calls it") {
  executor::set_compute_threads(1);
  for (const std::string name : {"zoo/resnet20", "zoo/resnet56"}) {
    CAPTURE(name);
    const auto images = test::read_cifar_images(name);
    if (!images) {
      MESSAGE("SKIPPED: " << name << ": no images were there when the fixtures were exported");
      continue;
    }
    const auto found = test::accuracy_of(*test::load_fixture(name), *images);
    CHECK(found.differ == 0);
    MESSAGE(name << ": top-1 of " << images->count() << " images "
                 << 100.0 * static_cast<double>(found.right) / static_cast<double>(images->count()) << "%");
  }
}
