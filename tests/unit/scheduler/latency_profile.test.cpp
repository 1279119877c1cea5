#include "scheduler/latency_profile.hpp"

#include <cmath>
#include <random>

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::scheduler;
using namespace std::chrono_literals;

namespace {

double seconds(std::optional<steady::duration> time) {
  REQUIRE(time);
  return std::chrono::duration<double>(*time).count();
}

/// 1 ms and 50 us a token.
steady::duration time_of(batch_size size) { return 1ms + 50us * static_cast<std::int64_t>(size.tokens()); }

latency_profile learnt() {
  latency_profile profile;
  for (int round = 0; round < 20; ++round)
    for (const batch_size size : {batch_size{1, 8}, batch_size{2, 16}, batch_size{4, 32}, batch_size{8, 64}})
      profile.learn(size, time_of(size));
  return profile;
}

}  // namespace

TEST_CASE("buckets are in order, at most a quarter wide, and small numbers have their own") {
  int last = -1;
  std::int64_t first_of_bucket = 0;
  for (std::int64_t number = 0; number < 100'000; ++number) {
    const auto bucket = latency_profile::bucket_of(number);
    REQUIRE(bucket >= last);
    REQUIRE(bucket <= last + 1);
    if (bucket != last) first_of_bucket = number;
    last = bucket;
    REQUIRE((number < 4 || (number - first_of_bucket) * 4 <= first_of_bucket));
  }
  for (std::int64_t number = 0; number < 8; ++number) CHECK(latency_profile::bucket_of(number) == number);
  CHECK(latency_profile::bucket_of(-5) == 0);
  CHECK(latency_profile::bucket_of(std::numeric_limits<std::int64_t>::max()) <= latency_profile::largest_bucket);
}

TEST_CASE("what was met is predicted by its mean, what was not by the line through all") {
  const auto profile = learnt();
  CHECK(seconds(profile.predict({4, 32})) == doctest::Approx(0.0074).epsilon(0.01));
  CHECK(seconds(profile.predict({3, 20})) == doctest::Approx(0.004).epsilon(0.05));
  CHECK(seconds(profile.predict({16, 64})) == doctest::Approx(0.0522).epsilon(0.05));
  CHECK_FALSE(latency_profile().predict({1, 1}));
  CHECK_FALSE(latency_profile().share_of({1, 1}));
}

TEST_CASE("a model whose batches are all of one size is predicted in proportion") {
  latency_profile profile;
  for (int i = 0; i < 10; ++i) profile.learn({1, 0}, 2ms);
  CHECK(seconds(profile.predict({1, 0})) == doctest::Approx(0.002));
  CHECK(seconds(profile.predict({4, 0})) == doctest::Approx(0.008));
  CHECK_FALSE(profile.tokens_for_fixed_share(0.1));
}

TEST_CASE("a batch is large enough when its fixed cost is the share asked for") {
  const auto tokens = learnt().tokens_for_fixed_share(0.1);
  REQUIRE(tokens);
  // 1 ms is a tenth of 1 ms + 50 us * 180.
  CHECK(*tokens == doctest::Approx(180).epsilon(0.05));
  CHECK_FALSE(learnt().tokens_for_fixed_share(0));
}

TEST_CASE("slow first batches of a process are forgotten within a few more") {
  for (const std::int64_t rows : {1, 4}) {
    latency_profile profile;
    profile.learn({rows, 16}, 150ms);
    profile.learn({rows, 16}, 60ms);
    for (int i = 0; i < 6; ++i) profile.learn({rows, 16}, time_of({rows, 16}));
    CHECK(seconds(profile.predict({rows, 16})) < 2.5 * seconds(time_of({rows, 16})));
    CHECK(seconds(profile.share_of({rows, 16})) < 2 * seconds(time_of({rows, 16})));
    // Not by being forgetful later on.
    for (int i = 0; i < 200; ++i) profile.learn({rows, 16}, time_of({rows, 16}));
    const auto before = seconds(profile.share_of({rows, 16}));
    profile.learn({rows, 16}, 1s);
    CHECK(seconds(profile.share_of({rows, 16})) < 1.1 * before);
  }
}

TEST_CASE("one pause is not believed, a change is, and soon") {
  auto profile = learnt();
  const batch_size size{4, 32};
  const auto before = seconds(profile.predict(size));
  profile.learn(size, 10s);
  CHECK(seconds(profile.predict(size)) < 2 * before);
  for (int i = 0; i < 40; ++i) profile.learn(size, 3 * time_of(size));
  CHECK(seconds(profile.predict(size)) == doctest::Approx(3 * before).epsilon(0.05));
}

TEST_CASE("noise does not move the mean far") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> noise(0.8, 1.2);
  latency_profile profile;
  for (int i = 0; i < 2000; ++i)
    profile.learn({2, 16},
                  std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(noise(random) * 0.01)));
  CHECK(seconds(profile.predict({2, 16})) == doctest::Approx(0.01).epsilon(0.15));
}

TEST_CASE("a book survives being written and read, and forgets models that are gone when there are many") {
  profile_book book;
  book.of("m", 1, "cpu") = learnt();
  book.of("m", 2, "cuda:0").learn({1, 0}, 3ms);
  book.of("never ran", 1, "cpu");
  const auto again = profile_book::from_text(book.to_text());
  REQUIRE(again);
  CHECK(again->all().size() == 2);
  for (const auto& [key, profile] : again->all())
    CHECK(seconds(profile.predict({3, 20})) == doctest::Approx(seconds(book.all().at(key).predict({3, 20}))));
  book.prune([](const std::string& name, std::uint64_t version) { return name == "m" && version == 2; }, 1);
  CHECK(book.all().size() == 2);
  CHECK(book.all().contains({"m", 1, "cpu"}));
}

TEST_CASE("what no scheduler wrote is refused, not believed") {
  const std::string good = [] {
    profile_book book;
    book.of("m", 1, "cpu") = learnt();
    return book.to_text();
  }();
  for (
      const char* text :
      {"", "{", "[]", "{}", R"({"shoal_profiles": 2, "profiles": []})", R"({"shoal_profiles": 1})",
       R"({"shoal_profiles": 1, "profiles": [1]})",
       R"({"shoal_profiles": 1, "profiles": [{"model": "m", "version": -1, "device": "", "cells": [], "fit": []}]})",
       R"({"shoal_profiles":1,"profiles":[{"model":"m","version":1,"device":"","cells":[[1,1,-5,0,1]],"fit":[1,1,1,1,1]}]})",
       R"({"shoal_profiles":1,"profiles":[{"model":"m","version":1,"device":"","cells":[[1,999,1,0,1]],"fit":[1,1,1,1,1]}]})",
       R"({"shoal_profiles":1,"profiles":[{"model":"m","version":1,"device":"","cells":[[1,1,1,0,0]],"fit":[1,1,1,1,1]}]})",
       R"({"shoal_profiles":1,"profiles":[{"model":"m","version":1,"device":"","cells":[[1,1,1,0,1]],"fit":[0,1,1,1,1]}]})"}) {
    CAPTURE(text);
    const auto read = profile_book::from_text(text);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::corrupt);
  }
  // Damage that is still JSON is a book or an error, never more.
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    auto damaged = good;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random() % 128);
    if (const auto read = profile_book::from_text(damaged))
      for (const auto& [key, profile] : read->all())
        if (const auto time = profile.predict({1000, 1000})) CHECK(*time >= steady::duration::zero());
  }
}
