// libFuzzer target: the JSON of a model archive, as read_graph_texts takes it.
#include <cstdint>

#include "fuzz/read_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_graph_texts({reinterpret_cast<const char*>(data), size});
  return 0;
}
