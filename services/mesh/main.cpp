// shoal: the embedded mesh (`shoal up`) and the command line client of any mesh.
#include <iostream>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "protocol/link.hpp"
#include "services/mesh/check.hpp"
#include "services/mesh/import.hpp"
#include "services/mesh/keys_verb.hpp"
#include "services/mesh/mesh.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/processes.hpp"
#include "services/mesh/tune.hpp"
#include "services/mesh/verbs.hpp"

namespace {

using namespace shoal;
using namespace shoal::services;

constexpr const char* exit_codes =
    "Exit codes: 0 done; 1 failed; 2 wrong command, configuration or request; 3 no such model, file or service;\n"
    "4 what is needed is not there (no mesh, a port taken); 5 the time was over; 6 the mesh is full. With --json an "
    "error\n"
    "is {\"error\": {\"code\", \"message\", \"retryable\", \"retry_after_ms\"}} on standard output.";

struct arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string models, http, grpc, native, device;
  std::string workers, threads;  ///< a number, or auto
  bool processes = false;
  std::vector<std::string> scale;
  client_arguments client;  ///< `json` of every verb
  import_request import;
  check_arguments check;
  infer_arguments infer;
  embed_arguments embed;
  keys_arguments keys;
  std::string status_of;
  manage_arguments manage;
  top_arguments top;
  bench_arguments bench;
  tune_arguments tune;
};

int report(const arguments& given, const expected<void>& done) {
  return done ? success : report_error(done.error(), given.client.json);
}

expected<mesh_settings> settings_of(const arguments& given) {
  mesh_settings settings;
  config keys;
  settings.declare(keys);
  if (auto loaded = keys.load(given.config, given.overrides); !loaded) return tl::unexpected(loaded.error());
  if (!given.models.empty()) settings.worker.models = given.models;
  if (!given.http.empty()) settings.gateway.http = given.http;
  if (!given.grpc.empty()) settings.gateway.grpc = given.grpc;
  if (!given.native.empty()) settings.gateway.listen = {given.native};
  if (!given.device.empty()) settings.worker.device = given.device;
  if (!given.workers.empty()) settings.workers = given.workers == "auto" ? 0 : std::stoi(given.workers);
  if (!given.threads.empty()) settings.worker.threads = given.threads == "auto" ? 0 : std::stoi(given.threads);
  return settings;
}

int up(const arguments& given) {
  signals ending;
  auto settings = settings_of(given);
  if (!settings) return report_error(settings.error(), false);
  if (auto logging = start_logging(settings->log_level); !logging) return report_error(logging.error(), false);
  if (!given.processes) return report(given, run_mesh(std::move(*settings), ending));
  auto counts = parse_scale(given.scale);
  if (!counts) return report_error(counts.error(), false);
  return report_error(run_processes({std::move(*settings), std::move(*counts), given.config, given.overrides}), false);
}

int import_file(const arguments& given) {
  start_logging("warning");
  auto imported = import_model(given.import);
  if (!imported) return report_error(imported.error(), given.client.json);
  if (given.client.json)
    print_json({{"name", imported->name}, {"version", imported->version}, {"folder", imported->folder.string()}});
  else
    std::cout << "imported " << imported->name << " version " << imported->version << " into "
              << imported->folder.string() << "\n";
  return success;
}

int check_file(arguments& given) {
  start_logging("warning");
  given.check.json = given.client.json;
  const auto runs = check_model(given.check);
  if (!runs) return report_error(runs.error(), given.client.json);
  return *runs ? success : failed;
}

int tune_file(arguments& given) {
  start_logging("warning");
  given.tune.json = given.client.json;
  return report(given, tune_model(given.tune));
}

int with_keys(arguments& given, expected<void> (*what)(const keys_arguments&)) {
  start_logging("warning");
  given.keys.json = given.client.json;
  return report(given, what(given.keys));
}

int check_config(const arguments& given) {
  auto settings = settings_of(given);
  if (!settings) return report_error(settings.error(), given.client.json);
  if (given.client.json)
    print_json({{"file", given.config}, {"right", true}});
  else
    std::cout << given.config << ": every key is right\n";
  return success;
}

int show_config(const arguments& given) {
  mesh_settings settings;
  config keys;
  settings.declare(keys);
  if (!given.client.json) {
    std::cout << keys.to_toml();
    return success;
  }
  std::cout << toml::json_formatter{toml::parse(keys.to_toml())} << "\n";
  return success;
}

int embed_until_a_signal(const arguments& given) {
  signals ending;
  return report(given, embed_lines(given.client, given.embed, ending));
}

int show_top_until_a_signal(const arguments& given) {
  signals ending;
  return report(given, show_top(given.client, given.top, ending));
}

