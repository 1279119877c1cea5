#include "executor/model_directory.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include <spdlog/spdlog.h>
#include <toml++/toml.h>

#include "core/name.hpp"

namespace shoal::executor {

namespace fs = std::filesystem;
using protocol::model_spec;
using protocol::tensor_spec;

namespace {

/// Whether `value` converted to `type` is the same number (for floating types: up to rounding).
bool holds(dtype type, double value) {
  const auto whole_between = [value](double low, double high) {  // `high` excluded: exact for 64 bits, too
    return value >= low && value < high && value == std::floor(value);
  };
  const auto bits = static_cast<int>(size_of(type) * 8);
  switch (type) {
    case dtype::boolean: return value == 0 || value == 1;
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64: return whole_between(0, std::ldexp(1, bits));
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64: return whole_between(-std::ldexp(1, bits - 1), std::ldexp(1, bits - 1));
    default: return true;
  }
}

class model_toml {
 public:
  model_toml(std::string file, model_spec& spec) : file_(std::move(file)), spec_(spec) {}

  expected<void> apply(const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key;
      if (name != "max_batch" && name != "rename" && name != "padding")
        return wrong(node, "there is no key '" + std::string(name) + "'; known are max_batch, rename, padding");
    }
    expected<void> done;
    if (const auto* node = table.get("max_batch")) done = max_batch(*node);
    if (const auto* node = table.get("padding"); node && done) done = padding(*node);  // under the exported names
    if (const auto* node = table.get("rename"); node && done) done = rename(*node);
    return done;
  }

 private:
  [[nodiscard]] tl::unexpected<error> wrong(const toml::node& at, const std::string& what) const {
    const auto& place = at.source().begin;
    return fail(errc::invalid_argument,
                file_ + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) + ": " + what);
  }

  tensor_spec* input(std::string_view name) {
    const auto found = std::find_if(spec_.inputs.begin(), spec_.inputs.end(), [&](auto& s) { return s.name == name; });
    return found == spec_.inputs.end() ? nullptr : &*found;
  }

  expected<void> max_batch(const toml::node& node) {
    const auto rows = node.value<std::int64_t>();
    if (!node.is_integer() || *rows < 1 || *rows > 65536)
      return wrong(node, "max_batch must be an integer from 1 to 65536");
    spec_.max_batch = static_cast<std::uint32_t>(*rows);
    return {};
  }

  expected<void> rename(const toml::node& node) {
    if (!node.is_table()) return wrong(node, "rename must be a table: old = \"new\"");
    const auto exported = spec_;  // all at once, so that two names can be exchanged
    for (const auto& [key, value] : *node.as_table()) {
      const std::string old{std::string_view(key)};
      const auto name = value.value<std::string>();
      if (!name || name->empty() || name->size() > 256)
        return wrong(value, "the new name of '" + old + "' must be a string");
      bool found = false;
      for (std::size_t i = 0; i < exported.inputs.size(); ++i)
        if (exported.inputs[i].name == old) spec_.inputs[i].name = *name, found = true;
      for (std::size_t o = 0; o < exported.outputs.size(); ++o)
        if (exported.outputs[o].name == old) spec_.outputs[o].name = *name, found = true;
      if (!found) return wrong(value, "the model has no input or output '" + old + "'");
    }
    for (const auto* specs : {&spec_.inputs, &spec_.outputs}) {
      std::set<std::string_view> names;
      for (const auto& spec : *specs)
        if (!names.insert(spec.name).second) return wrong(node, "two tensors would be called '" + spec.name + "'");
    }
    return {};
  }

