#include "gateway/http_door/routes.hpp"

#include <array>
#include <span>

#include "gateway/admission.hpp"
#include "gateway/http_door/binary_tensors.hpp"
#include "gateway/http_door/descriptions.hpp"
#include "gateway/http_door/embeddings.hpp"
#include "gateway/http_door/infer_request.hpp"
#include "gateway/http_door/infer_response.hpp"
#include "http/observability.hpp"

namespace shoal::gateway::http_door {

namespace {

using http::request;
using http::responder;

/// Above this JSON is read and written aside from the one thread that serves every connection.
constexpr std::size_t long_json = std::size_t{256} << 10;

struct context {
  front& behind;
  const options& wanted;
  const request& asked;
  const responder& respond;
  const model_reference& model;
};

/// Of requests that have little to say.
expected<std::string_view> short_body(const request& asked) {
  if (asked.body.size() > long_json)
    return fail(errc::too_large,
                "the body is longer than the " + std::to_string(long_json) + " bytes that are read here");
  return std::string_view(reinterpret_cast<const char*>(asked.body.data()), asked.body.size());
}

void answer_server(const context& c) { c.respond(http::json_response(describe_server())); }
void answer_live(const context& c) { c.respond(http::health(true)); }
void answer_ready(const context& c) { c.respond(http::health(c.behind.ready())); }

void answer_metrics(const context& c) {
  c.respond(c.wanted.registry ? http::metrics_page(*c.wanted.registry)
                              : http::error_response(404, "no metrics are kept"));
}

void answer_index(const context& c) {
  const auto body = short_body(c.asked);
  if (!body) return c.respond(http::error_response(body.error()));
  auto index = describe_repository(*c.behind.models(), *body);
  c.respond(index ? http::json_response(std::move(*index)) : http::error_response(index.error()));
}

void answer_model(const context& c) {
  auto models = c.behind.models();
  auto spec = find_model(*models, c.model.name, c.model.version);
  c.respond(spec ? http::json_response(describe_model(**spec, *models)) : http::error_response(spec.error()));
}

void answer_model_ready(const context& c) {
  auto models = c.behind.models();
  auto spec = find_model(*models, c.model.name, c.model.version);
  if (!spec) return c.respond(http::error_response(spec.error()));
  c.respond(http::health((*spec)->state == protocol::model_state::ready));
}

/// JSON is about four times as long as the numbers that it spells.
bool is_long_json(const protocol::outcome& outcome, const answer_format& format) {
  std::size_t bytes = 0;
  if (outcome.result)
    for (const auto& output : *outcome.result)
      if (!format.is_binary(output.name)) bytes += output.data.size();
  return bytes > long_json / 4;
}

std::size_t json_size(const request& asked) {
  const auto parts = split_body(asked);
  return parts ? parts->json.size() : 0;  // what is wrong with it is told when it is read
}

void submit(front& behind, const responder& respond, expected<infer_call> call) {
  if (!call) return respond(http::error_response(call.error()));
  auto ticket =
      behind.submit(std::move(call->request), [respond, format = std::move(call->format)](protocol::outcome outcome) {
        const bool is_long = is_long_json(outcome, format);
        auto make = [outcome = std::move(outcome), format] { return to_response(outcome, format); };
        is_long ? respond.build_aside(std::move(make)) : respond.build(std::move(make));
      });
  respond.on_disconnect([&behind, ticket] { behind.cancel(ticket); });
}

void answer_infer(const context& c) {
  auto models = c.behind.models();
  if (json_size(c.asked) <= long_json)
    return submit(c.behind, c.respond, read_infer(c.asked, c.model, *models, c.wanted.json_bytes));
  struct reading {
    request asked;
    model_reference model;
    expected<infer_call> call;
  };
  const auto each =
      std::make_shared<reading>(reading{c.asked, c.model, fail(errc::internal, "the request was not read")});
  c.respond.aside(
      [each, models = std::move(models), most = c.wanted.json_bytes] {
        each->call = read_infer(each->asked, each->model, *models, most);
        each->asked = {};
      },
      [each, &behind = c.behind, respond = c.respond] { submit(behind, respond, std::move(each->call)); });
}

/// Texts read, and answered as OpenAI's clients expect it.
void submit_embeddings(front& behind, const responder& respond, expected<embeddings_call> call) {
  if (!call) return respond(openai_error(call.error()));
  auto ticket = behind.submit(std::move(call->request), [respond, model = std::move(call->model),
                                                         as_base64 = call->as_base64](protocol::outcome outcome) {
    const bool is_long = is_long_json(outcome, {});
    auto make = [outcome = std::move(outcome), model, as_base64] { return to_embeddings(outcome, model, as_base64); };
    is_long ? respond.build_aside(std::move(make)) : respond.build(std::move(make));
  });
  respond.on_disconnect([&behind, ticket] { behind.cancel(ticket); });
}

void answer_embeddings(const context& c) {
  if (c.asked.body.size() <= long_json)
    return submit_embeddings(c.behind, c.respond, read_embeddings(c.asked, *c.behind.models(), c.wanted.json_bytes));
  const auto call = std::make_shared<expected<embeddings_call>>(fail(errc::internal, "the request was not read"));
  c.respond.aside(
      [call, asked = c.asked, models = c.behind.models(), most = c.wanted.json_bytes] {
        *call = read_embeddings(asked, *models, most);
      },
      [call, &behind = c.behind, respond = c.respond] { submit_embeddings(behind, respond, std::move(*call)); });
}

void answer_openai_models(const context& c) {
  c.respond(http::json_response(list_models(*c.behind.models(), c.wanted.opened)));
}

void answer_openai_model(const context& c) {
  auto described = describe_for_openai(*c.behind.models(), c.model.name, c.wanted.opened);
  c.respond(described ? http::json_response(std::move(*described)) : openai_error(described.error()));
}

void answer_config(const context& c) {
  auto models = c.behind.models();
  auto spec = find_model(*models, c.model.name, c.model.version);
  c.respond(spec ? http::json_response(describe_config(**spec)) : http::error_response(spec.error()));
}

void answer_statistics(const context& c) {
  auto models = c.behind.models();
  if (!c.model.name.empty())
    if (auto spec = find_model(*models, c.model.name, c.model.version); !spec)
      return c.respond(http::error_response(spec.error()));
  c.behind.statistics([respond = c.respond, models, wanted = c.model](std::vector<protocol::model_statistics> counted) {
    respond.build([counted = std::move(counted), models, wanted] {
      return http::json_response(describe_statistics(counted, *models, wanted));
    });
  });
}

void answer_life(const context& c, expected<protocol::manage> order) {
  const auto body = short_body(c.asked);
  if (order && !body) order = tl::unexpected(body.error());
  if (order)
    if (auto allowed = check_life_body(*body); !allowed) order = tl::unexpected(allowed.error());
  if (!order) return c.respond(http::error_response(order.error()));
  c.behind.manage(std::move(*order), [respond = c.respond](expected<std::vector<protocol::worker_answer>> answers) {
    const auto done = verdict(answers);
    respond(done ? http::response{} : http::error_response(done.error()));
  });
}
void answer_load(const context& c) { answer_life(c, load_request(c.model.name, c.model.version)); }
void answer_unload(const context& c) { answer_life(c, unload_request(c.model.name, c.model.version)); }

struct route {
  std::string_view pattern;  // M: a model's name; "M" may be followed by "/versions/V"
  std::string_view method;
  void (*answer)(const context&);
  access::need takes = access::need::administration;
};

constexpr auto nothing = access::need::nothing;
constexpr auto inference = access::need::inference;
constexpr auto observation = access::need::observation;
constexpr auto administration = access::need::administration;

constexpr std::array route_table{
    route{"/v2", "GET", answer_server, inference},
    route{"/v2/", "GET", answer_server, inference},
    route{"/v2/health/live", "GET", answer_live, nothing},
    route{"/v2/health/ready", "GET", answer_ready, nothing},
    route{"/v2/models/stats", "GET", answer_statistics, inference},
    route{"/v2/models/M", "GET", answer_model, inference},
    route{"/v2/models/M/ready", "GET", answer_model_ready, inference},
    route{"/v2/models/M/infer", "POST", answer_infer, inference},
    route{"/v2/models/M/config", "GET", answer_config, inference},
    route{"/v2/models/M/stats", "GET", answer_statistics, inference},
    route{"/v2/repository/index", "POST", answer_index, inference},
    route{"/v2/repository/models/M/load", "POST", answer_load, administration},
    route{"/v2/repository/models/M/unload", "POST", answer_unload, administration},
    route{"/v1/embeddings", "POST", answer_embeddings, inference},
    route{"/v1/models", "GET", answer_openai_models, inference},
    route{"/v1/models/M", "GET", answer_openai_model, inference},
    route{"/metrics", "GET", answer_metrics, observation},
};

/// The first part of a path ("/a" of "/a/b"), taken off it.
std::string_view take_part(std::string_view& path) {
  auto end = path.find('/', 1);
  auto part = path.substr(0, end);
  path.remove_prefix(part.size());
  return part;
}

/// Whether `path` is what `pattern` describes; then `model` is filled in. Errors: a version that is no number.
expected<bool> matches(std::string_view pattern, std::string_view path, model_reference& model) {
  while (!pattern.empty()) {
    auto expected_part = take_part(pattern);
    if (path.empty()) return false;
    auto part = take_part(path);
    if (expected_part != "/M") {
      if (part != expected_part) return false;
      continue;
    }
    model.name = part.substr(1);
    if (!path.starts_with("/versions/")) continue;
    take_part(path);
    auto version = read_version(take_part(path).substr(1));
    if (!version) return tl::unexpected(version.error());
    model.version = *version;
  }
  return path.empty();
}

void dispatch(front& behind, const options& wanted, const request& asked, const responder& respond) {
  for (const auto& route : route_table) {
    model_reference model;
    auto matched = matches(route.pattern, asked.path, model);
    if (!matched) return respond(http::error_response(matched.error()));
    if (!*matched) continue;
    if (!http::goes_as(asked.method, route.method))
      return respond(http::method_not_allowed(asked.method, route.method));
    return route.answer({behind, wanted, asked, respond, model});
  }
  respond(http::error_response(
      404, "there is nothing at this path; the protocol's paths begin with /v2, OpenAI's with /v1"));
}

/// What a request takes. Where there is nothing, one learns so like a client.
access::need need_of(const request& asked) {
  for (const auto& route : route_table) {
    model_reference model;
    const auto matched = matches(route.pattern, asked.path, model);
    if (!matched || *matched) return route.takes;
  }
  return inference;
}

}  // namespace

http::gate gate(access::doorman& doorman) {
  return [&doorman](const request& asked) -> tl::expected<std::shared_ptr<const void>, http::response> {
    auto admitted = doorman.admit(asked.field("Authorization"), need_of(asked), steady::now());
    if (admitted) return std::move(*admitted);
    return tl::unexpected(asked.path.starts_with("/v1/") ? openai_error(admitted.error())
                                                         : http::error_response(admitted.error()));
  };
}

http::handler routes(front& behind, options wanted) {
  return [&behind, wanted = std::move(wanted)](const request& asked, const responder& respond) {
    dispatch(behind, wanted, asked, respond);
  };
}

}  // namespace shoal::gateway::http_door
