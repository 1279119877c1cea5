#include "gateway/http_door/embeddings.hpp"

#include <algorithm>
#include <cstring>

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

#include "gateway/admission.hpp"
#include "gateway/http_door/json_reader.hpp"
#include "gateway/http_door/json_tensors.hpp"
#include "gateway/open_inference.hpp"
#include "gateway/text/text_model.hpp"
#include "gateway/text/text_request.hpp"

namespace shoal::gateway::http_door {

using kind = json_reader::kind;
using nlohmann::ordered_json;

namespace {

std::string dumped(const ordered_json& document) {
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// OpenAI's clients name no deadline and wait for ten minutes; a list may be long.
constexpr std::chrono::seconds time_for_embeddings{60};

class embeddings_parser {
 public:
  explicit embeddings_parser(std::string_view body) : json_(body) {}

  expected<void> run() {
    if (json_.next() != kind::object) json_.fail("the body must be a JSON object with `model` and `input`");
    json_.object([&](std::string_view name) {
      if (name == "input")
        read_input();
      else if (name == "model")
        model = text("model");
      else if (name == "encoding_format")
        read_format();
      else if (name == "dimensions")
        read_dimensions();
      else if (name == "truncate")
        truncates = json_.next() == kind::null ? (json_.skip(), false) : flag("truncate");
      else
        json_.skip();
    });
    json_.end();
    if (!json_.failed() && model.empty()) json_.fail("`model` is missing: name one of GET /v1/models");
    if (!json_.failed() && !has_input) json_.fail("`input` is missing: a string, or a list of strings or token ids");
    if (json_.failed()) return tl::unexpected(json_.failure());
    return {};
  }

  std::string model;
  std::vector<std::string> elements;
  bool are_ids = false;
  bool has_input = false;
  bool as_base64 = false;
  bool truncates = false;
  std::optional<std::int64_t> dimensions;

 private:
  std::string text(const std::string& where) {
    if (json_.next() != kind::string) json_.fail("`" + where + "` must be a string");
    return json_.string();
  }
  bool flag(const std::string& where) {
    if (json_.next() != kind::boolean) json_.fail("`" + where + "` must be true or false");
    return json_.boolean();
  }

  void read_format() {
    const auto format = json_.next() == kind::null ? (json_.skip(), "float") : text("encoding_format");
    if (format != "float" && format != "base64") json_.fail("`encoding_format` must be float or base64");
    as_base64 = format == "base64";
  }

  void read_dimensions() {
    if (json_.next() == kind::null) return void(json_.skip());
    dimensions = json_.integer();
    if (!dimensions || *dimensions < 1) json_.fail("`dimensions` must be a whole number above 0");
  }

  void read_input() {
    if (has_input) return json_.fail("`input` is there twice");
    has_input = true;
    if (json_.next() == kind::string) return elements.push_back(json_.string());
    if (json_.next() != kind::array) return json_.fail("`input` must be a string, or a list of strings or token ids");
    std::string single;  // a list of numbers is one text
    bool is_single = false;
    json_.array([&] {
      const auto what = json_.next();
      const bool is_first = elements.empty() && !is_single;
      if (elements.size() == most_texts)
        return json_.fail("`input` has more than " + std::to_string(most_texts) + " texts: send several requests");
      const auto here = what == kind::string || what == kind::array || what == kind::number;
      const bool goes_on = is_first || (what == kind::string && !are_ids) ||
                           (what == kind::array && are_ids && !is_single) || (what == kind::number && is_single);
      if (!here || !goes_on) return json_.fail("`input` must be all strings, all token ids, or all lists of token ids");
      if (what == kind::string) return elements.push_back(json_.string());
      are_ids = true;
      if (what == kind::number) {
        is_single = true;
        return read_id(single);
      }
      elements.emplace_back();
      json_.array([&] { read_id(elements.back()); });
    });
    if (is_single) elements.push_back(std::move(single));
    if (!json_.failed() && elements.empty()) json_.fail("`input` is an empty list: give at least one text");
  }

  void read_id(std::string& to) {
    const auto id = json_.next() == kind::number ? json_.integer() : std::nullopt;
    if (!id) return json_.fail("`input` has a token id that is no whole number");
    char bytes[sizeof *id];
    std::memcpy(bytes, &*id, sizeof bytes);
    to.append(bytes, sizeof bytes);
  }

  json_reader json_;
};

/// "name" or "name/version".
expected<model_reference> read_model(const std::string& text) {
  model_reference model;
  const auto slash = text.find('/');
  model.name = text.substr(0, slash);
  if (slash == std::string::npos) return model;
  const auto version = read_version(std::string_view(text).substr(slash + 1));
  if (!version) return tl::unexpected(version.error());
  model.version = *version;
  return model;
}

std::string in_base64(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // it ends what it writes with NUL
  const auto written =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(written));
  return text;
}

ordered_json model_json(const protocol::model_spec& spec, std::chrono::system_clock::time_point created) {
  return {{"id", spec.name},
          {"object", "model"},
          {"created", std::chrono::duration_cast<std::chrono::seconds>(created.time_since_epoch()).count()},
          {"owned_by", "shoal"}};
}

}  // namespace

expected<embeddings_call> read_embeddings(const http::request& asked, const model_list& models,
                                          std::size_t most_json_bytes) {
  if (asked.body.size() > most_json_bytes)
    return fail(errc::too_large, "the body is longer than the limit of " + std::to_string(most_json_bytes) +
                                     " bytes: send fewer texts at a time");
  embeddings_parser read({reinterpret_cast<const char*>(asked.body.data()), asked.body.size()});
  if (auto done = read.run(); !done) return tl::unexpected(done.error());
  const auto named = read_model(read.model);
  if (!named) return tl::unexpected(named.error());
  const auto spec = find_model(models, named->name, named->version);
  if (!spec) return tl::unexpected(spec.error());
  const auto takes = text_model_of(**spec, nullptr);
  if (!takes) return tl::unexpected(takes.error());
  const auto output = takes->embedding();
  if (!output)
    return fail(errc::unsupported, "model '" + named->name +
                                       "' gives no embeddings: none of its outputs is FP32 "
                                       "[rows, width]");
  const auto& described = (*spec)->outputs[*output];
  if (read.dimensions && *read.dimensions != described.dims[1].min)
    return fail(errc::invalid_argument, "`dimensions` must be " + std::to_string(described.dims[1].min) +
                                            ", as the embeddings of '" + named->name + "' have, or left out");
  embeddings_call call;
  call.model = std::move(read.model);
  call.as_base64 = read.as_base64;
  auto& request = call.request;
  request.model = named->name;
  request.version = named->version;
  request.trace = trace_of(asked.field("traceparent"));
  request.time_left = time_for_embeddings;
  request.outputs = {described.name, std::string(token_counts_output)};
  request.inputs.push_back(
      bytes_tensor(read.are_ids ? token_ids_input : text_input, {read.elements.begin(), read.elements.end()}));
  if (read.truncates) {
    const std::byte yes{1};
    request.inputs.push_back({std::string(truncate_input), dtype::boolean, {1}, buffer::copy({&yes, 1})});
  }
  return call;
}

http::response to_embeddings(const protocol::outcome& outcome, const std::string& model, bool as_base64) {
  if (!outcome.result) return openai_error(outcome.result.error());
  const auto& outputs = *outcome.result;
  const auto rows = outputs.empty() || outputs[0].dims.size() != 2 ? 0 : static_cast<std::size_t>(outputs[0].dims[0]);
  if (rows == 0 || outputs.size() != 2 || outputs[1].data.size() != rows * sizeof(std::int64_t))
    return openai_error({errc::internal, "the answer is not of embeddings; this is a defect of the server"});
  const auto& embeddings = outputs[0];
  const auto& counts = outputs[1];
  const auto width = embeddings.data.size() / rows;
  std::int64_t used = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    std::int64_t count = 0;
    std::memcpy(&count, counts.data.data() + i * sizeof count, sizeof count);
    used += count;
  }
  std::string json = "{\"object\":\"list\",\"data\":[";
  json.reserve(rows * (width * (as_base64 ? 2 : 4) + 64) + 256);
  for (std::size_t i = 0; i < rows; ++i) {
    json += i == 0 ? "{\"object\":\"embedding\",\"index\":" : ",{\"object\":\"embedding\",\"index\":";
    json += std::to_string(i) + ",\"embedding\":";
    const auto row = embeddings.data.bytes().subspan(i * width, width);
    if (as_base64)
      json.append("\"").append(in_base64(row)).append("\"");
    else
      append_elements(json, embeddings.type, row);
    json += '}';
  }
  json += "],\"model\":" + dumped(model) + ",\"usage\":{\"prompt_tokens\":" + std::to_string(used) +
          ",\"total_tokens\":" + std::to_string(used) + "}}";
  return http::json_response(std::move(json));
}

