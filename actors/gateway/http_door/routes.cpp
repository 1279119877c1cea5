#include "gateway/http_door/routes.hpp"

#include <array>
#include <span>

#include "gateway/admission.hpp"
#include "gateway/http_door/descriptions.hpp"
#include "gateway/http_door/infer_request.hpp"
#include "gateway/http_door/infer_response.hpp"
#include "http/observability.hpp"

namespace shoal::gateway::http_door {

namespace {

using http::request;
using http::responder;

struct context {
  front& behind;
  const options& wanted;
  const request& asked;
  const responder& respond;
  const model_reference& model;
};

void answer_server(const context& c) { c.respond(http::json_response(describe_server())); }
void answer_live(const context& c) { c.respond(http::health(true)); }
void answer_ready(const context& c) { c.respond(http::health(c.behind.ready())); }

void answer_metrics(const context& c) {
  c.respond(c.wanted.registry ? http::metrics_page(*c.wanted.registry)
                              : http::error_response(404, "no metrics are kept"));
}

void answer_index(const context& c) {
  const auto& body = c.asked.body;
  auto index = describe_repository(*c.behind.models(), {reinterpret_cast<const char*>(body.data()), body.size()});
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

void answer_infer(const context& c) {
  auto call = read_infer(c.asked, c.model, *c.behind.models(), c.wanted.json_bytes);
  if (!call) return c.respond(http::error_response(call.error()));
  // The answer may be long JSON: it is written on the server's thread, not on the one the outcome comes on.
  auto ticket = c.behind.submit(
      std::move(call->request), [respond = c.respond, format = std::move(call->format)](protocol::outcome outcome) {
        respond.build([outcome = std::move(outcome), format] { return to_response(outcome, format); });
      });
  c.respond.on_disconnect([&behind = c.behind, ticket] { behind.cancel(ticket); });
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
  const auto& body = c.asked.body;
  if (order)
    if (auto allowed = check_life_body({reinterpret_cast<const char*>(body.data()), body.size()}); !allowed)
      order = tl::unexpected(allowed.error());
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
};

constexpr std::array route_table{
    route{"/v2", "GET", answer_server},
    route{"/v2/health/live", "GET", answer_live},
    route{"/v2/health/ready", "GET", answer_ready},
    route{"/v2/models/stats", "GET", answer_statistics},
    route{"/v2/models/M", "GET", answer_model},
    route{"/v2/models/M/ready", "GET", answer_model_ready},
    route{"/v2/models/M/infer", "POST", answer_infer},
    route{"/v2/models/M/config", "GET", answer_config},
    route{"/v2/models/M/stats", "GET", answer_statistics},
    route{"/v2/repository/index", "POST", answer_index},
    route{"/v2/repository/models/M/load", "POST", answer_load},
    route{"/v2/repository/models/M/unload", "POST", answer_unload},
    route{"/metrics", "GET", answer_metrics},
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
    if (asked.method != route.method) return respond(http::method_not_allowed(asked.method, route.method));
    return route.answer({behind, wanted, asked, respond, model});
  }
  respond(http::error_response(404, "there is nothing at this path; the protocol's paths begin with /v2"));
}

}  // namespace

http::handler routes(front& behind, options wanted) {
  return [&behind, wanted = std::move(wanted)](const request& asked, const responder& respond) {
    dispatch(behind, wanted, asked, respond);
  };
}

}  // namespace shoal::gateway::http_door
