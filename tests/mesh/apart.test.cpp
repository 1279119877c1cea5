// The services' executables by themselves, over tcp, each with a configuration file; and what `shoal up --processes`
// makes of one file for all of them.
#include <csignal>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "link/client.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "unit/http/raw_client.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

/// "127.0.0.1:PORT" that was free a moment ago.
std::string free_address() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

bool answers(const std::string& gateway) {
  const auto until = steady::now() + 20s;
  while (steady::now() < until) {
    auto client = link::client::connect(gateway, 1s);
    if (!client) continue;
    protocol::infer request;
    request.model = "identity";
    request.inputs = {matrix(2, 3, "x", 1)};
    if ((*client)->infer(request, 1s).result) return true;
    std::this_thread::sleep_for(20ms);
  }
  return false;
}

}  // namespace

TEST_CASE("the services run apart over tcp, each from a configuration file of its own, and find each other again") {
  scratch_folder folder;
  const auto scheduler = free_address(), gateway = free_address(), cache = free_address();
  const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
  const auto tcp = [&](const std::string& address) { return "[\"tcp://" + address + "\"]"; };
  const auto start = [&](const std::string& name, const std::string& keys) {
    std::ofstream(folder / (name + ".toml")) << "[log]\nlevel = \"warning\"\n[" << name << "]\n" << keys;
    return process({executable("shoal-" + name), "--config", folder / (name + ".toml")}, folder / (name + ".log"));
  };
  const std::string scheduler_keys = "listen = " + tcp(scheduler) + "\nmetrics = \"\"\n";
  auto first = start("scheduler", scheduler_keys);
  auto door = start("gateway", "listen = " + tcp(gateway) + "\nschedulers = " + tcp(scheduler) +
                                   "\nhttp = \"127.0.0.1:0\"\ngrpc = \"\"\n");
  auto store = start("cache", "listen = " + tcp(cache) + "\nschedulers = " + tcp(scheduler) +
                                  "\ndram = " + quoted(folder / "memory") + "\nssd = " + quoted(folder / "disk") +
                                  "\nmetrics = \"\"\n");
  auto worker = start("worker", "models = " + quoted(models_folder()) + "\nschedulers = " + tcp(scheduler) +
                                    "\ngateways = " + tcp(gateway) + "\ncaches = " + tcp(cache) +
                                    "\ndram = " + quoted(folder / "memory") + "\nmetrics = \"\"\nthreads = 1\n");
  CHECK_MESSAGE(answers("tcp://" + gateway), worker.output());
  first.kill();
  auto second = start("scheduler", scheduler_keys);
  CHECK_MESSAGE(answers("tcp://" + gateway), second.output());
  for (auto* each : {&door, &worker, &store, &second}) {
    each->signal(SIGTERM);
    CHECK_MESSAGE(each->wait(20s) == 0, each->output());
  }
}

TEST_CASE("a configuration file of the mesh reaches the processes of its services") {
  scratch_folder folder;
  std::ofstream(folder / "shoal.toml") << "[gateway]\nbody_limit = 1000\n[worker]\ndrain_ms = 1234\n";
  mesh_of_processes mesh({"--config", folder / "shoal.toml", "--scale", "worker=1"});
  const auto ready = mesh.wait_until_ready();
  const auto begin = ready.find(" http=") + 6;
  raw_client client(ready.substr(begin, ready.find(' ', begin) - begin));
  CHECK(client.ask("POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").status == 413);
}

TEST_CASE("a second signal ends at once what does not end in order") {
  mesh_of_processes mesh({"--scale", "worker=1"});
  mesh.wait_until_ready();
  const auto gateway = mesh.id_of("gateway-1");
  ::kill(gateway, SIGSTOP);  // it would have eleven seconds to drain
  mesh.parent().signal(SIGTERM);
  std::this_thread::sleep_for(200ms);
  CHECK_FALSE(mesh.parent().wait(0ms));
  mesh.parent().signal(SIGTERM);
  CHECK(mesh.parent().wait(5s) == 1);
  CHECK(::kill(gateway, 0) != 0);
}

TEST_CASE("a service that dies again and again is started later and later, and the mesh goes on without it") {
  mesh_of_processes mesh({"--scale", "worker=2", "--scale", "cache=1"});
  mesh.wait_until_ready();
  for (int deaths = 0; deaths < 3; ++deaths) {
    const auto old = mesh.id_of("cache-1");
    if (old > 0) ::kill(old, SIGKILL);
    CHECK(mesh.is_replaced("cache-1", old));
  }
  const auto said = mesh.parent().output();
  CHECK_MESSAGE(said.find("100 ms") != std::string::npos, said);
  CHECK_MESSAGE(said.find("200 ms") != std::string::npos, said);
  CHECK(answers(mesh.gateway()));
}
