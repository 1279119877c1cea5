// Attention and layer norm against double precision, for every instruction set this processor has.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "executor/kernels/attention.hpp"
#include "executor/kernels/layer_norm.hpp"
#include "unit/executor/kernel_cases.hpp"

namespace {

using namespace shoal::kernels;
using shoal::test::available_sets;
using shoal::test::random_floats;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// q, k and v lie as [batch, tokens, heads, depth], as linears give them.
struct heads_case {
  attention_sizes sizes;
  bool causal = false;
  std::vector<float> mask;  ///< [batch, 1, queries, keys]
  std::vector<float> q, k, v;

  explicit heads_case(const attention_sizes& of, float spread = 1.0F)
      : sizes(of),
        q(random_floats(of.batch * of.queries * of.heads * of.depth, 1, spread)),
        k(random_floats(of.batch * of.keys * of.heads * of.depth, 2, spread)),
        v(random_floats(of.batch * of.keys * of.heads * of.depth, 3)) {}

  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(sizes.depth)); }

  [[nodiscard]] std::vector<float> run(instruction_set which, const parallel& team = parallel::none(),
                                       attention_numbers numbers = attention_numbers::fp32) const {
    const auto& [batch, heads, queries, keys, depth] = sizes;
    std::vector<float> out(q.size(), NAN);
    const auto as = [&](const std::vector<float>& of, std::int64_t tokens) {
      return strided{of.data(), {tokens * heads * depth, depth, heads * depth}};
    };
    attention_mask added;
    if (!mask.empty()) added = {mask.data(), {queries * keys, 0, keys, 1}};
    attention(sizes, as(q, queries), as(k, keys), as(v, keys), added, causal, scale(), out.data(), team, numbers,
              which);
    return out;
  }

  /// The last `added` keys and values as others than the first.
  [[nodiscard]] std::vector<float> run_in_two_places(instruction_set which, std::int64_t added) const {
    const auto& [batch, heads, queries, keys, depth] = sizes;
    std::vector<float> out(q.size(), NAN);
    const auto as = [&](const std::vector<float>& of, std::int64_t tokens, std::int64_t first = 0) {
      return strided{of.data() + first * heads * depth, {tokens * heads * depth, depth, heads * depth}};
    };
    attention_mask mask_of_all;
    if (!mask.empty()) mask_of_all = {mask.data(), {queries * keys, 0, keys, 1}};
    attention(sizes, as(q, queries), as(k, keys), as(v, keys), mask_of_all, false, scale(), out.data(),
              parallel::none(), attention_numbers::fp32, which,
              {added, as(k, keys, keys - added), as(v, keys, keys - added)});
    return out;
  }

  [[nodiscard]] std::vector<double> reference() const {
    std::vector<double> out(q.size());
    for (std::int64_t b = 0; b < sizes.batch; ++b)
      for (std::int64_t h = 0; h < sizes.heads; ++h)
        for (std::int64_t i = 0; i < sizes.queries; ++i) row(b, h, i, out);
    return out;
  }

 private:
  void row(std::int64_t b, std::int64_t h, std::int64_t i, std::vector<double>& out) const {
    const auto at = [&](std::int64_t tokens, std::int64_t token) {
      return static_cast<std::size_t>(((b * tokens + token) * sizes.heads + h) * sizes.depth);
    };
    const auto depth = static_cast<std::size_t>(sizes.depth);
    std::vector<double> weights;
    for (std::int64_t j = 0; j < sizes.keys; ++j) {
      double score = 0;
      for (std::size_t d = 0; d < depth; ++d)
        score += static_cast<double>(q[at(sizes.queries, i) + d]) * k[at(sizes.keys, j) + d];
      score *= scale();
      if (!mask.empty()) score += mask[static_cast<std::size_t>((b * sizes.queries + i) * sizes.keys + j)];
      weights.push_back(causal && j > i ? -INFINITY : score);
    }
    const double most = *std::max_element(weights.begin(), weights.end());
    double total = 0;
    for (auto& each : weights) total += each = most == -INFINITY ? 0 : std::exp(each - most);
    for (std::size_t d = 0; d < depth; ++d) {
      double sum = 0;
      for (std::int64_t j = 0; j < sizes.keys; ++j)
        sum += weights[static_cast<std::size_t>(j)] * v[at(sizes.keys, j) + d];
      out[at(sizes.queries, i) + d] = total == 0 ? 0 : sum / total;
    }
  }
};

/// `narrow`: bf16, too, whose roundings move scores by 2^-8 of their size at most.
void check(const heads_case& of, bool narrow = true) {
  const auto wanted = of.reference();
  for (const auto which : available_sets())
    for (const auto numbers : {attention_numbers::fp32, attention_numbers::bf16}) {
      if (numbers == attention_numbers::bf16 && !narrow) continue;
      CAPTURE(name_of(which));
      CAPTURE(of.sizes.queries);
      CAPTURE(of.sizes.keys);
      CAPTURE(of.sizes.depth);
      const auto given = of.run(which, parallel::none(), numbers);
      double worst = 0;
      double largest = 0;
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        REQUIRE(!std::isnan(given[i]));
        worst = std::max(worst, std::abs(given[i] - wanted[i]));
        largest = std::max(largest, std::abs(wanted[i]));
      }
      CHECK(worst <= (numbers == attention_numbers::fp32 ? 2e-6 : 0.03) * std::max(largest, 1e-3));
    }
}

}  // namespace

