#include "unit/simulation/model.hpp"

#include <algorithm>
#include <cstring>

namespace shoal::test {

using namespace protocol;

namespace {

template <class Number>
tensor numbers(const char* name, shape dims, Number&& at) {
  tensor made{name, dtype::int64, std::move(dims), {}};
  const auto rows = made.dims[0], columns = made.dims[1];
  made.data = buffer::make(static_cast<std::size_t>(rows * columns) * 8, [&](std::byte* to) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c, to += 8) {
        const std::uint64_t value = at(r, c);
        std::memcpy(to, &value, 8);
      }
  });
  return made;
}

std::uint64_t number_at(const tensor& of, std::int64_t row, std::int64_t column) {
  std::uint64_t value = 0;
  std::memcpy(&value, of.data.data() + (row * of.dims[1] + column) * 8, 8);
  return value;
}

}  // namespace

model_spec model_of(const std::string& name, std::uint64_t version) {
  model_spec spec;
  spec.name = name;
  spec.version = version;
  spec.state = model_state::ready;
  spec.batch_symbol = "batch";
  spec.pad_symbol = "length";
  spec.inputs = {{"x", dtype::int64, {{1, 1024, "batch"}, {1, 512, "length"}}, 0}};
  spec.outputs = {{"y", dtype::int64, {{1, 1024, "batch"}, dimension::fixed(1)}, 0}};
  return spec;
}

tensor input_of(std::uint64_t number, std::int64_t rows, std::int64_t length) {
  return numbers("x", {rows, length}, [&](std::int64_t row, std::int64_t column) {
    return number << 16 | static_cast<std::uint64_t>(row * longest_row + column);
  });
}

tensor answer_of(const std::string& model, std::uint64_t version, const tensor& input) {
  std::uint64_t base = version;
  for (const char c : model) mix(base, static_cast<unsigned char>(c));
  return numbers("y", {input.dims[0], 1}, [&](std::int64_t row, std::int64_t) {
    auto sum = base;
    for (std::int64_t c = 0; c < input.dims[1]; ++c) mix(sum, number_at(input, row, c));
    return sum;
  });
}

bool same(const tensor& a, const tensor& b) {
  return a.name == b.name && a.type == b.type && a.dims == b.dims && std::ranges::equal(a.data.bytes(), b.data.bytes());
}

}  // namespace shoal::test
