#include "services/mesh/bench/requests.hpp"
#include "core/tensor_bytes.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>

namespace shoal::services::bench {

namespace {

constexpr std::int64_t default_length = 16;
constexpr std::int64_t longest = std::int64_t{1} << 40;

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc{} || end != text.data() + text.size() || value < 0 || value > longest) return std::nullopt;
  return value;
}

template <class Line>
expected<void> for_each_line(const std::string& option, const std::string& file, Line&& take) {
  std::ifstream lines(file);
  if (!lines) return fail(errc::not_found, option + " " + file + ": the file cannot be read");
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty()) continue;
    const auto where = std::string(option).append(" ").append(file).append(":").append(std::to_string(number)) + ": ";
    const expected<bool> more = take(line, where);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return {};
  }
  if (lines.bad()) return fail(errc::not_found, option + " " + file + ": reading it failed");
  return {};
}

expected<request_set> from_file(const request_options& options, const model_interface& takes, std::size_t most_bytes) {
  request_set set;
  std::size_t bytes = 0;
  const auto read = for_each_line(
      options.file_option, options.file, [&](const std::string& line, const std::string& where) -> expected<bool> {
        auto inputs = read_request(line, takes, where);
        if (!inputs) return tl::unexpected(inputs.error());
        const auto size = bytes_of(*inputs) + 64;
        if (bytes + size > most_bytes) {
          set.note = where + "from here on left out: requests are encoded beforehand, and those above fill the " +
                     std::to_string(most_bytes >> 20) + " MiB they may take";
          return false;
        }
        bytes += size;
        set.order.push_back(set.distinct.size());
        set.distinct.push_back(std::move(*inputs));
        return true;
      });
  if (!read) return tl::unexpected(read.error());
  if (set.distinct.empty() && !set.note.empty()) return fail(errc::too_large, set.note);
  if (set.distinct.empty())
    return fail(errc::invalid_argument, options.file_option + " " + options.file + ": there is no request in it");
  return set;
}

expected<std::map<std::string, shape>> read_shapes(const std::vector<std::string>& texts) {
  std::map<std::string, shape> shapes;
  for (const auto& text : texts) {
    const auto wrong = fail(errc::invalid_argument, "--shape " + text + ": write NAME=DIMxDIM, such as input_ids=1x64");
    const auto equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) return wrong;
    auto& dims = shapes[text.substr(0, equals)];
    for (auto begin = equals + 1; begin <= text.size();) {
      const auto end = std::min(text.find('x', begin), text.size());
      const auto size = whole_number(std::string_view(text).substr(begin, end - begin));
      if (!size) return wrong;
      dims.push_back(*size);
      begin = end + 1;
    }
    if (dims.size() > max_rank) return wrong;
  }
  return shapes;
}

template <class T>
void fill(std::byte* to, std::size_t bytes, T one) {
  for (std::size_t at = 0; at < bytes; at += sizeof one) std::memcpy(to + at, &one, sizeof one);
}

expected<buffer> ones(dtype type, const shape& dims, const std::string& where, std::size_t most_bytes) {
  const auto count = element_count(dims);
  const auto size = std::max<std::size_t>(size_of(type), type == dtype::bytes ? 5 : 1);
  if (!count || *count > most_bytes / size)
    return fail(errc::too_large, where + ": " + to_string(dims) + " is larger than " +
                                     std::to_string(most_bytes >> 20) + " MiB, or no size at all");
  const auto bytes = static_cast<std::size_t>(*count) * size;
  return buffer::make(bytes, [&](std::byte* to) {
    switch (type) {
      case dtype::boolean:
      case dtype::uint8:
      case dtype::int8: return fill<std::uint8_t>(to, bytes, 1);
      case dtype::uint16:
      case dtype::int16: return fill<std::uint16_t>(to, bytes, 1);
      case dtype::uint32:
      case dtype::int32: return fill<std::uint32_t>(to, bytes, 1);
      case dtype::uint64:
      case dtype::int64: return fill<std::uint64_t>(to, bytes, 1);
      case dtype::fp16: return fill<std::uint16_t>(to, bytes, 0x3c00);
      case dtype::bf16: return fill<std::uint16_t>(to, bytes, 0x3f80);
      case dtype::fp32: return fill<float>(to, bytes, 1);
      case dtype::fp64: return fill<double>(to, bytes, 1);
      case dtype::bytes: break;
    }
    for (std::size_t at = 0; at < bytes; at += 5)
      std::memcpy(to + at,
                  "\1\0\0\0"
                  "1",
                  5);
  });
}

