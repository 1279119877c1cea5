// Trained networks on real images: the executor must call each image what eager PyTorch calls it. The data is not part
// of the project: where it was absent when the fixtures were exported, nothing is compared, and that is said.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;

constexpr std::int64_t at_once = 50;
constexpr std::int64_t classes = 10;
constexpr std::int64_t plane = 32 * 32;
// Of the training set, as the published networks were trained (tools/export/vision.py).
constexpr std::array<float, 3> mean{0.485F, 0.456F, 0.406F};
constexpr std::array<float, 3> deviation{0.229F, 0.224F, 0.225F};

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Images [first, first + count) as fp32 [count, 3, 32, 32].
tensor normalised(const std::string& images, std::int64_t first, std::int64_t count, const std::string& name) {
  tensor made{name, dtype::fp32, {count, 3, 32, 32}, {}};
  made.data = buffer::make(static_cast<std::size_t>(count * 3 * plane) * sizeof(float), [&](std::byte* to) {
    for (std::int64_t i = 0; i < count * 3 * plane; ++i) {
      const auto channel = static_cast<std::size_t>(i / plane % 3);
      const auto pixel =
          static_cast<float>(static_cast<unsigned char>(images[static_cast<std::size_t>(first * 3 * plane + i)]));
      const float value = (pixel / 255 - mean[channel]) / deviation[channel];
      std::memcpy(to + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
    }
  });
  return made;
}

}  // namespace

TEST_CASE("trained ResNets call every image what eager PyTorch calls it") {
  worker::set_compute_threads(1);
  for (const std::string name : {"zoo/resnet20", "zoo/resnet56"}) {
    CAPTURE(name);
    const auto folder = test::fixture_archive(name).parent_path() / "reference" / "accuracy";
    if (!std::filesystem::exists(folder)) {
      MESSAGE("SKIPPED: " << name << ": no images were there when the fixtures were exported");
      continue;
    }
    const auto images = bytes_of(folder / "images.bin");
    const auto labels = bytes_of(folder / "labels.bin");
    const auto eager = bytes_of(folder / "predictions.bin");
    const auto count = static_cast<std::int64_t>(labels.size());
    REQUIRE(count > 0);
    REQUIRE(eager.size() == labels.size());
    REQUIRE(images.size() == labels.size() * 3 * plane);
    const auto model = test::load_fixture(name);
    std::int64_t right = 0;
    std::int64_t differ = 0;
    for (std::int64_t first = 0; first < count; first += at_once) {
      const auto rows = std::min(at_once, count - first);
      const auto given = model->run(std::vector{normalised(images, first, rows, model->spec().inputs[0].name)});
      REQUIRE_MESSAGE(given.has_value(), (given ? "" : given.error().message));
      REQUIRE(given->front().dims == shape{rows, classes});
      std::vector<float> logits(static_cast<std::size_t>(rows * classes));
      std::memcpy(logits.data(), given->front().data.data(), logits.size() * sizeof(float));
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto* begin = logits.data() + row * classes;
        const auto called = std::max_element(begin, begin + classes) - begin;
        const auto image = static_cast<std::size_t>(first + row);
        right += called == static_cast<unsigned char>(labels[image]);
        differ += called != static_cast<unsigned char>(eager[image]);
      }
    }
    CHECK(differ == 0);
    MESSAGE(name << ": top-1 of " << count << " images "
                 << 100.0 * static_cast<double>(right) / static_cast<double>(count) << "%");
  }
}
