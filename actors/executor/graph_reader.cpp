#include "executor/graph_reader.hpp"

#include <array>

#include "executor/json_access.hpp"
#include "executor/public_names.hpp"
#include "executor/size_expression.hpp"

namespace shoal::executor {

namespace {

using namespace std::string_literals;

constexpr auto model_record = "models/model.json";
constexpr std::int64_t strided_layout = 7;
constexpr auto grad_mode_operator = "torch.ops.higher_order.wrap_with_set_grad_enabled";

/// What names mean in one (sub)graph: values defined so far, and what the exporter says about each.
struct scope {
  std::unordered_map<std::string, value_id> defined;
  const json* tensor_values = nullptr;
  std::string where;
};

size_expression read_size(const json& size, const std::string& where) {
  const auto [kind, content] = as_union(size, where);
  if (kind == "as_expr") return parse_size(string_at(content, "expr_str", where));
  if (kind != "as_int") refuse(errc::corrupt, where + " has a size that is neither a number nor an expression");
  size_expression fixed;
  fixed.offset = as_integer(content, where);
  return fixed;
}

tensor_meta read_meta(const json& meta, const std::string& where) {
  if (integer_at(meta, "layout", where) != strided_layout)
    refuse(errc::unsupported, where + " is not a strided (dense) tensor");
  tensor_meta result;
  result.type.code = integer_at(meta, "dtype", where);
  for (const auto& size : array_at(meta, "sizes", where)) result.sizes.push_back(read_size(size, where));
  return result;
}

std::vector<std::int64_t> read_fixed_sizes(const json& sizes, const std::string& where) {
  std::vector<std::int64_t> result;
  for (const auto& size : sizes) {
    const auto read = read_size(size, where);
    if (!read.is_fixed()) refuse(errc::corrupt, where + " has a size that is not a number");
    result.push_back(read.offset);
  }
  return result;
}

class reader {
 public:
  reader(const archive& from, std::vector<refused_part>* refused) : archive_(from), refused_(refused) {}

  graph read() {
    check_container();
    const auto model = parse_json(text(model_record), model_record);
    const auto& version = object_at(model, "schema_version", model_record);
    const auto major = integer_at(version, "major", "schema_version");
    if (major != schema_major)
      refuse(errc::incompatible, "the archive has schema version " + std::to_string(major) + "." +
                                     std::to_string(integer_at(version, "minor", "schema_version")) +
                                     ", but Shoal reads version " + std::to_string(schema_major) +
                                     ": export the model with PyTorch 2.11");
    read_ranges(object_at(model, "range_constraints", model_record));
    const auto& module = object_at(model, "graph_module", model_record);
    const auto& signature = object_at(module, "signature", "graph_module");
    const auto& exported = object_at(module, "graph", "graph_module");
    scope top;
    top.where = "the graph";
    top.tensor_values = &object_at(exported, "tensor_values", top.where);
    read_inputs(array_at(signature, "input_specs", "signature"), top);
    read_nodes(exported, top);
    read_outputs(array_at(signature, "output_specs", "signature"), top);
    // What was refused may be an input or output, so the public names no longer fit.
    if (refused_ == nullptr || refused_->empty()) name_values(module);
    return std::move(graph_);
  }

 private:
  /// Whether `work` was done. What it refuses as unsupported is noted if anybody collects; all else ends the reading.
  template <class Work>
  bool attempt(const std::string& node, const std::string& target, Work&& work) {
    try {
      work();
      return true;
    } catch (const refusal& wrong) {
      if (refused_ == nullptr) throw;
      // A value may be missing because of what was refused before: that is no news.
      if (wrong.reason.code == errc::unsupported)
        refused_->push_back({node, target, wrong.reason});
      else if (refused_->empty())
        throw;
      return false;
    }
  }

