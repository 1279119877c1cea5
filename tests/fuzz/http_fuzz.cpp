// libFuzzer target: everything that one HTTP client sends on one connection. A finding is a crash, an exception, or a
// sanitizer's report.
#include <cstdint>

#include "fuzz/read_http.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_http(std::as_bytes(std::span(data, size)));
  return 0;
}
