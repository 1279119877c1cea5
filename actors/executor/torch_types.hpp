// The archive's enumerations in c10's terms: the numbers differ (torch/_export/serde/schema.py against c10/core).
// Includes LibTorch: for the executor's sources only.
#pragma once

#include <optional>

#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include "core/dtype.hpp"
#include "executor/graph.hpp"

namespace shoal::executor {

std::optional<c10::ScalarType> scalar_type(archive_dtype type) noexcept;
std::optional<c10::Layout> layout(archive_layout layout) noexcept;
std::optional<c10::MemoryFormat> memory_format(archive_memory_format format) noexcept;
c10::ScalarType scalar_type(dtype type) noexcept;

}  // namespace shoal::executor
