// libFuzzer target: one request of the gRPC door. A finding is a crash, an exception, or a sanitizer's report.
#include <cstdint>

#include "fuzz/read_grpc.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_grpc(std::as_bytes(std::span(data, size)));
  return 0;
}
