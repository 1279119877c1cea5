// Any service of a mesh of processes may be killed or frozen, under load, any number of times: every request has one
// outcome in time, no answer is wrong, and the mesh comes back by itself.
//
//   SHOAL_KILLER_SEED=7 SHOAL_KILLER_ROUNDS=100 SHOAL_BIN=... SHOAL_FIXTURES=... mesh_test -tc="*killed and frozen*"
#include <csignal>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/disturbed_load.hpp"
#include "mesh/http_load.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "unit/http/raw_client.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Does one bad thing to one service, drawn by chance; returns what, for the report.
std::string do_harm(const mesh_of_processes& mesh, std::mt19937_64& random) {
  const auto ids = mesh.ids();
  if (ids.empty()) return "nothing: the list of services is being written";
  const auto& [name, pid] = ids[random() % ids.size()];
  if (pid <= 0) return "nothing: " + name + " is away already";
  const auto chance = random() % 10;
  if (chance < 6) {
    ::kill(pid, SIGKILL);
    return name + " killed";
  }
  ::kill(pid, SIGSTOP);
  if (chance < 8) return name + " frozen";
  const auto pause = milliseconds(50 + random() % 2000);
  std::this_thread::sleep_for(pause);
  ::kill(pid, SIGCONT);
  return name + " frozen for " + std::to_string(pause.count()) + " ms";
}

std::string summary(const history& all) {
  std::map<std::string, int> counts;
  for (const auto& each : all) {
    ++counts[each.failure ? std::string(name_of(*each.failure)) : "answered"];
    if (each.failure && each.deadline > 4s) ++counts["in spite of more than 4 s"];
  }
  std::string text = std::to_string(all.size()) + " requests";
  for (const auto& [what, count] : counts) text += ", " + std::to_string(count) + " " + what;
  return text;
}

}  // namespace

TEST_CASE("services are killed and frozen under load: one outcome in time for each request, and all right") {
  const auto seed = number_from("SHOAL_KILLER_SEED", 20261125);
  const auto rounds = number_from("SHOAL_KILLER_ROUNDS", 8);
  mesh_of_processes mesh(two_of_each());
  mesh.wait_until_ready();
  auto client = client::connect({mesh.gateway(1), mesh.gateway(2)}, {.max_in_flight = 100'000});
  REQUIRE(client);
  std::string report = "SHOAL_KILLER_SEED=" + std::to_string(seed);
  std::mt19937_64 random(seed);
  history all;
  {
    disturbed_load load(*client, references(*client, 8), {.seed = seed, .one_large_in = 25});
    for (std::uint64_t i = 0; i < rounds; ++i) {
      std::this_thread::sleep_for(milliseconds(100 + random() % 1500));
      report += "\n" + do_harm(mesh, random);
    }
    std::this_thread::sleep_for(1s);
    all = load.finish();
  }
  MESSAGE(report << "\n" << summary(all));
  const auto broken = broken_promises(all);
  for (std::size_t i = 0; i < std::min<std::size_t>(broken.size(), 20); ++i) FAIL_CHECK(broken[i]);
  CHECK(broken.size() == 0);
  int answered = 0;
  for (const auto& each : all) answered += each.failure ? 0 : 1;
  CHECK(answered > static_cast<int>(all.size()) / 2);

  // What was left frozen is replaced after 3 s; a service that died often waits up to 5 s before it starts again.
  std::this_thread::sleep_for(5s);
  for (const auto& known : references(*client, 8)) {
    const auto again = client->infer(known.request, {.deadline = 10s});
    REQUIRE_MESSAGE(again, again.error().message);
    CHECK(is_equal(*again, known.answer));
  }
  mesh.parent().signal(SIGTERM);
  CHECK_MESSAGE(mesh.parent().wait(20s) == 0, mesh.parent().output());
}

TEST_CASE("behind a gateway that is killed an HTTP client has a broken connection, and the next one is answered") {
  mesh_of_processes mesh({"--scale", "gateway=2"});
  const auto http = http_address(mesh.wait_until_ready());
  const std::string ask = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";
  // Connections are shared out by the system: with so many both gateways have some.
  std::vector<std::unique_ptr<raw_client>> clients;
  for (int i = 0; i < 32; ++i) clients.push_back(std::make_unique<raw_client>(http));
  for (auto& each : clients) REQUIRE(each->ask(ask).status == 200);
  const auto gateway = mesh.id_of("gateway-1");
  ::kill(gateway, SIGKILL);
  int broken = 0;
  for (auto& each : clients) {
    const auto status = each->ask(ask).status;
    CHECK((status == 200 || status == 0));
    broken += status == 0 ? 1 : 0;
  }
  CHECK(broken > 0);
  CHECK(broken < 32);
  CHECK(mesh.is_replaced("gateway-1", gateway));
  int answered = 0;
  for (int i = 0; i < 32; ++i) answered += raw_client(http).ask(ask).status == 200 ? 1 : 0;
  CHECK(answered == 32);
}
