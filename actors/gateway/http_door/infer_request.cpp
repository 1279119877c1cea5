#include "gateway/http_door/infer_request.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "gateway/admission.hpp"
#include "gateway/http_door/binary_tensors.hpp"
#include "gateway/http_door/json_reader.hpp"
#include "gateway/http_door/json_tensors.hpp"

namespace shoal::gateway::http_door {

namespace {

using kind = json_reader::kind;

/// One member of `inputs`, before its dtype, shape and data (which come in any order) are brought together.
struct input_draft {
  std::string name;
  std::optional<dtype> type;
  std::optional<shape> dims;
  std::string_view data;  // the text of the JSON array
  std::optional<std::int64_t> binary_size;
};

class infer_parser {
 public:
  explicit infer_parser(const body_parts& parts) : json_(parts.json), binary_(parts.binary) {}

  expected<infer_call> run() {
    if (json_.next() != kind::object) json_.fail("the request must be a JSON object");
    json_.object([this](std::string_view name) {
      if (name == "id")
        call_.format.id = text("id");
      else if (name == "parameters")
        read_parameters();
      else if (name == "inputs")
        read_list("inputs", drafts_.size(), [this](const std::string& at) { read_input(at); });
      else if (name == "outputs")
        read_list("outputs", call_.request.outputs.size(), [this](const std::string& at) { read_output(at); });
      else
        json_.skip();
    });
    json_.end();
    if (json_.failed()) return tl::unexpected(json_.failure());
    if (drafts_.empty()) return fail(errc::invalid_argument, "inputs: there must be at least one");
    for (std::size_t i = 0; i < drafts_.size(); ++i)
      if (auto added = add_input(drafts_[i], "inputs[" + std::to_string(i) + "]"); !added)
        return tl::unexpected(added.error());
    if (auto all = binary_.end(); !all) return tl::unexpected(all.error());
    return std::move(call_);
  }

 private:
  std::string text(const std::string& where) {
    if (json_.next() != kind::string) json_.fail(where + ": must be a string");
    return json_.string();
  }

  bool flag(const std::string& where) {
    if (json_.next() != kind::boolean) json_.fail(where + ": must be true or false");
    return json_.boolean();
  }

  template <class ReadOne>
  void read_list(const std::string& where, std::size_t present, ReadOne&& read_one) {
    if (json_.next() != kind::array) return json_.fail(where + ": must be an array");
    if (present != 0) return json_.fail(where + ": is given twice");
    std::size_t index = 0;
    json_.array([&] {
      if (index == most_tensors) json_.fail(where + ": are more than " + std::to_string(most_tensors));
      auto at = where + '[' + std::to_string(index++) + ']';
      if (json_.next() != kind::object) json_.fail(at + ": must be an object");
      read_one(at);
    });
  }

  /// `parameters` of any object; those that are not understood are ignored, as the protocol asks.
  template <class OnParameter>
  void read_parameters_of(const std::string& where, OnParameter&& on_parameter) {
    if (json_.next() != kind::object) return json_.fail(where + ": must be an object");
    json_.object([&](std::string_view name) {
      if (name.starts_with("shared_memory")) json_.fail(where + ": shared memory is not offered; send the data itself");
      if (!on_parameter(name)) json_.skip();
    });
  }

  void read_parameters() {
    read_parameters_of("parameters", [this](std::string_view name) {
      if (name == "binary_data_output") {
        call_.format.binary_by_default = flag("parameters.binary_data_output");
      } else if (name == "timeout") {
        const auto timeout = read_timeout(json_.integer().value_or(-1));  // -1: no whole number, and refused as such
        if (timeout)
          call_.request.time_left = *timeout;
        else
          json_.fail("parameters." + timeout.error().message);
      } else if (name == "priority") {
        read_priority();
      } else {
        return false;
      }
      return true;
    });
  }

  void read_priority() {
    if (json_.next() == kind::string) return set_priority(gateway::read_priority(json_.string()));
    const auto number = json_.integer();
    if (!number) return json_.fail("parameters.priority: must be a whole number, or a class's name");
    set_priority(gateway::read_priority(*number));
  }

  void set_priority(expected<protocol::priority> priority) {
    if (priority)
      call_.request.priority = *priority;
    else
      json_.fail("parameters." + priority.error().message);
  }

  void read_input(const std::string& at) {
    input_draft draft;
    json_.object([&](std::string_view name) {
      if (name == "name")
        draft.name = text(at + ".name");
      else if (name == "datatype")
        draft.type = read_type(at + ".datatype");
      else if (name == "shape")
        draft.dims = read_shape(at + ".shape");
      else if (name == "data")
        draft.data = json_.skip();
      else if (name == "parameters")
        read_input_parameters(draft, at + ".parameters");
      else
        json_.skip();
    });
    drafts_.push_back(std::move(draft));
  }

