// The executable `shoal`: what a newcomer types, right and wrong.
#include <csignal>
#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mesh/command_line.hpp"

using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using result = command_result;

result run(const scratch_folder& folder, std::vector<std::string> arguments) {
  return run_shoal(folder, std::move(arguments), 60s);
}

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TEST_CASE("a model is imported, served, listed, asked, and the mesh ends in order") {
  scratch_folder folder;
  const auto models = folder / "models";
  const auto identity = models_folder() + "/identity/1/model.pt2";
  auto imported = run(folder, {"import", identity, "--models", models, "--name", "echo"});
  CHECK(imported.code == 0);
  CHECK(says(imported, "imported echo version 1"));
  CHECK(std::filesystem::exists(models + "/echo/1/model.objects.json"));
  CHECK(says(run(folder, {"import", identity, "--models", models, "--name", "echo"}), "imported echo version 2"));

  process mesh({executable("shoal"), "up", "--models", models, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                "--native", "ipc://" + folder / "gateway"},
               folder / "up.log");
  const auto ready = mesh.wait_for_line("ready", 30s);
  REQUIRE_MESSAGE(!ready.empty(), mesh.output());
  CHECK(word_after(ready, "models=") == "2");
  const auto at = word_after(ready, "native=");

  const auto listed = run(folder, {"models", "--at", at});
  CHECK(listed.code == 0);
  CHECK(says(listed, "echo/1  ready"));
  CHECK(says(listed, "echo/2  ready"));
  const auto answered = run(folder, {"infer", "echo", "--input", "x=[[1, 2.5]]", "--at", at});
  CHECK(answered.code == 0);
  CHECK(says(answered, "\"version\":2"));
  CHECK(says(answered, "\"data\":[1,2.5]"));
  CHECK(says(run(folder, {"infer", "echo/1", "--input", "x=[[1]]", "--at", at}), "\"version\":1"));
  CHECK(says(run(folder, {"status", "--at", at}), "shoal_gateway_requests_total"));
  const auto refused = run(folder, {"infer", "echo", "--input", "x=[[\"one\"]]", "--at", at});
  CHECK(refused.code == 2);
  CHECK(says(refused, "--input x"));
  const auto malformed = run(folder, {"infer", "echo", "--input", "x=[[1,]]", "--at", at});
  CHECK(malformed.code == 2);
  CHECK(says(malformed, "not JSON, from byte 5 on"));
  const auto enormous = run(folder, {"infer", "echo", "--input", "x=[[1e400]]", "--at", at});
  CHECK(enormous.code == 2);
  CHECK(says(enormous, "larger than any type can hold"));
  CHECK(says(run(folder, {"infer", "echo", "--input", "x= [[0.1]]\n", "--at", at}), "\"data\":[0.1]"));
  CHECK(run(folder, {"infer", "echo/abc", "--input", "x=[[1]]", "--at", at}).code == 2);
  const auto unknown = run(folder, {"infer", "nobody", "--input", "x=[[1]]", "--at", at});
  CHECK(unknown.code == 3);
  CHECK(says(unknown, "`shoal models`"));

  const auto json_of = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--json", "--at", at});
    const auto ran = run(folder, std::move(arguments));
    const auto document = nlohmann::json::parse(ran.output, nullptr, false);
    REQUIRE_MESSAGE(!document.is_discarded(), ran.output);
    return document;
  };
  CHECK(json_of({"models"})["models"].size() == 2);
  CHECK(json_of({"status"})["services"].size() >= 3);
  CHECK(json_of({"status"})["services"][0]["instance"].get<std::string>().size() == 16);
  CHECK(json_of({"infer", "nobody", "--input", "x=[[1]]"})["error"]["code"] == "not_found");
  const auto top = json_of({"top", "--once", "--interval", "0.2"});
  CHECK(top["models"].size() == 2);
  CHECK(top["services"].size() >= 3);
  const auto table = run(folder, {"top", "--at", at, "--interval", "0.2"});  // where there is no terminal: one look
  CHECK(table.code == 0);
  CHECK(says(table, "echo/2"));
  CHECK(says(table, "LATENCY ms"));

  mesh.signal(SIGTERM);
  CHECK(mesh.wait(15s) == 0);
}

