// What is sent: several models, or classes of one, by weight; the requests of each in their order from a seeded start.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::services::bench {

/// One `--model`: requests for it are counted together.
struct stream {
  std::string model;
  std::uint64_t version = 0;  ///< zero: the server chooses
  double weight = 1;
  protocol::priority priority = protocol::priority::standard;

  /// "minilm/2@critical", without what is the default.
  [[nodiscard]] std::string text() const;
};

std::string_view name_of(protocol::priority priority) noexcept;

/// NAME[/VERSION][:WEIGHT][@critical|standard|batch]. Errors: invalid_argument.
expected<stream> read_stream(const std::string& text);

/// Which request is next. The same seed and the same order of calls give the same sequence.
class mix {
 public:
  /// `order`: the numbers (target::prepare) of the requests of a stream, in the order in which they are sent, from a
  /// place that the seed chooses, and again from the first. Neither list is empty.
  struct part {
    double weight = 1;
    std::vector<std::size_t> order;
  };
  mix(std::vector<part> parts, std::uint64_t seed);

  struct choice {
    std::size_t stream;
    std::size_t prepared;
  };
  choice next();
  [[nodiscard]] std::size_t streams() const noexcept { return parts_.size(); }

 private:
  std::vector<part> parts_;
  std::vector<double> bounds_;  ///< sums of weights
  std::vector<std::size_t> places_;
  std::mt19937_64 random_;
};

}  // namespace shoal::services::bench