  expected<void> padding(const toml::node& node) {
    if (!node.is_table()) return wrong(node, "padding must be a table with input, dimension and values");
    const auto& table = *node.as_table();
    const auto name = table["input"].value<std::string>();
    const auto dimension = table["dimension"].value<std::int64_t>();
    if (!name || !dimension) return wrong(node, "padding needs input = \"name\" and dimension = index");
    const auto* padded = input(*name);
    if (padded == nullptr) return wrong(node, "padding.input: the model has no input '" + *name + "'");
    if (*dimension < 0 || *dimension >= static_cast<std::int64_t>(padded->dims.size()))
      return wrong(node, "padding.dimension: input '" + *name + "' has rank " + std::to_string(padded->dims.size()));
    const auto& symbol = padded->dims[static_cast<std::size_t>(*dimension)].symbol;
    if (symbol.empty() || symbol == spec_.batch_symbol)
      return wrong(node, "padding.dimension: dimension " + std::to_string(*dimension) + " of '" + *name +
                             "' is not a free dimension of the exported graph that could be padded");
    spec_.pad_symbol = symbol;
    for (const auto& [key, value] : table) {
      const std::string_view field = key;
      if (field == "input" || field == "dimension") continue;
      if (field != "values" || !value.is_table())
        return wrong(value, "padding has input, dimension and a table values");
      for (const auto& [tensor_name, fill] : *value.as_table()) {
        auto* spec = input(std::string_view(tensor_name));
        if (spec == nullptr)
          return wrong(fill,
                       "padding.values: the model has no input '" + std::string(std::string_view(tensor_name)) + "'");
        const auto number = fill.value<double>();
        if (!number) return wrong(fill, "padding.values: a number is needed");
        if (!holds(spec->type, *number))
          return wrong(fill, "padding.values: " + std::string(name_of(spec->type)) + " cannot hold that number");
        spec->pad_value = *number;
      }
    }
    return {};
  }

  std::string file_;
  model_spec& spec_;
};

/// The version that a folder's name says; 0: none.
std::uint64_t version_of(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc{} && end == text.data() + text.size() ? number : 0;
}

}  // namespace

expected<protocol::load> find_version(const fs::path& models, const std::string& name, std::uint64_t version) {
  if (auto good = check_name("a model's", name); !good) return tl::unexpected(good.error());
  std::error_code problem;
  protocol::load best{{}, name, 0};
  for (const auto& entry : fs::directory_iterator(models / name, problem)) {
    const auto number = version_of(entry.path().filename().string());
    if (number <= best.version || (version != 0 && number != version)) continue;
    if (fs::exists(entry.path() / "model.pt2", problem)) best = {entry.path(), name, number};
  }
  if (best.version != 0) return best;
  return fail(errc::not_found, "there is no model '" + name + "'" +
                                   (version != 0 ? " version " + std::to_string(version) : "") +
                                   " in this worker's directory: put it there with `shoal import`");
}

expected<std::vector<protocol::load>> scan_models(const fs::path& models) {
  std::error_code problem;
  if (!fs::is_directory(models, problem))
    return fail(errc::not_found, "there is no model directory " + models.string() +
                                     "; it holds <name>/<version>/model.pt2 (see `shoal import`)");
  std::vector<protocol::load> found;
  for (const auto& model : fs::directory_iterator(models, problem)) {
    const auto name = model.path().filename().string();
    if (!model.is_directory(problem) || name.starts_with('.')) continue;
    if (const auto good = check_name("a model's", name); !good) {
      spdlog::warn("{} is not served: {}", model.path().string(), good.error().message);
      continue;
    }
    for (const auto& version : fs::directory_iterator(model.path(), problem)) {
      const auto text = version.path().filename().string();
      if (!version.is_directory(problem) || text.starts_with('.')) continue;
      const auto number = version_of(text);
      if (number == 0) {
        spdlog::warn("{} is not served: a version is a whole number from 1", version.path().string());
        continue;
      }
      if (!fs::exists(version.path() / "model.pt2", problem)) {
        spdlog::warn("{} is not served: there is no model.pt2 in it", version.path().string());
        continue;
      }
      found.push_back({version.path(), name, number});
    }
  }
  if (problem) return fail(errc::unavailable, "cannot read " + models.string() + ": " + problem.message());
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return std::pair(a.name, a.version) < std::pair(b.name, b.version); });
  return found;
}

expected<void> apply_model_toml(const fs::path& folder, model_spec& spec) {
  const auto file = folder / "model.toml";
  std::error_code problem;
  if (!fs::exists(file, problem)) return {};
  try {
    return model_toml(file.string(), spec).apply(toml::parse_file(file.string()));
  } catch (const toml::parse_error& wrong) {
    return fail(errc::invalid_argument, file.string() + ":" + std::to_string(wrong.source().begin.line) + ":" +
                                            std::to_string(wrong.source().begin.column) + ": " +
                                            std::string(wrong.description()));
  }
}

}  // namespace shoal::executor
