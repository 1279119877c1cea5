#include "http/content_coding.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::http;

namespace {

std::string wanted(const std::string& accepted) {
  request asked;
  asked.fields = {{"accept-encoding", accepted}};
  const auto format = wanted_coding(asked);
  return format ? std::string(name_of(*format)) : "";
}

std::string coded(const std::string& value) {
  request asked;
  asked.fields = {{"Content-Encoding", value}};
  const auto format = content_coding(asked);
  if (!format) return "error";
  return *format ? std::string(name_of(**format)) : "";
}

}  // namespace

TEST_CASE("the coding that a client wants most is chosen") {
  CHECK(wanted("") == "");
  CHECK(wanted("gzip") == "gzip");
  CHECK(wanted("deflate") == "deflate");
  CHECK(wanted("gzip, deflate, br") == "gzip");
  CHECK(wanted("GZip;Q=0.5, deflate;q=0.8") == "deflate");
  CHECK(wanted("br, identity") == "");
  CHECK(wanted("*") == "gzip");
  CHECK(wanted("*;q=0") == "");
  CHECK(wanted("gzip;q=0, *") == "deflate");
  CHECK(wanted("identity, gzip;q=0.5") == "");
  CHECK(wanted("gzip;q=0") == "");
  CHECK(wanted("gzip;q=nan") == "");
  CHECK(wanted("gzip;q=-1,,;,") == "");
  CHECK(wanted(std::string(10'000, ',')) == "");
}

TEST_CASE("requests may be coded once, in gzip or deflate") {
  CHECK(coded("") == "");
  CHECK(coded("identity") == "");
  CHECK(coded(" X-GZIP ") == "gzip");
  CHECK(coded("deflate") == "deflate");
  CHECK(coded("br") == "error");
  CHECK(coded("gzip, gzip") == "error");
}

TEST_CASE("fields that are given several times count as one") {
  request asked;
  asked.fields = {{"Accept-Encoding", "br"}, {"accept-encoding", "deflate;q=0.5"}, {"Accept-Encoding", "gzip;q=0.2"}};
  CHECK(wanted_coding(asked) == coding::deflate);
  asked.fields = {{"Content-Encoding", "gzip"}, {"Content-Encoding", "gzip"}};
  CHECK_FALSE(content_coding(asked));
}

TEST_CASE("only what becomes smaller is compressed") {
  const auto packed = compress(json_response(std::string(5000, 'a')), coding::gzip);
  CHECK(packed.body_size() < 100);
  CHECK(packed.fields.back() == std::pair<std::string, std::string>{"Content-Encoding", "gzip"});
  std::string noise;
  for (unsigned i = 0, state = 1; i < 5000; ++i)
    noise += static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  const auto left = compress(json_response(noise), coding::gzip);
  CHECK(left.body_size() == noise.size());
  CHECK(left.fields.empty());
}