int show_version(const arguments& given) {
  if (given.client.json)
    print_json({{"version", SHOAL_VERSION},
                {"oldest_protocol", protocol::oldest_protocol},
                {"newest_protocol", protocol::newest_protocol},
                {"libtorch", SHOAL_TORCH_VERSION}});
  else
    std::cout << "shoal " SHOAL_VERSION ", protocol versions " << protocol::oldest_protocol << " to "
              << protocol::newest_protocol << ", LibTorch " SHOAL_TORCH_VERSION "\n";
  return success;
}

/// What to say if a verb is missing or none: which it was, and which there are. Empty: something else is wrong.
std::string which_verbs(const CLI::App& app) {
  const auto* at = &app;
  std::string path = "shoal";
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  std::string verbs;
  for (const auto* each : at->get_subcommands([](const CLI::App*) { return true; }))
    verbs += (verbs.empty() ? "" : ", ") + each->get_name();
  if (verbs.empty()) return {};
  const auto typed = at->remaining();
  const bool none = !typed.empty() && !typed.front().starts_with('-');
  return (none ? "'" + path + " " + typed.front() + "' is no command." : "what is '" + path + "' to do?") +
         " There are: " + verbs + ". `" + path + " --help` says what each does.\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Shoal serves PyTorch models: `shoal up` runs the whole mesh in this process"};
  app.footer(exit_codes);
  app.set_version_flag("--version", "shoal " SHOAL_VERSION);
  app.require_subcommand(1);
  arguments given;
  int code = success;
  const auto json = [&](CLI::App* verb) { verb->add_flag("--json", given.client.json, "print one JSON object"); };
  const auto at = [&](CLI::App* verb) {
    verb->add_option("--at", given.client.endpoint, "a gateway's native address")
        ->envname("SHOAL_AT")
        ->capture_default_str();
    verb->add_option("--key", given.client.key, "the key file to show it (`shoal keys new`); none: in the clear")
        ->envname("SHOAL_KEY");
    verb->add_option("--timeout", given.client.seconds, "seconds to wait at most")->capture_default_str();
    json(verb);
  };
  const auto configured = [&](CLI::App* verb) {
    verb->add_option("--set", given.overrides, "section.key=value, over the file and the environment");
  };

  auto* run = app.add_subcommand("up", "run gateway, scheduler and worker, in this process or each in its own");
  run->add_option("--models", given.models, "directory of <name>/<version>/model.pt2");
  run->add_option("--http", given.http, "HOST:PORT of the HTTP door (127.0.0.1:8000; port 0: a free one)");
  run->add_option("--grpc", given.grpc, "HOST:PORT of the gRPC door (127.0.0.1:8001; port 0: a free one)");
  run->add_option("--native", given.native, "address of the native door (tcp://127.0.0.1:8002)");
  const auto number_or_auto = CLI::Range(1, 1024) | CLI::IsMember({"auto"});
  run->add_option("--workers", given.workers, "workers, or auto: measured at start")->check(number_or_auto);
  run->add_option("--threads", given.threads, "compute threads of each worker, or auto")->check(number_or_auto);
  auto* processes =
      run->add_flag("--processes", given.processes, "a process for each service, started again if it dies");
  run->add_option("--scale", given.scale, "SERVICE=N: how many of gateway, scheduler, worker, cache or precision")
      ->needs(processes);
  run->add_option("--device", given.device, "where models compute: cpu, or cuda:N");
  run->add_option("--config", given.config, "TOML file; every key has a default");
  configured(run);
  run->callback([&] { code = up(given); });

  auto* models = app.add_subcommand("models", "list the models that a mesh serves");
  at(models);
  models->callback([&] { code = report(given, show_models(given.client)); });

  auto* status = app.add_subcommand("status", "show the services of a mesh and their figures");
  at(status);
  status->add_option("kind", given.status_of,
                     "only services of this kind: gateway, scheduler, worker, cache, precision");
  status->callback([&] { code = report(given, show_status(given.client, given.status_of)); });

  auto* top = app.add_subcommand("top", "watch what a mesh does: models, queues, services");
  at(top);
  top->add_option("--interval", given.top.interval, "seconds between two looks")->capture_default_str();
  top->add_flag("--once", given.top.once, "one look instead of many");
  top->callback([&] { code = show_top_until_a_signal(given); });

  auto* bench = app.add_subcommand("bench", "put load on a server, open loop, and tell latencies and failures");
  declare_bench(*bench, given.bench);
  bench->callback([&] { code = run_bench(given.bench); });

  auto* infer = app.add_subcommand("infer", "run one inference");
  at(infer);
  infer->add_option("model", given.infer.model, "name, or name/version")->required();
  infer->add_option("--input", given.infer.inputs, "NAME=JSON, for example x=[[1,2],[3,4]]; NAME=@FILE reads the JSON")
      ->required();
  infer->add_option("--output", given.infer.outputs, "only these outputs");
  infer->add_option("--priority", given.infer.priority, "critical, standard or batch")->capture_default_str();
  infer->callback([&] { code = report(given, run_inference(given.client, given.infer)); });

  auto* embed = app.add_subcommand("embed", "vectors for the lines of a file, by a model that takes text");
  at(embed);
  declare_embed(*embed, given.embed);
  embed->callback([&] { code = embed_until_a_signal(given); });

  auto* load = app.add_subcommand("load", "take a model of the directory into service, at every worker");
  at(load);
  load->add_option("model", given.manage.model, "name (its newest version), or name/version")->required();
  load->add_flag("--replace", given.manage.replace, "unload older versions once this one serves");
  load->callback([&] { code = report(given, load_model(given.client, given.manage)); });

  auto* unload = app.add_subcommand("unload", "take a model out of service and free its memory, at every worker");
  at(unload);
  unload->add_option("model", given.manage.model, "name (all its versions), or name/version")->required();
  unload->callback([&] { code = report(given, unload_model(given.client, given.manage)); });

  auto* importing = app.add_subcommand("import", "check an exported model and put it into a model directory");
  importing->add_option("file", given.import.file, "FILE.pt2, written by torch.export.save")->required();
  importing->add_option("--models", given.import.models, "the model directory")->required();
  importing->add_option("--name", given.import.name, "the model's name (the file's)");
  importing->add_option("--version", given.import.version, "its version (the next free one)");
  importing->add_option("--tokenizer", given.import.tokenizer, "its tokenizer.json, so that it takes text");
  importing->add_option("--toml", given.import.toml, "a model.toml to go with it: padding, renames, limits");
  json(importing);
  importing->callback([&] { code = import_file(given); });

  auto* examine = app.add_subcommand("check", "say whether and how an exported model will run");
  examine->add_option("file", given.check.file, "FILE.pt2, written by torch.export.save")->required();
  examine->add_option("--input", given.check.inputs, "NAME=DIMxDIM: measure memory at this shape (input_ids=8x64)");
  json(examine);
  examine->callback([&] { code = check_file(given); });

  auto* tune = app.add_subcommand("tune", "plan a model's precisions on this machine: what speed costs, measured");
  declare_tune(*tune, given.tune);
  json(tune);
  tune->callback([&] { code = tune_file(given); });

  auto* keys =
      app.add_subcommand("keys", "say who may do what in a mesh: keys of services, keys and tokens of clients");
  keys->require_subcommand(1);
  const auto in_folder = [&](CLI::App* verb) {
    verb->add_option("--keys", given.keys.folder, "the folder with the access list and the key files")
        ->envname("SHOAL_KEYS")
        ->capture_default_str();
    json(verb);
  };
  auto* new_one = keys->add_subcommand("new", "make a key, or a token, and allow it");
  new_one->add_option("name", given.keys.name, "whose it is; no two have the same")->required();
  new_one
      ->add_option("--role", given.keys.role,
                   "client, observer (metrics), admin, gateway, scheduler, worker, cache or precision")
      ->capture_default_str();
  new_one->add_flag("--token", given.keys.token, "a bearer token for HTTP and gRPC instead of a key");
  new_one->add_option("--out", given.keys.out,
                      "the file for the secret; -: standard output (FOLDER/NAME.key; a token: -)");
  new_one->add_option("--requests-per-second", given.keys.requests_per_second, "of a token, at most");
  new_one->add_option("--in-flight", given.keys.in_flight, "requests of a token at a time, at most");
  in_folder(new_one);
  new_one->callback([&] { code = with_keys(given, new_key); });
  auto* list_all = keys->add_subcommand("list", "show who is allowed what");
  in_folder(list_all);
  list_all->callback([&] { code = with_keys(given, list_keys); });
  auto* revoke = keys->add_subcommand("revoke", "take a key or token off the list; running services follow");
  revoke->add_option("name", given.keys.name, "whose")->required();
  in_folder(revoke);
  revoke->callback([&] { code = with_keys(given, revoke_key); });

  auto* config = app.add_subcommand("config", "look at configuration");
  config->require_subcommand(1);
  auto* check = config->add_subcommand("check", "say whether a file is right, and where not");
  check->add_option("file", given.config, "TOML file")->required();
  configured(check);
  json(check);
  check->callback([&] { code = check_config(given); });
  auto* show = config->add_subcommand("show", "print every key with its default and meaning");
  json(show);
  show->callback([&] { code = show_config(given); });

  auto* version = app.add_subcommand("version", "say what this is");
  json(version);
  version->callback([&] { code = show_version(given); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& wrong) {
    const auto told = which_verbs(app);
    if (told.empty()) return app.exit(wrong) == 0 ? success : usage;
    std::cerr << told;
    return usage;
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? success : usage;
  }
  return code;
}
