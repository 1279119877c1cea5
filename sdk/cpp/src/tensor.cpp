#include "shoal/tensor.hpp"

#include "core/tensor.hpp"

#include "translate.hpp"

namespace shoal::client {

std::string_view name_of(errc code) noexcept { return shoal::name_of(static_cast<shoal::errc>(code)); }

std::string_view name_of(dtype type) noexcept {
  const auto known = shoal::dtype_of(static_cast<unsigned>(type));
  return known ? shoal::name_of(*known) : std::string_view("unknown");
}

std::size_t size_of(dtype type) noexcept {
  const auto known = shoal::dtype_of(static_cast<unsigned>(type));
  return known ? shoal::size_of(*known) : 0;
}

namespace {
error wrong(std::string message, errc code = errc::invalid_argument) {
  return {code, std::move(message), false, {}, 0};
}
}  // namespace

error result::no_output(std::string_view name) const {
  std::string names;
  for (const auto& each : outputs) names += (names.empty() ? "" : ", ") + each.name();
  auto why = wrong("there is no output '" + std::string(name) + "'; there are: " + names, errc::not_found);
  why.request_id = request_id;
  return why;
}

tensor::tensor(std::string name, shape dims, const std::vector<bool>& values)
    : name_(std::move(name)), type_(dtype::boolean), dims_(std::move(dims)) {
  const auto data = buffer::make(values.size(), [&](std::byte* to) {
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = std::byte{values[i] ? std::uint8_t{1} : std::uint8_t{0}};
  });
  bytes_ = data.bytes();
  owner_ = data.owner();
}

tensor tensor::copy_of(std::string name, dtype type, shape dims, std::span<const std::byte> bytes) {
  const auto data = buffer::copy(bytes);
  return tensor(std::move(name), type, std::move(dims), data.bytes(), data.owner());
}

expected<void> tensor::check() const {
  const auto known = shoal::dtype_of(static_cast<unsigned>(type_));
  if (!known) return tl::unexpected(wrong("tensor '" + name_ + "' has an unknown type, " + std::to_string(int(type_))));
  const auto size = byte_size(*known, dims_);
  if (!size) {
    auto why = detail::to_user(size.error());
    why.message = "tensor '" + name_ + "': " + why.message;
    return tl::unexpected(std::move(why));
  }
  if (*size != bytes_.size())
    return tl::unexpected(wrong("tensor '" + name_ + "' of shape " + to_string(dims_) + " and type " +
                                std::string(name_of(type_)) + " needs " + std::to_string(*size) + " bytes but has " +
                                std::to_string(bytes_.size())));
  return {};
}

expected<void> tensor::check_view(dtype type, std::size_t alignment) const {
  if (type != type_)
    return tl::unexpected(wrong("tensor '" + name_ + "' is of type " + std::string(name_of(type_)) + ", not " +
                                std::string(name_of(type))));
  if (auto good = check(); !good) return good;
  if (!bytes_.empty() && reinterpret_cast<std::uintptr_t>(bytes_.data()) % alignment != 0)
    return tl::unexpected(wrong("the bytes of tensor '" + name_ + "' are not aligned: use values()"));
  return {};
}

}  // namespace shoal::client
