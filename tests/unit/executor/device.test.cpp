#include "executor/device.hpp"

#include <doctest/doctest.h>

using shoal::errc;
using shoal::executor::device;

TEST_CASE("the names of devices are read, and written as they were read") {
  CHECK(device::parse("cpu") == device{});
  CHECK(device::parse("cuda") == device{device::kind::cuda, 0});
  for (const auto* name : {"cpu", "cuda:0", "cuda:7", "cuda:127"}) {
    const auto read = device::parse(name);
    REQUIRE(read);
    CHECK(to_string(*read) == name);
  }
}

TEST_CASE("text that names no device is refused with a sentence that lists what does") {
  for (const auto* text : {"", "CPU", "cpu:0", "gpu", "cuda:", "cuda:-1", "cuda:-0", "cuda:+1", "cuda:01", "cuda:1 ",
                           "cuda:128", "cuda:99999999999999999999", "cuda:1x"}) {
    CAPTURE(text);
    const auto read = device::parse(text);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
    CHECK(read.error().message.find("cuda:N") != std::string::npos);
  }
}
