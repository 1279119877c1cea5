#include "core/tensor.hpp"

namespace shoal {

namespace {
constexpr std::uint64_t limit = std::uint64_t{1} << 62;
}

expected<std::uint64_t> element_count(const shape& dims) {
  if (dims.size() > max_rank)
    return fail(errc::invalid_argument, "a shape of rank " + std::to_string(dims.size()) + " is above the limit of " +
                                            std::to_string(max_rank));
  for (auto size : dims)
    if (size < 0) return fail(errc::invalid_argument, "the shape " + to_string(dims) + " has a negative size");
  std::uint64_t count = 1;
  for (auto size : dims)
    if (size == 0) return std::uint64_t{0};
  for (auto size : dims)
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count) || count > limit)
      return fail(errc::invalid_argument, "the shape " + to_string(dims) + " has more elements than can be addressed");
  return count;
}

expected<std::uint64_t> byte_size(dtype type, const shape& dims) {
  if (size_of(type) == 0)
    return fail(errc::unsupported, "tensors of type " + std::string(name_of(type)) + " have no fixed size");
  auto count = element_count(dims);
  if (!count) return count;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(*count, std::uint64_t{size_of(type)}, &bytes) || bytes > limit)
    return fail(errc::invalid_argument,
                "a tensor of shape " + to_string(dims) + " has more bytes than can be addressed");
  return bytes;
}

std::string to_string(const shape& dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

}  // namespace shoal
