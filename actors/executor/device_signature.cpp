#include "executor/device_signature.hpp"

#include <array>
#include <fstream>

#include <dlfcn.h>

#include "executor/kernels/instruction_set.hpp"

namespace shoal::executor {

namespace {

std::string processor_name() {
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    if (!line.starts_with("model name")) continue;
    const auto begin = line.find(':');
    const auto first = begin == std::string::npos ? begin : line.find_first_not_of(" \t", begin + 1);
    if (first != std::string::npos) return line.substr(first);
  }
  return "unknown";
}

/// A function of CUDA's driver, whose interface in C does not change; null: there is no driver.
template <class Function>
Function* of_driver(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

std::string gpu_signature(int index) {
  // cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR; a CUdevice is an int, 0 is CUDA_SUCCESS.
  constexpr int major_capability = 75;
  constexpr int minor_capability = 76;
  auto* start = of_driver<int(unsigned)>("cuInit");
  auto* find = of_driver<int(int*, int)>("cuDeviceGet");
  auto* name = of_driver<int(char*, int, int)>("cuDeviceGetName");
  auto* attribute = of_driver<int(int*, int, int)>("cuDeviceGetAttribute");
  const std::string unknown = "cuda/unknown/unknown";
  if (start == nullptr || find == nullptr || name == nullptr || attribute == nullptr || start(0) != 0) return unknown;
  int card = 0;
  int major = 0;
  int minor = 0;
  std::array<char, 128> text{};
  if (find(&card, index) != 0 || name(text.data(), static_cast<int>(text.size()) - 1, card) != 0 ||
      attribute(&major, major_capability, card) != 0 || attribute(&minor, minor_capability, card) != 0)
    return unknown;
  return "cuda/sm_" + std::to_string(major) + std::to_string(minor) + "/" + text.data();
}

}  // namespace

std::string device_signature(const device& on, bool own_kernels) {
  if (on.type == device::kind::cuda) return gpu_signature(on.index);
  static const std::string processor = processor_name();
  const auto kernels = own_kernels ? kernels::name_of(kernels::chosen_instruction_set()) : std::string_view("aten");
  return "cpu/" + std::string(kernels) + "/" + processor;
}

}  // namespace shoal::executor
