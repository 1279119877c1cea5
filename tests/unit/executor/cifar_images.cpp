#include "unit/executor/cifar_images.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "unit/executor/fixture.hpp"

namespace shoal::test {

namespace {

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

}  // namespace

tensor cifar_images::normalised(std::int64_t first, std::int64_t rows, const std::string& name,
                                std::int64_t step) const {
  tensor made{name, dtype::fp32, {rows, 3, 32, 32}, {}};
  made.data = buffer::make(static_cast<std::size_t>(rows * 3 * plane) * sizeof(float), [&](std::byte* to) {
    for (std::int64_t i = 0; i < rows * 3 * plane; ++i) {
      const auto channel = static_cast<std::size_t>(i / plane % 3);
      const auto at = (first + i / (3 * plane) * step) * 3 * plane + i % (3 * plane);
      const auto pixel = static_cast<float>(static_cast<unsigned char>(pixels[static_cast<std::size_t>(at)]));
      const float value = (pixel / 255 - mean[channel]) / deviation[channel];
      std::memcpy(to + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
    }
  });
  return made;
}

std::optional<cifar_images> read_cifar_images(const std::string& fixture) {
  const auto folder = fixture_archive(fixture).parent_path() / "reference" / "accuracy";
  if (!std::filesystem::exists(folder)) return std::nullopt;
  cifar_images read{bytes_of(folder / "images.bin"), bytes_of(folder / "labels.bin"),
                    bytes_of(folder / "predictions.bin")};
  if (read.labels.empty() || read.predictions.size() != read.labels.size() ||
      read.pixels.size() != read.labels.size() * 3 * plane)
    throw std::runtime_error(folder.string() + " has files of unlike sizes: export the fixtures again");
  return read;
}

accuracy accuracy_of(executor::model& model, const cifar_images& on) {
  accuracy found;
  for (std::int64_t first = 0; first < on.count(); first += at_once) {
    const auto rows = std::min(at_once, on.count() - first);
    const auto given = model.run(std::vector{on.normalised(first, rows, model.spec().inputs[0].name)});
    if (!given) throw std::runtime_error(given.error().message);
    if (given->front().dims != shape{rows, classes}) throw std::runtime_error("the logits have another shape");
    std::vector<float> logits(static_cast<std::size_t>(rows * classes));
    std::memcpy(logits.data(), given->front().data.data(), logits.size() * sizeof(float));
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto* begin = logits.data() + row * classes;
      const auto called = std::max_element(begin, begin + classes) - begin;
      const auto image = static_cast<std::size_t>(first + row);
      found.right += called == static_cast<unsigned char>(on.labels[image]) ? 1 : 0;
      found.differ += called != static_cast<unsigned char>(on.predictions[image]) ? 1 : 0;
    }
  }
  return found;
}

}  // namespace shoal::test
