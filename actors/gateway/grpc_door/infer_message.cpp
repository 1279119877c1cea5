#include "gateway/grpc_door/infer_message.hpp"

#include <algorithm>

#include <google/protobuf/io/coded_stream.h>

#include "gateway/grpc_door/contents.hpp"
#include "gateway/grpc_door/message_bytes.hpp"
#include "gateway/grpc_door/wire_parts.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::grpc_door {

namespace {

using google::protobuf::io::CodedOutputStream;
using inference::ModelInferRequest;

tl::unexpected<error> invalid(const std::string& where, std::string_view what) {
  return fail(errc::invalid_argument, where + ": " + std::string(what));
}

/// A list entry, for errors: "inputs[2]".
std::string entry(const char* list, int index) { return std::string(list) + '[' + std::to_string(index) + ']'; }

template <class Parameters>
expected<void> check_parameters(const Parameters& parameters, const std::string& where) {
  for (const auto& [name, value] : parameters)
    if (auto allowed = check_parameter(name); !allowed) return invalid(where, allowed.error().message);
  return {};
}

expected<protocol::microseconds> timeout_of(const ModelInferRequest& message) {
  const auto found = message.parameters().find("timeout");
  if (found == message.parameters().end()) return protocol::microseconds(0);
  const auto& value = found->second;
  std::int64_t microseconds = -1;
  if (value.has_int64_param()) microseconds = value.int64_param();
  if (value.has_uint64_param() && value.uint64_param() <= static_cast<std::uint64_t>(INT64_MAX))
    microseconds = static_cast<std::int64_t>(value.uint64_param());
  auto timeout = read_timeout(microseconds);
  if (!timeout) return invalid("parameters", timeout.error().message);
  return timeout;
}

expected<protocol::priority> priority_of(const ModelInferRequest& message) {
  const auto found = message.parameters().find("priority");
  if (found == message.parameters().end()) return protocol::priority::standard;
  const auto& value = found->second;
  expected<protocol::priority> priority =
      fail(errc::invalid_argument, "priority: must be a whole number, or a class's name");
  if (value.has_int64_param()) priority = read_priority(value.int64_param());
  if (value.has_uint64_param())
    priority = read_priority(static_cast<std::int64_t>(std::min<std::uint64_t>(value.uint64_param(), INT64_MAX)));
  if (value.has_string_param()) priority = read_priority(value.string_param());
  if (!priority) return invalid("parameters", priority.error().message);
  return priority;
}

expected<shape> read_shape(const ModelInferRequest::InferInputTensor& input, const std::string& where) {
  for (const auto size : input.shape())
    if (size < 0) return invalid(where + ".shape", "sizes must not be negative");
  return shape(input.shape().begin(), input.shape().end());
}

/// `raw`: its bytes if they travel that way.
expected<tensor> read_input(const ModelInferRequest::InferInputTensor& input, const buffer* raw,
                            const std::string& where) {
  if (input.name().empty()) return invalid(where + ".name", "is missing");
  if (auto allowed = check_parameters(input.parameters(), where + ".parameters"); !allowed)
    return tl::unexpected(allowed.error());
  const auto type = read_type(input.datatype());
  if (!type) return invalid(where + ".datatype", type.error().message);
  auto dims = read_shape(input, where);
  if (!dims) return tl::unexpected(dims.error());
  const auto size = byte_size(*type, *dims);
  if (!size) return invalid(where + ".shape", size.error().message);
  if (raw == nullptr) {
    auto data = elements_of(input.contents(), *type, *dims, where);
    if (!data) return tl::unexpected(data.error());
    return tensor{input.name(), *type, std::move(*dims), std::move(*data)};
  }
  if (input.has_contents())
    return invalid(where, "has contents, while the request has raw_input_contents: use one of them for all inputs");
  if (raw->size() != *size)
    return invalid(where, "its raw_input_contents has " + std::to_string(raw->size()) + " bytes, but " +
                              std::string(name_of(*type)) + " of shape " + to_string(*dims) + " has " +
                              std::to_string(*size));
  return tensor{input.name(), *type, std::move(*dims), *raw};
}

expected<ModelInferRequest> parse(const wire_parts& parts) {
  std::size_t size = 0;
  for (const auto& run : parts.fields) size += run.size();
  if (size > most_field_bytes)
    return fail(errc::too_large, "the request has " + std::to_string(size) +
                                     " bytes apart from raw_input_contents, and the limit is " +
                                     std::to_string(most_field_bytes) + ": send large tensors as raw_input_contents");
  ModelInferRequest message;
  for (const auto& run : parts.fields) {
    google::protobuf::io::CodedInputStream text(reinterpret_cast<const std::uint8_t*>(run.data()),
                                                static_cast<int>(run.size()));
    if (!message.MergeFromCodedStream(&text))
      return fail(errc::invalid_argument,
                  "the request is no ModelInferRequest: it cannot be parsed (names must be UTF-8)");
  }
  return message;
}

/// The tag of a delimited field, and its length, as they precede its content.
void append_prefix(std::string& to, std::uint32_t number, std::size_t length) {
  std::array<std::uint8_t, 20> bytes;
  auto* end = CodedOutputStream::WriteVarint32ToArray(number << 3 | 2, bytes.data());
  end = CodedOutputStream::WriteVarint64ToArray(length, end);
  to.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(end - bytes.data()));
}