  void read_input_parameters(input_draft& draft, const std::string& where) {
    read_parameters_of(where, [&](std::string_view name) {
      if (name != "binary_data_size") return false;
      draft.binary_size = json_.integer();
      if (!draft.binary_size) json_.fail(where + ".binary_data_size: must be a whole number of bytes");
      return true;
    });
  }

  std::optional<dtype> read_type(const std::string& where) {
    auto type = gateway::read_type(text(where));
    if (!type) {
      json_.fail(where + ": " + type.error().message);
      return std::nullopt;
    }
    return *type;
  }

  shape read_shape(const std::string& where) {
    shape dims;
    if (json_.next() != kind::array) json_.fail(where + ": must be an array of sizes");
    json_.array([&] {
      auto size = json_.integer();
      if (!size || *size < 0)
        json_.fail(where + ": sizes must be whole numbers, not negative, and below 2^63");
      else if (dims.size() == max_rank)
        json_.fail(where + ": has more than " + std::to_string(max_rank) + " dimensions");
      else
        dims.push_back(*size);
    });
    return dims;
  }

  void read_output(const std::string& at) {
    std::string output;
    std::optional<bool> binary;
    json_.object([&](std::string_view name) {
      if (name == "name")
        output = text(at + ".name");
      else if (name == "parameters")
        read_parameters_of(at + ".parameters", [&](std::string_view parameter) {
          if (parameter == "classification")
            json_.fail(at + ".parameters.classification: is not offered; ask for the output itself");
          if (parameter != "binary_data") return false;
          binary = flag(at + ".parameters.binary_data");
          return true;
        });
      else
        json_.skip();
    });
    if (output.empty()) json_.fail(at + ".name: is missing");
    if (binary) call_.format.binary.emplace_back(output, *binary);
    call_.request.outputs.push_back(std::move(output));
  }

  expected<void> add_input(input_draft& draft, const std::string& at) {
    auto invalid = [&](std::string_view what) { return fail(errc::invalid_argument, at + std::string(what)); };
    if (draft.name.empty()) return invalid(".name: is missing");
    if (!draft.type) return invalid(".datatype: is missing");
    if (!draft.dims) return invalid(".shape: is missing");
    if (draft.binary_size && !draft.data.empty()) return invalid(": has both data and parameters.binary_data_size");
    if (!draft.binary_size && draft.data.empty()) return invalid(": has neither data nor parameters.binary_data_size");
    if (auto count = byte_size(*draft.type, *draft.dims); !count) return invalid(".shape: " + count.error().message);
    auto data = draft.binary_size
                    ? binary_.next(*draft.binary_size, *draft.type, *draft.dims, at + ".parameters.binary_data_size")
                    : elements_of(draft.data, *draft.type, *draft.dims, at + ".data");
    if (!data) return tl::unexpected(data.error());
    call_.request.inputs.push_back({std::move(draft.name), *draft.type, std::move(*draft.dims), std::move(*data)});
    return {};
  }

  json_reader json_;
  binary_inputs binary_;
  std::vector<input_draft> drafts_;
  infer_call call_;
};

expected<infer_call> read_raw(const body_parts& parts, const model_reference& model, const model_list& models) {
  auto spec = find_model(models, model.name, model.version);
  if (!spec) return tl::unexpected(spec.error());
  auto input = raw_input(**spec, parts.binary);
  if (!input) return tl::unexpected(input.error());
  infer_call call;
  call.request.inputs.push_back(std::move(*input));
  call.format.binary_by_default = true;
  return call;
}

}  // namespace

bool answer_format::is_binary(std::string_view output) const {
  for (const auto& [name, as_binary] : binary)
    if (name == output) return as_binary;
  return binary_by_default;
}

expected<infer_call> read_infer(const http::request& asked, const model_reference& model, const model_list& models,
                                std::size_t most_json_bytes) {
  auto parts = split_body(asked);
  if (!parts) return tl::unexpected(parts.error());
  if (parts->json.size() > most_json_bytes)
    return fail(errc::too_large, "the request's JSON is longer than the limit of " + std::to_string(most_json_bytes) +
                                     " bytes: send large tensors as binary data");
  auto call = parts->raw ? read_raw(*parts, model, models) : infer_parser(*parts).run();
  if (!call) return call;
  call->request.model = model.name;
  call->request.version = model.version;
  call->request.trace = trace_of(asked.field("traceparent"));
  return call;
}

}  // namespace shoal::gateway::http_door
