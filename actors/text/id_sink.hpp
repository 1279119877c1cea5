// Where the ids of one text are gathered: those that fit are kept, all are counted. Of one call of `encode`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::text {

class id_sink {
 public:
  /// Appends to `ids`, `most` at the most.
  id_sink(std::vector<std::int64_t>& ids, std::size_t most) : ids_(ids), before_(ids.size()), most_(most) {}

  void add(std::int64_t id) {
    if (count_ < most_) ids_.push_back(id);
    ++count_;
  }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Takes back what came after the first `count`.
  void cut(std::size_t count) {
    if (count < most_ && count < count_) ids_.resize(before_ + count);
    count_ = count;
  }

 private:
  std::vector<std::int64_t>& ids_;
  std::size_t before_;
  std::size_t most_;
  std::size_t count_ = 0;
};

}  // namespace shoal::text
