// How long batches of one model take on one kind of device, learnt from those that ran: what admission, the size of
// batches and the choice of workers are decided by.
//
// A batch is looked up by its rows and its padded length, each in buckets at most a quarter wide. A bucket holds an
// exponentially weighted mean and mean deviation (weights of Jacobson's estimator of round trips, RFC 6298 §2: 1/8 and
// 1/4); what lies far outside is clipped, so that one pause of the machine is not believed at once, but a change is. A
// bucket that no batch has met is predicted by the line
//
//   seconds = fixed + per_token * tokens        tokens = rows * padded length, or rows where there is no length
//
// fitted to what ran by least squares with forgetting. The first batches of a process are slow (pages, threads, plans
// of memory), never fast, and are forgotten soon: the fit remembers a quarter of all batches there were, up to 200, and
// the first ones of a bucket count less as soon as faster ones follow. Times are those that the scheduler sees: from
// the start of a batch to its completion, the way to the worker and back included. Owned by the scheduler.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::scheduler {

/// Rows and padded length of a batch; a length of 0: the model pads nothing.
struct batch_size {
  std::int64_t rows = 1;
  std::int64_t length = 0;

  [[nodiscard]] double tokens() const {
    return static_cast<double>(rows) * static_cast<double>(length > 0 ? length : 1);
  }
};

class latency_profile {
 public:
  struct cell {
    double mean = 0;       ///< seconds
    double deviation = 0;  ///< seconds, mean absolute
    std::uint64_t count = 0;
  };
  using bucket = std::pair<int, int>;  ///< of rows, of length

  void learn(batch_size size, steady::duration took);

  /// Nothing has been learnt: nothing.
  [[nodiscard]] std::optional<steady::duration> predict(batch_size size) const;
  /// What this request adds to a batch of usual size: the worker's time that its waiting stands for.
  [[nodiscard]] std::optional<steady::duration> share_of(batch_size one) const;
  /// Tokens at which the fixed part is `share` of a batch's time: beyond, a larger batch wins less than that. Nothing:
  /// not known, or no fixed part to be saved.
  [[nodiscard]] std::optional<double> tokens_for_fixed_share(double share) const;

  [[nodiscard]] bool empty() const { return cells_.empty(); }
  [[nodiscard]] const std::map<bucket, cell>& cells() const { return cells_; }

  /// The sums of the fit: tokens and seconds of past batches, the latest weighing most.
  struct sums {
    double weight = 0, tokens = 0, seconds = 0, tokens_squared = 0, tokens_seconds = 0;
  };
  [[nodiscard]] const sums& fit() const { return sums_; }
  /// What was kept. Errors: corrupt (a figure that no profile has: negative, not finite, no such bucket).
  static expected<latency_profile> from(std::map<bucket, cell> cells, sums fit);

  /// Numbers below 4 have buckets of their own; beyond, four to each doubling (an index of Gil Tene's HdrHistogram).
  static int bucket_of(std::int64_t number);
  static constexpr int largest_bucket = 4 * 62;

 private:
  struct line {
    double fixed = 0, per_token = 0;
  };
  void fit_line();

  std::map<bucket, cell> cells_;
  std::uint64_t batches_ = 0;
  sums sums_;
  line line_;  ///< fitted to them
};

/// Profiles of every model, version and device that this scheduler has met.
class profile_book {
 public:
  using key = std::tuple<std::string, std::uint64_t, std::string>;  ///< model, version, device

  /// A reference that lasts until the book is pruned.
  latency_profile& of(const std::string& model, std::uint64_t version, const std::string& device);
  /// Of models that `lives(name, version)` does not know, only the `most` that ran most of late are remembered.
  void prune(const std::function<bool(const std::string&, std::uint64_t)>& lives, std::size_t most = 256);
  [[nodiscard]] const std::map<key, latency_profile>& all() const { return profiles_; }
  [[nodiscard]] bool changed() const { return changed_; }
  void note_change() { changed_ = true; }
  void note_kept() { changed_ = false; }

  /// As one JSON document, `{"shoal_profiles": 1, "profiles": [...]}`.
  [[nodiscard]] std::string to_text() const;
  /// Errors: corrupt, with what is wrong.
  static expected<profile_book> from_text(const std::string& text);

 private:
  std::map<key, latency_profile> profiles_;
  bool changed_ = false;
};

}  // namespace shoal::scheduler
