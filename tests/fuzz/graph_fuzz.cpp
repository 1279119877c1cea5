// libFuzzer target: the JSON of a model archive, as read_graph_texts takes it. Half of the mutations are made to the
// document, not to its text: a part is dropped, doubled, put in another's place or set to a value that misleads.
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <nlohmann/json.hpp>

#include "fuzz/read_model.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using nlohmann::json;

void collect(json& part, std::vector<json*>& parts) {
  parts.push_back(&part);
  if (part.is_structured())
    for (auto& inner : part) collect(inner, parts);
}

json misleading(std::minstd_rand& random) {
  static const std::vector<json> values{
      json(),
      true,
      0,
      1,
      -1,
      2.5,
      1e300,
      "",
      "NaN",
      "Infinity",
      "x",
      std::numeric_limits<std::int64_t>::min(),
      std::numeric_limits<std::int64_t>::max(),
      std::numeric_limits<std::uint64_t>::max(),
      std::int64_t{1} << 32,
      json::array(),
      json::object(),
      {{"as_none", true}},
      {{"as_int", 1}},
      {{"as_bool", false}},
      {{"as_expr", {{"expr_str", "Mul(Integer(9223372036854775807), Symbol('s0'))"}}}}};
  return values[random() % values.size()];
}

void change(json& document, std::minstd_rand& random) {
  std::vector<json*> parts;
  collect(document, parts);
  auto& part = *parts[random() % parts.size()];
  const json other = *parts[random() % parts.size()];
  switch (random() % 4) {
    case 0: part = other; break;
    case 1: part = misleading(random); break;
    case 2:
      if (part.is_array())
        part.push_back(other);
      else
        part = misleading(random);
      break;
    default:
      if (part.is_array() && !part.empty())
        part.erase(random() % part.size());
      else if (part.is_object() && !part.empty())
        part.erase(std::next(part.begin(), static_cast<std::ptrdiff_t>(random() % part.size())));
      else
        part = other;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)shoal::test::read_graph_texts({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  std::minstd_rand random(seed);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto end = std::min(text.find('\0'), text.size());
  auto document = json::parse(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
  if (document.is_discarded() || random() % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  for (auto count = 1 + random() % 3; count-- > 0;) change(document, random);
  const auto changed = document.dump(-1, ' ', false, json::error_handler_t::replace) + text.substr(end);
  if (changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}
