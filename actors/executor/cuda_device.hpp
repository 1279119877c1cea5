// Where a graph computes, as ATen knows it. Only libtorch_cpu and libc10 are linked, so that one build serves machines
// with and without a GPU: libtorch_cuda.so beside them is loaded when a GPU is first asked for, and stays. Includes
// LibTorch. Any thread; LibTorch remembers its first answer about CUDA, so a GPU is opened before any graph is built.
#pragma once

#include <c10/core/Device.h>

#include "core/error.hpp"
#include "executor/device.hpp"

namespace shoal::executor {

/// The device, ready. On GPUs fp32 means fp32 (no TF32) and cuDNN is deterministic: the same request has the same
/// answer on every worker that has the same card.
/// Errors: unsupported (libtorch_cuda.so cannot be loaded, there is no GPU), invalid_argument (an index beyond them).
expected<c10::Device> open_device(const device& wanted);

/// Waits until the device has done all that this thread asked of it; nothing on CPUs. Throws as CUDA fails.
void wait_for(c10::Device device);

/// Held by a model as its first member: after all that the model had on a GPU was freed, the memory that LibTorch keeps
/// for reuse goes back to the GPU. CUDA's context and the libraries' workspaces stay with the process.
class device_memory {
 public:
  explicit device_memory(c10::Device device) : device_(device) {}
  ~device_memory();
  device_memory(const device_memory&) = delete;
  device_memory& operator=(const device_memory&) = delete;

  [[nodiscard]] c10::Device device() const noexcept { return device_; }

 private:
  c10::Device device_;
};

}  // namespace shoal::executor
