#include "scheduler/profile_store.hpp"

#include <fstream>
#include <iterator>

#include <spdlog/spdlog.h>
#include <unistd.h>

namespace shoal::scheduler {

namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t largest = 64U << 20;  ///< bytes; what is larger was not written by us

expected<std::string> read(const fs::path& path) {
  std::error_code problem;
  const auto size = fs::file_size(path, problem);
  if (problem) return fail(errc::unavailable, problem.message());
  if (size > largest) return fail(errc::corrupt, "it is larger than any such file");
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file) return fail(errc::unavailable, "it cannot be read");
  return text;
}

}  // namespace

profile_book profile_file::load() {
  std::error_code ignored;
  if (!fs::exists(path_, ignored)) return {};
  auto book = read(path_).and_then([](const std::string& text) { return profile_book::from_text(text); });
  if (book) return std::move(*book);
  spdlog::warn("the measured batch times in {} cannot be used and are measured again: {}", path_.string(),
               book.error().message);
  auto aside = path_;
  aside += ".damaged";
  if (std::error_code problem; fs::rename(path_, aside, problem), problem)
    spdlog::warn("{} cannot be moved aside: {}", path_.string(), problem.message());
  return {};
}

expected<void> profile_file::write(const std::string& text) const {
  std::error_code problem;
  if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), problem);
  auto fresh = path_;
  fresh += "." + std::to_string(::getpid());
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(errc::unavailable, "it cannot be written");
  fs::rename(fresh, path_, problem);
  if (problem) return fail(errc::unavailable, problem.message());
  return {};
}

void profile_file::save(const profile_book& book) {
  const auto written = write(book.to_text());
  if (!written && !complained_)
    spdlog::warn("measured batch times are not kept: {}: {}", path_.string(), written.error().message);
  complained_ = !written;
}

}  // namespace shoal::scheduler