  /// Names of results of what was refused, so that their readers are not refused for it.
  void define_anyway(const json& argument, scope& in) {
    if (argument.is_object()) {
      for (const auto* key : {"name", "as_name"})
        if (const auto name = argument.find(key); name != argument.end() && name->is_string()) {
          in.defined.emplace(name->get<std::string>(), static_cast<value_id>(graph_.values.size()));
          graph_.values.push_back({name->get<std::string>(), value_kind::tensor, std::nullopt});
          return;
        }
    }
    if (argument.is_structured())
      for (const auto& inner : argument) define_anyway(inner, in);
  }

  std::string_view text(const std::string& name) const {
    auto found = archive_.text(name);
    if (!found) throw refusal{found.error()};
    return *found;
  }

  void check_container() const {
    if (text("archive_format") != "pt2" || text("archive_version") != "0")
      refuse(errc::incompatible,
             "the file is not a version 0 `.pt2` archive: write it with torch.export.save of PyTorch 2.11");
    if (text("byteorder") != "little") refuse(errc::unsupported, "the archive was written on a big-endian machine");
    if (!archive_.contains(model_record))
      refuse(errc::unsupported, "the archive holds no model called \"model\": save one exported program per file");
  }

  void read_ranges(const json& ranges) {
    for (const auto& [symbol, range] : ranges.items()) {
      const auto where = "the range of " + symbol;
      symbol_range read;
      if (const auto& min = at(range, "min_val", where); !min.is_null())
        read.min = std::max<std::int64_t>(0, as_integer(min, where));
      if (const auto& max = at(range, "max_val", where); !max.is_null()) read.max = as_integer(max, where);
      if (read.max < read.min) refuse(errc::corrupt, where + " is empty");
      graph_.symbols.emplace(symbol, read);
    }
  }

  value_id define(const std::string& name, value_kind kind, scope& in) {
    const auto id = static_cast<value_id>(graph_.values.size());
    value made{name, kind, std::nullopt};
    if (kind == value_kind::tensor)
      if (const auto meta = in.tensor_values->find(name); meta != in.tensor_values->end())
        made.meta = read_meta(*meta, "the value " + name);
    graph_.values.push_back(std::move(made));
    bind(name, id, in);
    return id;
  }

  static void bind(const std::string& name, value_id id, scope& in) {
    if (!in.defined.emplace(name, id).second) refuse(errc::corrupt, in.where + " defines " + name + " twice");
  }

  value_id find(const std::string& name, const scope& in, const std::string& where) const {
    const auto found = in.defined.find(name);
    if (found == in.defined.end())
      refuse(errc::corrupt, where + " reads " + name + ", which nothing before it defines");
    return found->second;
  }

  // Signature.

  void read_inputs(const json& specs, scope& top) {
    const auto weights = config("data/weights/model_weights_config.json");
    const auto constants = config("data/constants/model_constants_config.json");
    for (const auto& spec : specs)
      if (!attempt({}, {}, [&] { read_input(spec, weights, constants, top); })) define_anyway(spec, top);
  }

  void read_input(const json& spec, const json& weights, const json& constants, scope& top) {
    const std::string where = "the input " + std::to_string(slots_.size() + graph_.stored.size()) + " of the signature";
    const auto [kind, content] = as_union(spec, where);
    if (kind == "user_input") {
      const auto [argument_kind, value] = as_union(at(content, "arg", where), where);
      slots_.push_back(argument_kind == "as_tensor");
      if (argument_kind == "as_tensor") {
        const auto& name = string_at(value, "name", where);
        graph_.inputs.push_back({define(name, value_kind::tensor, top), name});
      } else if (argument_kind.starts_with("as_sym") || argument_kind == "as_custom_obj") {
        refuse(errc::unsupported, where + " is not a tensor: only tensors can be sent with a request");
      }
    } else if (kind == "constant_input") {
      slots_.push_back(false);
    } else if (kind == "parameter") {
      read_stored(content, "parameter_name", weights, "data/weights/", top);
    } else if (kind == "buffer") {
      const bool persistent = boolean_at(content, "persistent", where);
      read_stored(content, "buffer_name", persistent ? weights : constants,
                  persistent ? "data/weights/" : "data/constants/", top);
    } else if (kind == "tensor_constant") {
      read_stored(content, "tensor_constant_name", constants, "data/constants/", top);
    } else {
      refuse(errc::unsupported, where + " is a " + std::string(kind) + ", which Shoal does not run");
    }
  }