http::response openai_error(const error& reason) {
  auto answer = http::error_response(reason);
  if (reason.code == errc::unsupported) answer.status = 400;  // of that model, not of this server
  const bool is_clients = answer.status < 500 && answer.status != 429;
  const char* type = is_clients ? "invalid_request_error" : answer.status == 429 ? "rate_limit_error" : "server_error";
  const ordered_json code = reason.code == errc::not_found ? ordered_json("model_not_found")
                                                           : ordered_json(std::string(name_of(reason.code)));
  answer.body = {http::to_buffer(
      dumped({{"error", {{"message", reason.message}, {"type", type}, {"param", nullptr}, {"code", code}}}}))};
  return answer;
}

std::string list_models(const protocol::catalogue& models, std::chrono::system_clock::time_point created) {
  ordered_json all{{"object", "list"}, {"data", ordered_json::array()}};
  std::string_view last;  // versions of one model stand beside each other
  for (const auto& spec : models.models) {
    if (spec.state != protocol::model_state::ready || spec.name == last) continue;
    last = spec.name;
    all["data"].push_back(model_json(spec, created));
  }
  return dumped(all);
}

expected<std::string> describe_for_openai(const model_list& models, std::string_view name,
                                          std::chrono::system_clock::time_point created) {
  const auto spec = find_model(models, name, 0);
  if (!spec) return tl::unexpected(spec.error());
  return dumped(model_json(**spec, created));
}

}  // namespace shoal::gateway::http_door
