#include "protocol/join.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::protocol;

namespace {

/// ids [batch, length], mask [batch, length], bias [batch, 7]: like a text encoder's.
model_spec encoder(const char* pad_symbol = "length") {
  model_spec spec;
  spec.batch_symbol = "batch";
  spec.pad_symbol = pad_symbol;
  spec.max_batch = 16;
  const dimension batch{1, 64, "batch"};
  const dimension length{1, 512, "length"};
  spec.inputs = {{"ids", dtype::int64, {batch, length}, 0},
                 {"mask", dtype::int64, {batch, length}, 0},
                 {"bias", dtype::fp32, {batch, dimension::fixed(7)}, 0}};
  return spec;
}

std::vector<tensor> inputs(std::int64_t rows, std::int64_t length) {
  return {{"ids", dtype::int64, {rows, length}, {}},
          {"mask", dtype::int64, {rows, length}, {}},
          {"bias", dtype::fp32, {rows, 7}, {}}};
}

}  // namespace

TEST_CASE("a profile parts a request's sizes into rows, length and the rest") {
  const auto profile = profile_of(encoder(), inputs(3, 20));
  CHECK(profile.joinable);
  CHECK(profile.rows == 3);
  CHECK(profile.length == 20);
  CHECK(profile.rest == shape{7});
}

TEST_CASE("requests of other rows and lengths join where padding is declared, and only of equal length where not") {
  const auto padded = encoder();
  CHECK(may_join(profile_of(padded, inputs(1, 5)), profile_of(padded, inputs(4, 90))));
  const auto plain = encoder("");
  CHECK(may_join(profile_of(plain, inputs(1, 5)), profile_of(plain, inputs(4, 5))));
  CHECK_FALSE(may_join(profile_of(plain, inputs(1, 5)), profile_of(plain, inputs(1, 6))));
  CHECK(profile_of(plain, inputs(1, 5)).length == 0);
}

TEST_CASE("without a batch symbol nothing joins, and a request counts as one row") {
  auto spec = encoder();
  spec.batch_symbol.clear();
  const auto profile = profile_of(spec, inputs(3, 20));
  CHECK_FALSE(profile.joinable);
  CHECK(profile.rows == 1);
  CHECK_FALSE(may_join(profile, profile));
}

TEST_CASE("inputs that do not fit the spec are never joined") {
  auto missing = inputs(1, 5);
  missing.pop_back();
  CHECK_FALSE(profile_of(encoder(), missing).joinable);
}

TEST_CASE("an execution has no more rows than max_batch and the archive's range allow, and at least one") {
  auto spec = encoder();
  CHECK(row_limit(spec) == 16);
  spec.max_batch = 100;
  CHECK(row_limit(spec) == 64);
  spec.inputs[1].dims[0].max = 8;
  CHECK(row_limit(spec) == 8);
  spec.max_batch = 0;
  CHECK(row_limit(spec) == 1);
  spec.batch_symbol.clear();
  spec.max_batch = 100;
  CHECK(row_limit(spec) == 100);
}