  json config(const std::string& record) const {
    const auto parsed = parse_json(text(record), record);
    return object_at(parsed, "config", record);
  }

  void read_stored(const json& spec, const char* name_key, const json& config, const std::string& folder, scope& top) {
    const auto& name = string_at(spec, name_key, "the signature");
    const auto where = "the weight " + name;
    const auto& payload = at(config, name.c_str(), "the list of " + folder);
    if (boolean_at(payload, "use_pickle", where))
      refuse(errc::unsupported, where + " is stored as a pickle, which could run code and is never read");
    const auto& meta = object_at(payload, "tensor_meta", where);
    const auto read = read_meta(meta, where);
    stored_tensor stored;
    stored.name = name;
    stored.record = folder + string_at(payload, "path_name", where);
    stored.type = read.type;
    stored.sizes = read_fixed_sizes(array_at(meta, "sizes", where), where);
    stored.strides = read_fixed_sizes(array_at(meta, "strides", where), where);
    const auto offset = read_size(at(meta, "storage_offset", where), where);
    if (!offset.is_fixed()) refuse(errc::corrupt, where + " has an offset that is not a number");
    stored.offset = offset.offset;
    stored.id = define(string_at(object_at(spec, "arg", where), "name", where), value_kind::tensor, top);
    const auto& seen = graph_.values[stored.id].meta;
    if (!seen || !(seen->type == read.type) || !(seen->sizes == read.sizes))
      refuse(errc::corrupt, where + " is described otherwise by the graph than by " + folder + "'s list");
    graph_.stored.push_back(std::move(stored));
  }

  void read_outputs(const json& specs, const scope& top) {
    for (const auto& spec : specs) attempt({}, {}, [&] { read_result(spec, top); });
  }

  void read_result(const json& spec, const scope& top) {
    const auto [kind, content] = as_union(spec, "an output of the signature");
    const std::string where = "the output " + std::to_string(graph_.outputs.size());
    if (kind == "buffer_mutation" || kind == "parameter_mutation")
      refuse(errc::unsupported, "the model changes its buffer " +
                                    string_at(content, kind[0] == 'b' ? "buffer_name" : "parameter_name", where) +
                                    " while it runs; return the new value as an output instead");
    if (kind == "user_input_mutation") return;  // the caller's copy is not ours to change
    if (kind != "user_output") refuse(errc::unsupported, where + " is a " + std::string(kind));
    const auto [argument_kind, value] = as_union(at(content, "arg", where), where);
    if (argument_kind != "as_tensor") refuse(errc::unsupported, where + " of the model is not a tensor");
    graph_.outputs.push_back({find(string_at(value, "name", where), top, where), {}});
  }

  void name_values(const json& module) {
    const auto& calls = array_at(module, "module_call_graph", "graph_module");
    if (calls.empty()) refuse(errc::corrupt, "the graph has no module_call_graph");
    const auto& signature = object_at(calls[0], "signature", "the module's call");
    const auto inputs = input_names(signature);
    if (inputs.size() == slots_.size())
      for (std::size_t slot = 0, next = 0; slot < slots_.size(); ++slot)
        if (slots_[slot]) graph_.inputs[next++].name = inputs[slot];
    const auto outputs = output_names(signature);
    if (outputs.size() != graph_.outputs.size())
      refuse(errc::corrupt, "the graph returns " + std::to_string(graph_.outputs.size()) +
                                " values, but out_spec names " + std::to_string(outputs.size()));
    for (std::size_t i = 0; i < outputs.size(); ++i) graph_.outputs[i].name = outputs[i];
    check_unique(graph_.inputs, "inputs");
    check_unique(graph_.outputs, "outputs");
  }

