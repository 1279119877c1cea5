#include "services/mesh/output.hpp"

#include <iostream>
#include <set>
#include <sstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "services/mesh/names.hpp"

using namespace shoal;
using namespace shoal::services;

namespace {

/// What is written to `to` while `write` runs.
template <class Write>
std::string captured(std::ostream& to, Write&& write) {
  std::ostringstream text;
  auto* old = to.rdbuf(text.rdbuf());
  write();
  to.rdbuf(old);
  return text.str();
}

}  // namespace

TEST_CASE("each class of failure has an exit code, and those that call for something else have another") {
  for (unsigned code = 0; code <= 12; ++code) {
    const auto exit = exit_code_of(static_cast<errc>(code));
    CHECK(exit >= 1);
    CHECK(exit <= 6);
  }
  std::set<int> different;
  for (const auto code : {errc::internal, errc::invalid_argument, errc::not_found, errc::unavailable,
                          errc::deadline_exceeded, errc::overloaded})
    different.insert(exit_code_of(code));
  CHECK(different.size() == 6);
}

TEST_CASE("an error is a sentence, or an object where the answer would have been") {
  error failure{errc::overloaded, "full \xff"};
  failure.retry_after = std::chrono::milliseconds(30);
  int code = 0;
  CHECK(captured(std::cerr, [&] { code = report_error(failure, false); }) == "shoal: full \xff\n");
  CHECK(code == 6);
  const auto text = captured(std::cout, [&] { code = report_error(failure, true); });
  CHECK(code == 6);
  const auto told = nlohmann::json::parse(text).at("error");
  CHECK(told.at("code") == "overloaded");
  CHECK(told.at("retryable") == true);
  CHECK(told.at("retry_after_ms") == 30);
}

TEST_CASE("errors that leave one helpless say what to do next") {
  CHECK(with_next_step({errc::unavailable, "the gateway at x cannot be reached"}).message.find("`shoal up") !=
        std::string::npos);
  CHECK(with_next_step({errc::not_found, "there is no model 'm'"}).message.find("`shoal models`") != std::string::npos);
  CHECK(with_next_step({errc::not_found, "no worker reports"}).message == "no worker reports");
}

TEST_CASE("sizes, ages and ids are for people to read") {
  CHECK(size_text(0) == "0 B");
  CHECK(size_text(1536) == "1.5 KiB");
  CHECK(size_text(3.5 * 1024 * 1024 * 1024) == "3.5 GiB");
  CHECK(age_text(std::chrono::seconds(119)) == "119 s");
  CHECK(age_text(std::chrono::minutes(90)) == "90 min");
  CHECK(age_text(std::chrono::hours(47)) == "47 h");
  CHECK(age_text(std::chrono::hours(72)) == "3 d");
  CHECK(id_text(255) == "00000000000000ff");
}

TEST_CASE("a model is typed as NAME or NAME/VERSION, and as nothing else") {
  CHECK(*read_model_name("m") == std::pair(std::string("m"), std::uint64_t{0}));
  CHECK(*read_model_name("m.x-1/12") == std::pair(std::string("m.x-1"), std::uint64_t{12}));
  for (const auto* bad :
       {"", "/", "m/", "m/0", "m/-1", "m/abc", "m/1x", "m/1/2", "../m", ".m", "a b", "m/99999999999999999999"}) {
    CAPTURE(bad);
    const auto read = read_model_name(bad);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
    CHECK(read.error().message.find("NAME or NAME/VERSION") != std::string::npos);
  }
}
