// What `shoal embed` writes: vectors in the order of the lines, to a file that gets its name when it is whole. Until
// then it lies beside it, with a note of how far it is safely on the disk, so that the same command goes on from there
// after an interruption of any kind.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::services {

/// Everything that decides what is written: only work with the same is gone on with.
struct embedding_job {
  std::string model;
  std::uint64_t version = 0;
  bool truncate = false;
  std::uint64_t input_bytes = 0;
  std::uint64_t input_hash = 0;  ///< XXH3 of the input
  std::size_t rows = 0;
};

class embed_output {
 public:
  /// `out` ends in .npy (fp32 [rows, width]) or .jsonl ({"index", "embedding"} a line). Errors: invalid_argument
  /// (another ending; it is there already; another process writes it), unavailable (it cannot be written).
  static expected<std::unique_ptr<embed_output>> open(const std::filesystem::path& out, const embedding_job& job);
  ~embed_output();
  embed_output(const embed_output&) = delete;
  embed_output& operator=(const embed_output&) = delete;

  /// Rows that were there when it was opened, and what was added.
  [[nodiscard]] std::size_t done() const noexcept { return done_; }
  [[nodiscard]] const std::filesystem::path& partial() const noexcept { return partial_; }

  /// fp32 [rows, width]. Errors: unavailable; invalid_argument (another width than before).
  expected<void> add(std::span<const float> values, std::size_t width);
  /// All rows are there: gives the file its name. Errors: unavailable.
  expected<void> finish();

 private:
  embed_output(std::filesystem::path out, embedding_job job);
  bool resume();
  expected<void> write(std::string_view bytes);
  expected<void> keep();
  [[nodiscard]] std::string header() const;
  tl::unexpected<error> cannot_write();

  std::filesystem::path out_;
  std::filesystem::path partial_;
  std::filesystem::path note_;
  embedding_job job_;
  bool is_npy_ = false;
  std::FILE* file_ = nullptr;
  std::uint64_t bytes_ = 0;  ///< of the file, all of it written whole
  bool has_failed_ = false;  ///< what lies behind the last note is of no use
  std::size_t done_ = 0;
  std::size_t width_ = 0;  ///< 0: not known yet
  time_point kept_at_;
};

}  // namespace shoal::services
