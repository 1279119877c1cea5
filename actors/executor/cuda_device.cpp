#include "executor/cuda_device.hpp"

#include <filesystem>
#include <string>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <spdlog/spdlog.h>

namespace shoal::executor {

namespace {

/// libtorch_cuda.so of the folder that this process has libtorch_cpu.so from: another one would not fit it.
expected<void> load_cuda_part() {
  Dl_info found{};
  if (dladdr(reinterpret_cast<const void*>(&at::detail::getCUDAHooks), &found) == 0 || found.dli_fname == nullptr)
    return fail(errc::unsupported, "where LibTorch was loaded from is not known, so its CUDA part cannot be loaded");
  const auto library = std::filesystem::path(found.dli_fname).parent_path() / "libtorch_cuda.so";
  // Global: what it registers and what its own libraries look up are one set of symbols with libtorch_cpu's.
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  const char* why = dlerror();
  return fail(errc::unsupported,
              "LibTorch's CUDA part cannot be loaded: " + std::string(why != nullptr ? why : library.c_str()) +
                  "; install a PyTorch wheel with CUDA, or use the device cpu");
}

expected<int> count_gpus() {
  static const auto loaded = load_cuda_part();
  if (!loaded) return tl::unexpected(loaded.error());
  try {
    const auto& hooks = at::detail::getCUDAHooks();
    return hooks.hasCUDA() ? static_cast<int>(hooks.deviceCount()) : 0;
  } catch (const std::exception& wrong) {
    return fail(errc::unsupported, std::string("CUDA does not answer: ") + wrong.what());
  }
}

}  // namespace

expected<c10::Device> open_device(const device& wanted) {
  if (wanted.type == device::kind::cpu) return c10::Device(c10::DeviceType::CPU);
  if (wanted.index < 0 || wanted.index > device::max_index)
    return fail(errc::invalid_argument, "there is no GPU with the index " + std::to_string(wanted.index));
  const auto gpus = count_gpus();
  if (!gpus) return tl::unexpected(gpus.error());
  if (*gpus == 0)
    return fail(errc::unsupported, "the device " + to_string(wanted) +
                                       " is not there: CUDA finds no GPU on this machine; look at the driver "
                                       "(nvidia-smi) and CUDA_VISIBLE_DEVICES, or use the device cpu");
  if (wanted.index >= *gpus)
    return fail(errc::invalid_argument, "the device " + to_string(wanted) + " is not there: CUDA finds " +
                                            std::to_string(*gpus) +
                                            " GPU(s), cuda:0 to cuda:" + std::to_string(*gpus - 1));
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setDeterministicCuDNN(true);
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(wanted.index));
}

void wait_for(c10::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

device_memory::~device_memory() {
  if (device_.is_cpu()) return;
  try {
    c10::getDeviceAllocator(device_.type())->emptyCache();
  } catch (const std::exception& wrong) {
    spdlog::warn("memory of {} could not be given back after a model: {}", device_.str(), wrong.what());
  }
}

}  // namespace shoal::executor
