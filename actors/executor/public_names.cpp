#include "executor/public_names.hpp"

namespace shoal::executor {

namespace {

json tree(const json& signature, const char* key) {
  const auto parsed = parse_json(string_at(signature, key, "the module's call"), key);
  // [version of the tree format, root]
  if (!parsed.is_array() || parsed.size() != 2 || parsed[0] != 1)
    refuse(errc::incompatible,
           std::string("the archive's ") + key + " is of another version; export with PyTorch 2.11");
  return parsed[1];
}

bool is_leaf(const json& spec) { return at(spec, "type", "a tree specification").is_null(); }

const json& children(const json& spec) { return array_at(spec, "children_spec", "a tree specification"); }

/// The keys of a dictionary-like container: its context is a JSON list, one entry per child. Else empty.
std::vector<std::string> keys(const json& spec) {
  const auto& context = at(spec, "context", "a tree specification");
  if (!context.is_string() || !context.get_ref<const std::string&>().starts_with('[')) return {};
  const auto parsed = parse_json(context.get_ref<const std::string&>(), "a tree specification's context");
  if (!parsed.is_array() || parsed.size() != children(spec).size()) return {};
  std::vector<std::string> result;
  for (const auto& key : parsed) result.push_back(key.is_string() ? as_text(key, "a key of a tree") : key.dump());
  return result;
}

void name_leaves(const json& spec, const std::string& name, std::vector<std::string>& names) {
  if (is_leaf(spec)) {
    names.push_back(name);
    return;
  }
  const auto named = keys(spec);
  for (std::size_t i = 0; i < children(spec).size(); ++i)
    name_leaves(children(spec)[i], name + "." + (named.empty() ? std::to_string(i) : named[i]), names);
}

}  // namespace

std::vector<std::string> input_names(const json& signature) {
  const auto arguments = signature.find("forward_arg_names");
  if (arguments == signature.end() || !arguments->is_array()) return {};
  const auto root = tree(signature, "in_spec");
  if (children(root).size() != 2) return {};
  const auto& positional = children(root)[0];
  const auto& keyword = children(root)[1];
  const auto keyword_names = keys(keyword);
  if (children(positional).size() > arguments->size() || keyword_names.size() != children(keyword).size()) return {};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < children(positional).size(); ++i) {
    if (!(*arguments)[i].is_string()) return {};
    name_leaves(children(positional)[i], as_text((*arguments)[i], "an argument's name"), names);
  }
  for (std::size_t i = 0; i < keyword_names.size(); ++i) name_leaves(children(keyword)[i], keyword_names[i], names);
  return names;
}

std::vector<std::string> output_names(const json& signature) {
  const auto root = tree(signature, "out_spec");
  std::vector<std::string> names;
  name_leaves(root, "", names);
  const auto returned_by_key = !is_leaf(root) && !keys(root).empty();
  for (std::size_t i = 0; i < names.size(); ++i)
    names[i] = returned_by_key ? names[i].substr(1) : "output_" + std::to_string(i);  // substr: the leading dot
  return names;
}

}  // namespace shoal::executor