TEST_CASE("a version that is imported into a running mesh is loaded, takes over, and is unloaded, by what one types") {
  scratch_folder folder;
  const auto models = folder / "models";
  const auto import = [&] {
    return run(folder, {"import", models_folder() + "/identity/1/model.pt2", "--models", models, "--name", "echo"});
  };
  REQUIRE(import().code == 0);
  const auto at = "ipc://" + folder / "gateway";
  process mesh({executable("shoal"), "up", "--models", models, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                "--native", at, "--workers", "2", "--threads", "1"},
               folder / "up.log");
  REQUIRE_MESSAGE(!mesh.wait_for_line("ready", 30s).empty(), mesh.output());
  CHECK(mesh.output().find("2 workers x 1 thread as asked for") != std::string::npos);
  REQUIRE(import().code == 0);
  const auto ask = [&] { return run(folder, {"infer", "echo", "--input", "x=[[1]]", "--at", at}); };
  CHECK(says(ask(), "\"version\":1"));
  const auto loaded = run(folder, {"load", "echo", "--replace", "--at", at});
  CHECK(loaded.code == 0);
  CHECK(says(loaded, "loaded version 2"));
  CHECK(says(loaded, "unloaded 1"));
  CHECK(says(ask(), "\"version\":2"));
  CHECK_FALSE(says(run(folder, {"models", "--at", at}), "echo/1"));
  CHECK(run(folder, {"load", "echo/2", "--at", at}).code != 0);
  CHECK(says(run(folder, {"load", "echo/none", "--at", at}), "a version is a whole number"));
  CHECK(run(folder, {"unload", "echo", "--at", at}).code == 0);
  const auto gone = ask();
  CHECK(gone.code == 3);
  CHECK(says(gone, "there is no model 'echo'"));
  CHECK(run(folder, {"load", "echo/1", "--at", at}).code == 0);
  CHECK(says(ask(), "\"version\":1"));
  mesh.signal(SIGTERM);
  CHECK(mesh.wait(15s) == 0);
}

TEST_CASE("an import that cannot be served is refused by name and leaves nothing behind") {
  scratch_folder folder;
  const auto models = folder / "models";
  write(folder / "broken.pt2", "this is not an archive");
  const auto broken = run(folder, {"import", folder / "broken.pt2", "--models", models});
  CHECK(broken.code == 1);
  CHECK(says(broken, "broken.pt2"));
  CHECK_FALSE(std::filesystem::exists(models + "/broken"));
  CHECK(run(folder, {"import", folder / "missing.pt2", "--models", models}).code == 3);
  const auto directory = run(folder, {"import", folder.path(), "--models", models, "--name", "d"});
  CHECK(directory.code == 2);
  CHECK(says(directory, "is a directory"));
  write(folder / "weights.pth", "this is not an archive");
  CHECK(says(run(folder, {"import", folder / "weights.pth", "--models", models}), "torch.export.save"));
  const auto named = run(folder, {"import", folder / "broken.pt2", "--models", models, "--name", "../evil"});
  CHECK(named.code == 2);
  CHECK(says(named, "cannot be a model's name"));

  write(folder / "model.toml", "max_batch = 0\n");
  const auto toml = run(folder, {"import", models_folder() + "/identity/1/model.pt2", "--models", models, "--toml",
                                 folder / "model.toml"});
  CHECK(toml.code == 2);
  CHECK(says(toml, "model.toml:1:13"));
}