TEST_CASE("attention agrees with double precision at every edge of its tiles") {
  for (const std::int64_t depth : {16, 32, 48, 64, 128})
    for (const std::int64_t keys : {1, 2, 15, 16, 17, 33, 100})
      for (const std::int64_t queries : {1, 7, 24, 25, 60}) check(heads_case({2, 3, queries, keys, depth}));
}

TEST_CASE("causal attention sees no later key, with as many queries as keys or not") {
  for (const auto& [queries, keys] : {std::pair<std::int64_t, std::int64_t>{40, 40}, {5, 20}, {20, 5}}) {
    heads_case of({1, 2, queries, keys, 32});
    of.causal = true;
    check(of);
  }
}

TEST_CASE("masked keys weigh nothing; a query without any key gives 0, and with the smallest number the mean") {
  heads_case of({2, 2, 9, 19, 32});
  of.mask.assign(2 * 9 * 19, 0.0F);
  for (std::size_t i = 0; i < of.mask.size(); i += 3) of.mask[i] = -infinity;
  std::fill_n(of.mask.begin(), 19, -infinity);
  SUBCASE("minus infinity") { check(of); }
  SUBCASE("the smallest number") {
    std::fill_n(of.mask.begin(), 19, std::numeric_limits<float>::lowest());
    check(of);
  }
}

TEST_CASE("one query's keys may lie in two places, and the result is that of one") {
  for (const std::int64_t depth : {16, 48, 64, 128})
    for (const std::int64_t keys : {2, 5, 17, 100})
      for (const std::int64_t added : {std::int64_t{1}, keys / 2, keys}) {
        heads_case of({2, 3, 1, keys, depth});
        of.mask.assign(static_cast<std::size_t>(2 * keys), 0.0F);
        of.mask[0] = -infinity;
        check(of);
        const auto wanted = of.reference();
        for (const auto which : available_sets()) {
          CAPTURE(name_of(which));
          CAPTURE(keys);
          CAPTURE(added);
          const auto given = of.run_in_two_places(which, added);
          for (std::size_t i = 0; i < wanted.size(); ++i)
            CHECK(given[i] == doctest::Approx(wanted[i]).epsilon(1e-5).scale(1));
        }
      }
}

TEST_CASE("large scores do not overflow") { check(heads_case({1, 2, 10, 30, 64}, 30.0F), false); }

TEST_CASE("a head is the same bytes whatever heads and threads are beside it") {
  const heads_case of({4, 6, 30, 70, 32});
  const parallel three{3, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
                         for (auto i = parts; i > 0; --i) part(i - 1);
                       }};
  for (const auto which : available_sets())
    for (const auto numbers : {attention_numbers::fp32, attention_numbers::bf16})
      CHECK(of.run(which, three, numbers) == of.run(which, parallel::none(), numbers));
}

TEST_CASE("attention takes depths of whole panels and keys that fit its scratch") {
  CHECK(attention_fits({1, 1, 1, most_keys, 128}));
  CHECK(!attention_fits({1, 1, 1, most_keys + 1, 128}));
  CHECK(!attention_fits({1, 1, 1, 8, 24}));
  CHECK(!attention_fits({1, 1, 1, 8, 144}));
  CHECK(!attention_fits({1, 1, 1, 0, 32}));
}

TEST_CASE("layer norm agrees with double precision at odd widths, large offsets and rows without variance") {
  for (const std::int64_t width : {1, 2, 7, 16, 17, 31, 100, 384, 1000})
    for (const float offset : {0.0F, 1000.0F})
      for (const bool adds : {false, true}) {
        CAPTURE(width);
        CAPTURE(offset);
        constexpr std::int64_t rows = 5;
        auto x = random_floats(rows * width, 1);
        for (auto& each : x) each += offset;
        std::fill_n(x.begin(), width, 3.0F);
        auto residual = random_floats(rows * width, 2);
        std::fill_n(residual.begin(), width, -1.0F);
        const auto weight = random_floats(width, 3);
        const auto bias = random_floats(width, 4);
        for (const auto which : available_sets()) {
          CAPTURE(name_of(which));
          std::vector<float> y(x.size());
          layer_norm({x.data(), adds ? residual.data() : nullptr, weight.data(), bias.data(), y.data(), width, 1e-5F},
                     rows, parallel::none(), which);
          for (std::int64_t r = 0; r < rows; ++r) {
            std::vector<double> row;
            double mean = 0;
            for (std::int64_t c = 0; c < width; ++c) {
              const auto at = static_cast<std::size_t>(r * width + c);
              row.push_back(adds ? x[at] + residual[at] : x[at]);  // the sum itself is one rounding of fp32
              mean += row.back() / static_cast<double>(width);
            }
            double variance = 0;
            for (const auto each : row) variance += (each - mean) * (each - mean) / static_cast<double>(width);
            for (std::size_t c = 0; c < row.size(); ++c) {
              const double wanted = (row[c] - mean) / std::sqrt(variance + 1e-5) * weight[c] + bias[c];
              // The mean is off by a rounding of the values' size, divided by the deviation like all else.
              const double noise = 3e-7 * (1 + std::abs(mean)) / std::sqrt(variance + 1e-5);
              CHECK(std::abs(y[static_cast<std::size_t>(r * width) + c] - wanted) <=
                    (noise + 2e-6 * std::abs(row[c] - mean) / std::sqrt(variance + 1e-5)) * std::abs(weight[c]) + 1e-6);
            }
          }
        }
      }
}