  static void check_unique(const std::vector<named_value>& values, const char* what) {
    std::unordered_map<std::string_view, int> seen;
    for (const auto& each : values)
      if (each.name.empty() || ++seen[each.name] > 1)
        refuse(errc::unsupported, "two of the model's "s + what + " are named \"" + each.name + "\"");
  }

  // Nodes.

  void read_nodes(const json& from, scope& in) {
    for (const auto& source : array_at(from, "nodes", in.where)) {
      node made;
      made.target = string_at(source, "target", "a node");
      made.name =
          source.contains("name") && source["name"].is_string() ? string_at(source, "name", "a node") : made.target;
      const auto name = made.name;
      const auto target = made.target;
      const bool read = attempt(name, target, [&] { read_node(source, std::move(made), in); });
      if (!read && source.contains("outputs")) define_anyway(source["outputs"], in);
    }
  }

  void read_node(const json& source, node made, scope& in) {
    const auto where = "the node " + made.name;
    if (made.target == grad_mode_operator) {
      inline_graph(source, in, where);
      return;
    }
    for (const auto& input : array_at(source, "inputs", where))
      made.inputs.push_back({string_at(input, "name", where), read_argument(at(input, "arg", where), in, where)});
    for (const auto& output : array_at(source, "outputs", where))
      made.outputs.push_back(read_output(output, in, where));
    graph_.nodes.push_back(std::move(made));
  }

  /// `torch.no_grad()` around a part of the model: without gradients its body is as good as written in place.
  void inline_graph(const json& source, scope& in, const std::string& where) {
    const auto& inputs = array_at(source, "inputs", where);
    if (inputs.size() < 2) refuse(errc::corrupt, where + " lacks its body");
    const auto [kind, content] = as_union(at(inputs[1], "arg", where), where);
    if (kind != "as_graph") refuse(errc::corrupt, where + " lacks its body");
    const auto& body = object_at(content, "graph", where);
    scope inner;
    inner.where = "the body of " + where;
    inner.tensor_values = &object_at(body, "tensor_values", inner.where);
    const auto& parameters = array_at(body, "inputs", inner.where);
    if (parameters.size() + 2 != inputs.size())
      refuse(errc::corrupt, inner.where + " takes other inputs than it is given");
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto given = read_item(at(inputs[i + 2], "arg", where), in, where);
      const auto* id = std::get_if<reference>(&given);
      if (id == nullptr) refuse(errc::unsupported, where + " is given a constant");
      bind(defined_name(parameters[i], inner.where).first, id->id, inner);
    }
    read_nodes(body, inner);
    const auto& results = array_at(body, "outputs", inner.where);
    std::size_t next = 0;
    const auto give = [&](const std::string& name) {
      if (next == results.size()) refuse(errc::corrupt, inner.where + " returns fewer values than it should");
      bind(name, find(defined_name(results[next++], inner.where).first, inner, inner.where), in);
    };
    for (const auto& output : array_at(source, "outputs", where)) {
      const auto [output_kind, value] = as_union(output, where);
      if (output_kind == "as_tensors")
        for (const auto& each : value) give(string_at(each, "name", where));
      else
        give(defined_name(output, where).first);
    }
  }

  /// The name and kind in an argument that stands where a value is defined or handed over.
  static std::pair<std::string, value_kind> defined_name(const json& argument, const std::string& where) {
    const auto [kind, content] = as_union(argument, where);
    if (kind == "as_tensor") return {string_at(content, "name", where), value_kind::tensor};
    if (kind == "as_sym_int") return {string_at(content, "as_name", where), value_kind::integer};
    if (kind == "as_sym_float") return {string_at(content, "as_name", where), value_kind::real};
    if (kind == "as_sym_bool") return {string_at(content, "as_name", where), value_kind::boolean};
    refuse(errc::unsupported, where + " has a result of kind " + std::string(kind) + ", which Shoal does not run");
  }

