#include "executor/torch_types.hpp"

namespace shoal::executor {

std::optional<c10::ScalarType> scalar_type(archive_dtype type) noexcept {
  switch (type.code) {
    case 1: return c10::ScalarType::Byte;
    case 2: return c10::ScalarType::Char;
    case 3: return c10::ScalarType::Short;
    case 4: return c10::ScalarType::Int;
    case 5: return c10::ScalarType::Long;
    case 6: return c10::ScalarType::Half;
    case 7: return c10::ScalarType::Float;
    case 8: return c10::ScalarType::Double;
    case 9: return c10::ScalarType::ComplexHalf;
    case 10: return c10::ScalarType::ComplexFloat;
    case 11: return c10::ScalarType::ComplexDouble;
    case 12: return c10::ScalarType::Bool;
    case 13: return c10::ScalarType::BFloat16;
    case 28: return c10::ScalarType::UInt16;
    case 29: return c10::ScalarType::Float8_e4m3fn;
    case 30: return c10::ScalarType::Float8_e5m2;
    case 31: return c10::ScalarType::Float8_e4m3fnuz;
    case 32: return c10::ScalarType::Float8_e5m2fnuz;
    default: return std::nullopt;
  }
}

std::optional<c10::Layout> layout(archive_layout layout) noexcept {
  if (layout.code == 7) return c10::Layout::Strided;
  return std::nullopt;  // sparse and mkldnn tensors are not run
}

std::optional<c10::MemoryFormat> memory_format(archive_memory_format format) noexcept {
  switch (format.code) {
    case 1: return c10::MemoryFormat::Contiguous;
    case 2: return c10::MemoryFormat::ChannelsLast;
    case 3: return c10::MemoryFormat::ChannelsLast3d;
    case 4: return c10::MemoryFormat::Preserve;
    default: return std::nullopt;
  }
}

c10::ScalarType scalar_type(dtype type) noexcept {
  switch (type) {
    case dtype::boolean: return c10::ScalarType::Bool;
    case dtype::uint8: return c10::ScalarType::Byte;
    case dtype::uint16: return c10::ScalarType::UInt16;
    case dtype::uint32: return c10::ScalarType::UInt32;
    case dtype::uint64: return c10::ScalarType::UInt64;
    case dtype::int8: return c10::ScalarType::Char;
    case dtype::int16: return c10::ScalarType::Short;
    case dtype::int32: return c10::ScalarType::Int;
    case dtype::int64: return c10::ScalarType::Long;
    case dtype::fp16: return c10::ScalarType::Half;
    case dtype::bf16: return c10::ScalarType::BFloat16;
    case dtype::fp32: return c10::ScalarType::Float;
    case dtype::fp64: return c10::ScalarType::Double;
    case dtype::bytes: break;
  }
  return c10::ScalarType::Undefined;
}

}  // namespace shoal::executor
