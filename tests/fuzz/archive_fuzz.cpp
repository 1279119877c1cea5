// libFuzzer target: bytes of a `.pt2` file. Half of the mutations get their checksums mended, else nearly all would end
// at the first record. A finding is a crash, an exception that is not a value, or a sanitizer's report.
#include <cstdint>
#include <cstring>
#include <random>

#include "fuzz/read_model.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_archive({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (std::minstd_rand(seed)() % 2 == 0) return size;
  std::string mended(reinterpret_cast<const char*>(data), size);
  shoal::test::mend_checksums(mended);
  std::memcpy(data, mended.data(), size);
  return size;
}
