// Where measured batch times outlive the scheduler. Implemented over one file; tests and the simulation keep it in
// memory.
#pragma once

#include <filesystem>

#include "core/error.hpp"
#include "scheduler/latency_profile.hpp"

namespace shoal::scheduler {

class profile_store {
 public:
  virtual ~profile_store() = default;
  /// What was kept; an empty book if nothing was, or if what was kept is damaged (which is said).
  virtual profile_book load() = 0;
  virtual void save(const profile_book& book) = 0;
};

/// One JSON file, replaced as a whole. It is small and rebuilt from traffic, so nothing is synced. Several schedulers
/// may share it: each writes what it has learnt, the last one counts.
class profile_file final : public profile_store {
 public:
  explicit profile_file(std::filesystem::path path) : path_(std::move(path)) {}

  /// A damaged file is moved aside to PATH.damaged, for whoever wants to see it.
  profile_book load() override;
  /// That it cannot be written is said once, until it can.
  void save(const profile_book& book) override;

 private:
  [[nodiscard]] expected<void> write(const std::string& text) const;

  std::filesystem::path path_;
  bool complained_ = false;
};

}  // namespace shoal::scheduler