TEST_CASE("a model that cannot be loaded is said to have failed, and the others are served") {
  scratch_folder folder;
  const auto models = folder / "models";
  REQUIRE(
      run(folder, {"import", models_folder() + "/identity/1/model.pt2", "--models", models, "--name", "good"}).code ==
      0);
  std::filesystem::create_directories(models + "/bad/1");
  write(models + "/bad/1/model.pt2", "PK");
  process mesh({executable("shoal"), "up", "--models", models, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                "--native", "ipc://" + folder / "gateway"},
               folder / "up.log");
  REQUIRE_MESSAGE(!mesh.wait_for_line("ready", 30s).empty(), mesh.output());
  const auto at = "ipc://" + folder / "gateway";
  CHECK(says(run(folder, {"models", "--at", at}), "bad/1  failed"));
  const auto asked = run(folder, {"infer", "bad", "--input", "x=1", "--at", at});
  CHECK(asked.code == 4);
  CHECK(says(asked, "could not be loaded"));
  CHECK(run(folder, {"infer", "good", "--input", "x=[[1]]", "--at", at}).code == 0);
}

TEST_CASE("what cannot start says why, with an exit code that means it") {
  scratch_folder folder;
  CHECK(run(folder, {"up", "--models", folder / "nowhere"}).code == 3);
  std::filesystem::create_directories(folder.path() / "empty");
  const auto empty = run(folder, {"up", "--models", folder / "empty", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                                  "--native", "ipc://" + folder / "gateway"});
  CHECK(empty.code == 3);
  CHECK(says(empty, "nothing to serve"));
  const auto elsewhere = run(folder, {"up", "--models", folder / "empty", "--device", "gpu", "--http", "127.0.0.1:0",
                                      "--grpc", "127.0.0.1:0", "--native", "ipc://" + folder / "gateway"});
  CHECK(elsewhere.code == 2);
  CHECK(says(elsewhere, "a device is cpu or cuda:N"));
  CHECK(run(folder, {"up", "--nonsense"}).code == 2);
  const auto unknown = run(folder, {"upp", "--models", "m"});
  CHECK(unknown.code == 2);
  CHECK(says(unknown, "'shoal upp' is no command"));
  for (const auto* verb : {" up, ", "bench", "version"}) CHECK(says(unknown, verb));
  CHECK(says(run(folder, {"config", "chek"}), "'shoal config chek' is no command. There are: check, show."));
  CHECK(says(run(folder, {}), "There are: up, "));
  CHECK(says(run(folder, {"import", "--models", "m"}), "file is required"));
  CHECK(run(folder, {"up", "--set", "gateway.htp=1"}).code == 2);
  CHECK(run(folder, {"models", "--at", "ipc://" + folder / "nobody", "--timeout", "0.3"}).code == 4);
}

TEST_CASE("a gateway may open as many files as the system lets it, and says so if these are too few for its doors") {
  const scratch_folder folder;
  process mesh({"/bin/sh", "-c",
                "ulimit -Sn 512 && ulimit -Hn 2048 && exec \"$0\" up --models \"$1\" --http 127.0.0.1:0 --grpc "
                "127.0.0.1:0 --native \"ipc://$2\" --workers 1 --threads 1",
                executable("shoal"), models_folder(), folder / "gateway"},
               folder / "up.log");
  REQUIRE_MESSAGE(!mesh.wait_for_line("ready", 60s).empty(), mesh.output());
  CHECK(mesh.output().find("may have 2048 files open") != std::string::npos);
  std::ifstream limits("/proc/" + std::to_string(mesh.id()) + "/limits");
  for (std::string line; std::getline(limits, line);)
    if (line.starts_with("Max open files")) CHECK(line.find(" 2048 ") != line.rfind(" 2048 "));
  mesh.signal(SIGTERM);
  CHECK(mesh.wait(20s) == 0);
}

TEST_CASE("a configuration file is checked with line and column") {
  scratch_folder folder;
  const auto file = folder / "shoal.toml";
  write(file, "[gateway]\nhttp = \"127.0.0.1:0\"\n[worker]\nthreads = 2\n");
  CHECK(run(folder, {"config", "check", file}).code == 0);
  write(file, "[gateway]\nhtp = \"127.0.0.1:0\"\n");
  auto checked = run(folder, {"config", "check", file});
  CHECK(checked.code == 2);
  CHECK(says(checked, "shoal.toml:2:7: there is no key gateway.htp; did you mean gateway.http?"));
  write(file, "[worker]\nthreads = \"two\"\n");
  CHECK(says(run(folder, {"config", "check", file}), "shoal.toml:2:11: worker.threads must be an integer"));
}
