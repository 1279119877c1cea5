// `shoal load` and `shoal unload`.
#include <iostream>

#include <nlohmann/json.hpp>

#include "link/client.hpp"
#include "services/mesh/names.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace {

void print(const std::vector<protocol::worker_answer>& answers) {
  for (const auto& [worker, result] : answers)
    std::cout << "worker " << id_text(worker) << ": "
              << (result ? *result : std::string(name_of(result.error().code)) + ": " + result.error().message) << "\n";
}

nlohmann::ordered_json to_json(const std::vector<protocol::worker_answer>& answers) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& [worker, result] : answers)
    list.push_back({{"worker", id_text(worker)},
                    {"ok", result.has_value()},
                    {"code", result ? "ok" : name_of(result.error().code)},
                    {"message", result ? *result : result.error().message}});
  return {{"workers", std::move(list)}};
}

expected<void> ask(const client_arguments& arguments, const manage_arguments& wanted, protocol::life_verb verb) {
  const auto named = read_model_name(wanted.model);
  if (!named) return tl::unexpected(named.error());
  protocol::manage request;
  request.verb = verb;
  request.replace = wanted.replace;
  std::tie(request.model, request.version) = *named;
  auto client = reach(arguments);
  if (!client) return tl::unexpected(client.error());
  auto answers = (*client)->manage(std::move(request), arguments.timeout());
  if (!answers) return tl::unexpected(answers.error());
  const error* refused = nullptr;
  for (const auto& [worker, result] : *answers)
    if (!result && refused == nullptr) refused = &result.error();
  if (!arguments.json)
    print(*answers);
  else if (refused == nullptr)  // else the error is the one document
    print_json(to_json(*answers));
  if (refused != nullptr) return tl::unexpected(*refused);
  return {};
}

}  // namespace

expected<void> load_model(const client_arguments& client, const manage_arguments& request) {
  return ask(client, request, protocol::life_verb::load);
}

expected<void> unload_model(const client_arguments& client, const manage_arguments& request) {
  return ask(client, request, protocol::life_verb::unload);
}

}  // namespace shoal::services
