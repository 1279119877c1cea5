#include "unit/text/references.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace shoal::test {

namespace {

std::filesystem::path folder() {
  const char* chosen = std::getenv("SHOAL_FIXTURES");
  return std::filesystem::path(chosen != nullptr ? chosen : SHOAL_FIXTURES) / "tokenizers";
}

std::string read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw std::runtime_error("cannot read " + file.string() + ": run `make fixtures`");
  return bytes;
}

/// The number at `at`, which moves behind it.
std::uint32_t number(const std::string& bytes, std::size_t& at) {
  std::uint32_t read = 0;
  if (bytes.size() - at < sizeof read) throw std::runtime_error("a reference is cut off: run `make fixtures`");
  std::memcpy(&read, bytes.data() + at, sizeof read);
  at += sizeof read;
  return read;
}

}  // namespace

std::vector<std::filesystem::path> reference_tokenizers() {
  std::vector<std::filesystem::path> folders;
  std::error_code failed;
  for (const auto& each : std::filesystem::directory_iterator(folder(), failed))
    if (each.is_directory()) folders.push_back(each.path());
  if (folders.empty())
    throw std::runtime_error("no reference tokenizers in " + folder().string() + ": run `make fixtures`");
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::vector<std::string> reference_texts() {
  const auto bytes = read(folder() / "texts.bin");
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto size = number(bytes, at);
    texts.push_back(bytes.substr(at, size));
    at += size;
  }
  return texts;
}

std::vector<std::vector<std::int64_t>> reference_ids(const std::filesystem::path& folder) {
  const auto bytes = read(folder / "ids.bin");
  std::vector<std::vector<std::int64_t>> all;
  for (std::size_t at = 0; at < bytes.size();) {
    auto& ids = all.emplace_back(number(bytes, at));
    for (auto& id : ids) id = number(bytes, at);
  }
  return all;
}

}  // namespace shoal::test
