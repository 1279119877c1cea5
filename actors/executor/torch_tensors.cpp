#include "executor/torch_tensors.hpp"

#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "executor/torch_types.hpp"

namespace shoal::executor {

at::Tensor to_torch(const tensor& given, bool is_written, c10::Device device) {
  if (!device.is_cpu()) return to_torch(given, false, c10::DeviceType::CPU).to(device);
  const auto options = at::TensorOptions().dtype(scalar_type(given.type));
  auto* data = const_cast<std::byte*>(given.data.data());
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % size_of(given.type) == 0;
  if (aligned && !is_written && !given.data.empty())
    return at::from_blob(
        data, given.dims, [keep = given.data](void*) {}, options);
  auto copy = at::empty(given.dims, options);
  if (!given.data.empty()) std::memcpy(copy.data_ptr(), data, given.data.size());
  return copy;
}

expected<tensor> from_torch(const at::Tensor& result, const protocol::tensor_spec& as) {
  // Its shape is taken as it is: PyTorch 2.11 records the final states of an LSTM with a dimension too many.
  if (result.scalar_type() != scalar_type(as.type))
    return fail(errc::internal, "the output " + as.name + " has another type than the archive says");
  auto owner = std::make_shared<const at::Tensor>(result.resolve_neg().contiguous().cpu());
  const std::span bytes(static_cast<const std::byte*>(owner->const_data_ptr()), owner->nbytes());
  return tensor{as.name, as.type, owner->sizes().vec(), buffer(owner, bytes)};
}

}  // namespace shoal::executor
