#include <algorithm>
#include <charconv>
#include <iostream>

#include <nlohmann/json.hpp>

#include "link/client.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace {

/// "name" or "name/version". Error: a version that is not a whole number from 1.
expected<void> read_model(const std::string& text, protocol::manage& request) {
  const auto slash = text.find('/');
  request.model = text.substr(0, slash);
  if (slash == std::string::npos) return {};
  const auto* const end = text.data() + text.size();
  const auto [read, failed] = std::from_chars(text.data() + slash + 1, end, request.version);
  if (failed != std::errc{} || read != end || request.version == 0)
    return fail(errc::invalid_argument,
                "'" + text + "' is not NAME or NAME/VERSION: a version is a whole number from 1");
  return {};
}

void print(const std::vector<protocol::worker_answer>& answers, bool as_json) {
  if (as_json) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& [worker, result] : answers)
      list.push_back({{"worker", worker},
                      {"ok", result.has_value()},
                      {"code", result ? "ok" : name_of(result.error().code)},
                      {"message", result ? *result : result.error().message}});
    std::cout << list.dump(2) << "\n";
    return;
  }
  for (const auto& [worker, result] : answers)
    std::cout << "worker " << std::hex << worker << std::dec << ": "
              << (result ? *result : std::string(name_of(result.error().code)) + ": " + result.error().message) << "\n";
}

expected<void> ask(const client_arguments& arguments, const manage_arguments& wanted, protocol::life_verb verb) {
  protocol::manage request;
  request.verb = verb;
  request.replace = wanted.replace;
  if (auto read = read_model(wanted.model, request); !read) return read;
  const milliseconds timeout(static_cast<std::int64_t>(std::clamp(arguments.seconds, 0.001, 86400.0) * 1000));
  auto client = link::client::connect(arguments.endpoint, timeout);
  if (!client) return tl::unexpected(client.error());
  auto answers = (*client)->manage(std::move(request), timeout);
  if (!answers) return tl::unexpected(answers.error());
  print(*answers, arguments.json);
  for (const auto& [worker, result] : *answers)
    if (!result) return tl::unexpected(result.error());
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
