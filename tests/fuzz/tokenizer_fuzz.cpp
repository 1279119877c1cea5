// libFuzzer target: a tokenizer.json, or a text for a tokenizer. A finding is a crash, an exception, or a sanitizer's
// report.
#include <cstdint>

#include "fuzz/tokenizer_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_tokenizer_input({reinterpret_cast<const char*>(data), size});
  return 0;
}