shape shape_of(const protocol::tensor_spec& spec, std::int64_t length) {
  shape dims;
  for (std::size_t i = 0; i < spec.dims.size(); ++i) {
    const auto& dim = spec.dims[i];
    dims.push_back(dim.is_fixed() ? dim.min : std::clamp(i == 0 ? std::int64_t{1} : length, dim.min, dim.max));
  }
  return dims;
}

expected<std::vector<tensor>> made(const model_interface& takes, const std::map<std::string, shape>& shapes,
                                   std::int64_t length, std::size_t most_bytes) {
  std::vector<tensor> inputs;
  for (const auto& spec : takes.inputs) {
    const auto said = shapes.find(spec.name);
    tensor input{spec.name, spec.type, said == shapes.end() ? shape_of(spec, length) : said->second, {}};
    auto data = ones(input.type, input.dims, "input '" + spec.name + "'", most_bytes);
    if (!data) return tl::unexpected(data.error());
    input.data = std::move(*data);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace

expected<request_set> make_requests(const request_options& options, const std::string& model,
                                    const model_interface& takes, std::size_t most_bytes) {
  if (!options.file.empty()) return from_file(options, takes, most_bytes);
  if (takes.inputs.empty())
    return fail(errc::invalid_argument,
                "the server does not say what inputs " + model + " takes: give requests with --requests FILE");
  const auto shapes = read_shapes(options.shapes);
  if (!shapes) return tl::unexpected(shapes.error());
  for (const auto& said : *shapes)
    if (std::none_of(takes.inputs.begin(), takes.inputs.end(),
                     [&](const auto& spec) { return spec.name == said.first; }))
      return fail(errc::invalid_argument,
                  std::string("--shape ").append(said.first).append(": ").append(model) + " has no such input");
  std::vector<std::int64_t> lengths;
  if (!options.lengths.empty()) {
    const auto read = for_each_line(
        "--lengths", options.lengths, [&](const std::string& line, const std::string& where) -> expected<bool> {
          const auto length = whole_number(line);
          if (!length)
            return fail(errc::invalid_argument, where + "'" + line.substr(0, 40) + "' is not a whole number from 0");
          lengths.push_back(*length);
          return true;
        });
    if (!read) return tl::unexpected(read.error());
    if (lengths.empty())
      return fail(errc::invalid_argument, "--lengths " + options.lengths + ": there is no length in it");
  } else {
    lengths.push_back(default_length);
  }

  request_set set;
  std::map<std::int64_t, std::size_t> known;
  std::size_t bytes = 0;
  for (const auto length : lengths) {
    if (const auto found = known.find(length); found != known.end()) {
      set.order.push_back(found->second);
      continue;
    }
    auto inputs = made(takes, *shapes, length, most_bytes - bytes);
    if (!inputs) return tl::unexpected(inputs.error());
    bytes += bytes_of(*inputs);
    if (bytes > most_bytes)
      return fail(errc::too_large, "the distinct requests for " + model + " take more than " +
                                       std::to_string(most_bytes >> 20) + " MiB: give fewer lengths or smaller shapes");
    known.emplace(length, set.distinct.size());
    set.order.push_back(set.distinct.size());
    set.distinct.push_back(std::move(*inputs));
  }
  return set;
}

}  // namespace shoal::services::bench