/// A slice that keeps the buffer alive for as long as gRPC needs it.
grpc::Slice share(const buffer& bytes) {
  auto* kept = new buffer(bytes);
  return {const_cast<std::byte*>(kept->data()), kept->size(), [](void* owner) { delete static_cast<buffer*>(owner); },
          kept};
}

/// Everything of the answer but the tensors' bytes.
inference::ModelInferResponse describe(const protocol::outcome& outcome, const std::string& id) {
  inference::ModelInferResponse message;
  message.set_model_name(outcome.model);
  message.set_model_version(std::to_string(outcome.version));
  if (!outcome.plan.empty()) (*message.mutable_parameters())["plan"].set_string_param(outcome.plan);
  message.set_id(id);
  for (const auto& each : *outcome.result) {
    auto& output = *message.add_outputs();
    output.set_name(each.name);
    output.set_datatype(std::string(name_of(each.type)));
    output.mutable_shape()->Add(each.dims.begin(), each.dims.end());
  }
  return message;
}

/// `head` is the answer but the tensors' bytes, which follow as fields of their own; `embedded`: all of it is a field
/// of a ModelStreamInferResponse.
grpc::ByteBuffer assemble(const std::string& head, const std::vector<tensor>& outputs, bool embedded) {
  std::vector<std::string> prefixes;
  std::size_t size = head.size();
  for (const auto& output : outputs) {
    append_prefix(prefixes.emplace_back(), inference::ModelInferResponse::kRawOutputContentsFieldNumber,
                  output.data.size());
    size += prefixes.back().size() + output.data.size();
  }
  std::string begin;
  if (embedded) append_prefix(begin, inference::ModelStreamInferResponse::kInferResponseFieldNumber, size);
  begin += head;
  std::vector<grpc::Slice> slices;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    begin += prefixes[i];
    slices.emplace_back(begin);
    begin.clear();
    if (!outputs[i].data.empty()) slices.push_back(share(outputs[i].data));
  }
  if (!begin.empty()) slices.emplace_back(begin);
  return {slices.data(), slices.size()};
}

}  // namespace

expected<protocol::infer> read_infer(const buffer& bytes, std::string& id) {
  const auto parts = take_apart(bytes);
  if (!parts) return tl::unexpected(parts.error());
  const auto message = parse(*parts);
  if (!message) return tl::unexpected(message.error());
  id = message->id();
  protocol::infer request;
  request.model = message->model_name();
  if (!message->model_version().empty()) {
    const auto version = read_version(message->model_version());
    if (!version) return tl::unexpected(version.error());
    request.version = *version;
  }
  if (auto allowed = check_parameters(message->parameters(), "parameters"); !allowed)
    return tl::unexpected(allowed.error());
  const auto timeout = timeout_of(*message);
  if (!timeout) return tl::unexpected(timeout.error());
  request.time_left = *timeout;
  const auto priority = priority_of(*message);
  if (!priority) return tl::unexpected(priority.error());
  request.priority = *priority;

  if (message->inputs().empty()) return invalid("inputs", "there must be at least one");
  const auto& raw = parts->raw_inputs;
  const auto count = static_cast<std::size_t>(message->inputs_size());
  if (!raw.empty() && raw.size() != count)
    return invalid("raw_input_contents", "has " + std::to_string(raw.size()) + " entries for " + std::to_string(count) +
                                             " inputs; there must be one for each, or none at all");
  for (int i = 0; i < message->inputs_size(); ++i) {
    auto input =
        read_input(message->inputs(i), raw.empty() ? nullptr : &raw[static_cast<std::size_t>(i)], entry("inputs", i));
    if (!input) return tl::unexpected(input.error());
    request.inputs.push_back(std::move(*input));
  }
  for (int i = 0; i < message->outputs_size(); ++i) {
    const auto& output = message->outputs(i);
    const auto where = entry("outputs", i);
    if (output.name().empty()) return invalid(where + ".name", "is missing");
    if (auto allowed = check_parameters(output.parameters(), where + ".parameters"); !allowed)
      return tl::unexpected(allowed.error());
    request.outputs.push_back(output.name());
  }
  return request;
}

grpc::ByteBuffer to_response(const protocol::outcome& outcome, const std::string& id) {
  return assemble(describe(outcome, id).SerializeAsString(), *outcome.result, false);
}

grpc::ByteBuffer to_stream_response(const protocol::outcome& outcome, const std::string& id) {
  auto message = describe(outcome, id);
  // A model answers each request once: whoever listens for the last answer of a request has it.
  (*message.mutable_parameters())["triton_final_response"].set_bool_param(true);
  return assemble(message.SerializeAsString(), *outcome.result, true);
}

grpc::ByteBuffer to_stream_error(const error& failure, const std::string& id) {
  inference::ModelStreamInferResponse message;
  message.set_error_message(failure.message.empty() ? std::string(name_of(failure.code)) : failure.message);
  message.mutable_infer_response()->set_id(id);
  return to_bytes(message);
}

}  // namespace shoal::gateway::grpc_door
