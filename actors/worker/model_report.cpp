#include "worker/model_report.hpp"

#include <unistd.h>

#include <algorithm>

#include "executor/model_directory.hpp"
#include "worker/ones.hpp"
#include "worker/served_model.hpp"

namespace shoal::worker {

namespace fs = std::filesystem;

namespace {

/// Sizes of the model's symbols that the wanted shapes imply.
expected<std::map<std::string, std::int64_t>> symbols_of(const protocol::model_spec& spec,
                                                         const std::map<std::string, shape>& shapes) {
  std::map<std::string, std::int64_t> sizes;
  for (const auto& [name, dims] : shapes) {
    const auto input =
        std::find_if(spec.inputs.begin(), spec.inputs.end(), [&](const auto& each) { return each.name == name; });
    if (input == spec.inputs.end()) {
      std::string known;
      for (const auto& each : spec.inputs) known += (known.empty() ? "" : ", ") + each.name;
      return fail(errc::invalid_argument, "the model has no input '" + name + "'; its inputs are: " + known);
    }
    if (dims.size() != input->dims.size())
      return fail(errc::invalid_argument, "the input " + name + " has " + std::to_string(input->dims.size()) +
                                              " dimensions, " + std::to_string(dims.size()) + " were given");
    for (std::size_t d = 0; d < dims.size(); ++d) {
      const auto& dim = input->dims[d];
      if (dims[d] < dim.min || dims[d] > dim.max)
        return fail(errc::invalid_argument,
                    "dimension " + std::to_string(d) + " of the input " + name + " is " + std::to_string(dim.min) +
                        (dim.is_fixed() ? "" : " to " + std::to_string(dim.max)) + ", not " + std::to_string(dims[d]));
      if (dim.symbol.empty()) continue;
      const auto [known, added] = sizes.emplace(dim.symbol, dims[d]);
      if (!added && known->second != dims[d])
        return fail(errc::invalid_argument, "dimensions named " + dim.symbol + " must be equal, " +
                                                std::to_string(known->second) + " and " + std::to_string(dims[d]) +
                                                " were given");
    }
  }
  return sizes;
}

/// The model's description with its inputs' sizes settled: those wanted, else 2 within the range.
expected<protocol::model_spec> settled(protocol::model_spec spec, const std::map<std::string, shape>& shapes) {
  const auto symbols = symbols_of(spec, shapes);
  if (!symbols) return tl::unexpected(symbols.error());
  // Half of the memory: there must be room for what the model makes of them.
  const auto room =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 2;
  std::uint64_t all = 0;
  for (auto& input : spec.inputs) {
    const auto wanted = shapes.find(input.name);
    shape dims;
    for (std::size_t d = 0; d < input.dims.size(); ++d) {
      auto& dim = input.dims[d];
      auto size = std::clamp<std::int64_t>(2, dim.min, dim.max);
      if (const auto known = symbols->find(dim.symbol); known != symbols->end()) size = known->second;
      if (wanted != shapes.end()) size = wanted->second[d];
      dim = protocol::dimension::fixed(size);
      dims.push_back(size);
    }
    const auto bytes = byte_size(input.type, dims);
    if (!bytes) return tl::unexpected(bytes.error());
    if (*bytes > room - std::min(room, all))
      return fail(errc::too_large, "the model's inputs do not fit into this machine's memory at these shapes");
    all += *bytes;
  }
  return spec;
}

/// That a model does not take ones says nothing about requests; that it fails otherwise keeps a worker from serving it.
bool is_refused(const measured_run& measured) {
  return measured.failure && measured.failure->code != errc::invalid_argument;
}

measured_run measure(executor::model& loaded, const protocol::model_spec& spec) {
  measured_run measured;
  for (const auto& input : spec.inputs) {
    shape dims;
    for (const auto& dim : input.dims) dims.push_back(dim.min);
    measured.inputs.emplace_back(input.name, std::move(dims));
  }
  const auto inputs = ones(spec, [](const protocol::dimension& dim) { return dim.min; });
  for (int round = 0; round < 2; ++round) {
    if (const auto ran = loaded.run(inputs); !ran) {
      measured.failure = ran.error();
      return measured;
    }
    if (round == 0) measured.first_bytes = loaded.describe().pool_bytes;
  }
  measured.arena_bytes = loaded.describe().arena_bytes;
  return measured;
}

}  // namespace

expected<model_report> report_on(const fs::path& file, const std::map<std::string, shape>& shapes,
                                 const executor::pass_options& passes) {
  model_report report;
  report.graph = executor::examine(file, passes);
  const auto refuse = [&](error reason) { report.graph.refused.push_back({{}, {}, std::move(reason)}); };
  if (!report.graph.refused.empty()) return report;

  std::error_code missing;  // no folder, no model.toml
  report.has_toml = fs::exists(file.parent_path() / "model.toml", missing);
  if (auto applied = executor::apply_model_toml(file.parent_path(), report.graph.spec); !applied) {
    refuse(applied.error());
    return report;
  }
  // The verdict is that of a worker's warm-up, which knows no other shape than the smallest.
  const auto smallest = settled(report.graph.spec, {});
  if (!smallest) {
    refuse(smallest.error());
    return report;
  }
  const auto wanted = settled(report.graph.spec, shapes);
  if (!wanted) return tl::unexpected(wanted.error());

  auto loaded = executor::model::load(file, passes);
  if (!loaded) {
    refuse(loaded.error());
    return report;
  }
  report.kinds = (*loaded)->kinds();
  try {
    report.run = measure(**loaded, *wanted);
    report.figures = (*loaded)->describe();
    const auto warm_up = shapes.empty() ? *report.run : measure(**loaded, *smallest);
    if (is_refused(warm_up)) refuse(*warm_up.failure);
  } catch (const std::bad_alloc&) {
    return fail(errc::too_large, "inputs of these shapes do not fit into this machine's memory: give smaller ones");
  }
  loaded->reset();

  // A declared padding is believed only if the model's answers do not change by it, as at import.
  if (!report.graph.spec.pad_symbol.empty() && file.filename() == "model.pt2") {
    if (auto served = served_model::load({file.parent_path(), "model", 1}); !served)
      refuse(served.error());
    else
      report.padding_verified = true;
  }
  return report;
}

}  // namespace shoal::worker