  node_output read_output(const json& output, scope& in, const std::string& where) {
    const auto [kind, content] = as_union(output, where);
    node_output result;
    if (kind == "as_tensors") {
      result.is_list = true;
      if (!content.is_array()) refuse(errc::corrupt, where + " has a damaged list of results");
      for (const auto& each : content)
        result.values.push_back(define(string_at(each, "name", where), value_kind::tensor, in));
    } else {
      const auto [name, value] = defined_name(output, where);
      result.values.push_back(define(name, value, in));
    }
    return result;
  }

  item read_item(const json& from, const scope& in, const std::string& where) const {
    const auto [kind, content] = as_union(from, where);
    if (kind == "as_tensor") return reference{find(string_at(content, "name", where), in, where)};
    if (kind == "as_name") return reference{find(as_text(content, where), in, where)};
    if (kind == "as_sym_int" || kind == "as_sym_float" || kind == "as_sym_bool") return read_item(content, in, where);
    if (kind == "as_optional_tensor") return read_item(content, in, where);
    if (kind == "as_none") return std::monostate{};
    if (kind == "as_int") return as_integer(content, where);
    if (kind == "as_float") return as_real(content, where);
    if (kind == "as_bool" && content.is_boolean()) return content.get<bool>();
    refuse(errc::unsupported, where + " has an argument of kind " + std::string(kind) + ", which Shoal does not run");
  }

  argument read_argument(const json& from, const scope& in, const std::string& where) const {
    const auto [kind, content] = as_union(from, where);
    if (kind == "as_string") return as_text(content, where);
    if (kind == "as_scalar_type") return archive_dtype{as_integer(content, where)};
    if (kind == "as_layout") return archive_layout{as_integer(content, where)};
    if (kind == "as_memory_format") return archive_memory_format{as_integer(content, where)};
    if (kind == "as_device") return archive_device{string_at(content, "type", where)};
    // A list's elements: bare values, names, or unions of their own.
    static constexpr std::array<std::pair<std::string_view, const char*>, 8> lists{{{"as_tensors", "name"},
                                                                                    {"as_ints", "as_int"},
                                                                                    {"as_floats", "as_float"},
                                                                                    {"as_bools", "as_bool"},
                                                                                    {"as_sym_ints", nullptr},
                                                                                    {"as_sym_floats", nullptr},
                                                                                    {"as_sym_bools", nullptr},
                                                                                    {"as_optional_tensors", nullptr}}};
    for (const auto& [list, element] : lists) {
      if (kind != list) continue;
      if (!content.is_array()) refuse(errc::corrupt, where + " has a damaged list");
      item_list result;
      result.items.reserve(content.size());
      for (const auto& each : content) {
        if (element == nullptr)
          result.items.push_back(read_item(each, in, where));
        else if (element == "name"s)
          result.items.push_back(reference{find(string_at(each, "name", where), in, where)});
        else
          result.items.push_back(read_item(json{{element, each}}, in, where));
      }
      return result;
    }
    return std::visit([](auto& single) -> argument { return single; },
                      static_cast<const item&>(read_item(from, in, where)));
  }

  const archive& archive_;
  std::vector<refused_part>* refused_;
  graph graph_;
  std::vector<bool> slots_;  ///< the module's arguments in order: whether each is a tensor
};

}  // namespace

expected<graph> read_graph(const archive& from, std::vector<refused_part>* refused) {
  try {
    return reader(from, refused).read();
  } catch (const refusal& wrong) {
    return tl::unexpected(explained(wrong, export_again));
  } catch (const json::exception& damage) {
    return fail(errc::corrupt, "the archive's JSON is not what PyTorch writes: "s + damage.what());
  }
}

}  // namespace shoal::executor
