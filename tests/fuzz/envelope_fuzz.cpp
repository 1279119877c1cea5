// libFuzzer target: a message between services, as it comes from a stranger. A finding is a crash, an exception, or a
// sanitizer's report.
#include <cstdint>

#include "fuzz/read_envelope.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_envelope(std::as_bytes(std::span(data, size)));
  return 0;
}
