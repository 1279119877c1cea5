// `shoal up --processes` with real processes: all of them come up and answer, die, freeze, are replaced, and end.
#include <csignal>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "link/client.hpp"
#include "mesh/mesh_of_processes.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

/// Asks until it is answered: who asks a mesh whose services die tries again.
bool answers(const mesh_of_processes& mesh, int gateway_number = 1, milliseconds limit = 10s) {
  const auto until = steady::now() + limit;
  while (steady::now() < until) {
    auto client = link::client::connect(mesh.gateway(gateway_number), 1s);
    if (!client) continue;
    protocol::infer request;
    request.model = "identity";
    request.inputs = {matrix(2, 3, "x", 1)};
    if ((*client)->infer(request, 1s).result) return true;
  }
  return false;
}

bool is_gone(pid_t pid) {
  const auto until = steady::now() + 5s;
  while (steady::now() < until) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    // A zombie has ended: whoever inherited it collects it when it likes.
    if (text.empty() || text.find(") Z") != std::string::npos) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("two of each service come up, are listed, answer at every gateway, and end in order with nothing left") {
  mesh_of_processes mesh(two_of_each());
  const auto line = mesh.wait_until_ready();
  CHECK(times(line, " native=tcp://127.0.0.1:") == 2);
  CHECK(line.find("native=" + mesh.gateway(1)) != std::string::npos);
  CHECK(line.find("native=" + mesh.gateway(2)) != std::string::npos);
  CHECK(line.find(" models=2") != std::string::npos);
  const auto ids = mesh.ids();
  CHECK(ids.size() == 9);  // and a precision service
  CHECK(answers(mesh, 1));
  CHECK(answers(mesh, 2));
  mesh.parent().signal(SIGINT);
  CHECK(mesh.parent().wait(20s) == 0);
  // Measured batch times are for the next mesh; nothing else is left.
  for (const auto& left : std::filesystem::directory_iterator(mesh.run()))
    CHECK(left.path().filename() == "profiles.json");
  for (const auto& [name, pid] : ids) {
    INFO(name);
    CHECK(is_gone(pid));
  }
}

TEST_CASE("a service of any kind that is killed is started again and requests succeed") {
  mesh_of_processes mesh(two_of_each());
  mesh.wait_until_ready();
  for (const std::string name : {"worker-1", "scheduler-1", "cache-1", "gateway-1"}) {
    INFO(name << "\n" << mesh.parent().output());
    const auto old = mesh.id_of(name);
    REQUIRE(old > 0);
    ::kill(old, SIGKILL);
    CHECK(mesh.is_replaced(name, old));
    CHECK(answers(mesh, 1));
    CHECK(answers(mesh, 2));
  }
  CHECK(mesh.parent().output().find("ended with signal 9") != std::string::npos);
}

TEST_CASE("a service of any kind that is frozen is noticed and replaced, and a frozen one does not keep the mesh") {
  mesh_of_processes mesh({"--scale", "cache=1", "--set", "mesh.watchdog_ms=1000"});
  mesh.wait_until_ready();
  for (const std::string name : {"worker-1", "scheduler-1", "cache-1", "gateway-1"}) {
    INFO(name << "\n" << mesh.parent().output());
    const auto old = mesh.id_of(name);
    REQUIRE(old > 0);
    ::kill(old, SIGSTOP);
    CHECK(mesh.is_replaced(name, old));
    CHECK(answers(mesh));
  }
  CHECK(times(mesh.parent().output(), "gave no sign of life") == 4);
  ::kill(mesh.id_of("worker-1"), SIGSTOP);
  mesh.parent().signal(SIGTERM);
  CHECK(mesh.parent().wait(20s) == 0);
}

TEST_CASE("the death of the parent leaves no process, a frozen one neither, and the next mesh starts in its place") {
  std::vector<std::pair<std::string, pid_t>> ids;
  mesh_of_processes mesh({"--scale", "scheduler=2"});
  mesh.wait_until_ready();
  ids = mesh.ids();
  CHECK(ids.size() >= 4);
  ::kill(mesh.id_of("scheduler-2"), SIGSTOP);
  mesh.parent().signal(SIGKILL);
  CHECK(mesh.parent().wait(5s) == 128 + SIGKILL);
  for (const auto& [name, pid] : ids) {
    INFO(name);
    CHECK(is_gone(pid));
  }
  process next(mesh.command({}), mesh.folder() / "next.log");
  CHECK_MESSAGE(!next.wait_for_line("ready", 30s).empty(), next.output());
  CHECK_FALSE(std::filesystem::exists(mesh.run() + "/scheduler-2"));
  CHECK(answers(mesh));
}

TEST_CASE("a second mesh in the same run directory, and a port that is taken, are refused with a sentence") {
  mesh_of_processes mesh;
  mesh.wait_until_ready();
  process second(mesh.command({}), mesh.folder() / "second.log");
  CHECK(second.wait(20s) == 4);
  CHECK(second.output().find("another mesh (process " + std::to_string(mesh.parent().id()) + ")") != std::string::npos);

  const int taken = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(taken, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(taken, 1) == 0);
  REQUIRE(::getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const auto door = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  process third(mesh.command({"--set", "mesh.run_directory=" + mesh.folder() / "other", "--http", door}),
                mesh.folder() / "third.log");
  CHECK(third.wait(20s) == 2);  // an option given twice
  process fourth(
      {executable("shoal"), "up", "--processes", "--models", models_folder(), "--native", "tcp://127.0.0.1:0", "--grpc",
       "127.0.0.1:0", "--http", door, "--set", "mesh.run_directory=" + mesh.folder() / "other"},
      mesh.folder() / "fourth.log");
  CHECK(fourth.wait(20s) == 4);
  CHECK(fourth.output().find(door + " is in use") != std::string::npos);
  ::close(taken);
}

TEST_CASE(
    "a worker and a scheduler that are started by hand join through the run directory, and no address is taken twice") {
  mesh_of_processes mesh({"--scale", "worker=1"});
  mesh.wait_until_ready();
  process scheduler({executable("shoal-scheduler"), "--set", "scheduler.listen=ipc://" + mesh.run() + "/scheduler-9",
                     "--set", "scheduler.metrics="},
                    mesh.folder() / "scheduler.log");
  process worker({executable("shoal-worker"), "--set", "worker.models=" + models_folder(), "--set",
                  "worker.schedulers=ipc://" + mesh.run() + "/scheduler-*", "--set",
                  "worker.gateways=ipc://" + mesh.run() + "/gateway-*", "--set", "worker.metrics="},
                 mesh.folder() / "worker.log");
  auto client = link::client::connect(mesh.gateway(), 5s);
  REQUIRE(client);
  const auto services_of = [&](const std::string& kind) {
    std::size_t count = 0;
    if (const auto report = (*client)->inquire(2s))
      for (const auto& each : report->services) count += each.service == kind ? 1 : 0;
    return count;
  };
  const auto until = steady::now() + 20s;
  while ((services_of("worker") < 2 || services_of("scheduler") < 2) && steady::now() < until)
    std::this_thread::sleep_for(50ms);
  CHECK(services_of("worker") == 2);
  CHECK(services_of("scheduler") == 2);
  process usurper({executable("shoal-scheduler"), "--set", "scheduler.listen=ipc://" + mesh.run() + "/scheduler-9",
                   "--set", "scheduler.metrics="},
                  mesh.folder() / "usurper.log");
  CHECK(usurper.wait(10s) == 1);
  CHECK(usurper.output().find("another service listens there") != std::string::npos);
}

TEST_CASE("wrong counts and a run directory that cannot be are refused with exit code 2 and a sentence") {
  scratch_folder folder;
  const auto refused = [&](std::vector<std::string> more, const std::string& sentence) {
    std::vector<std::string> command{executable("shoal"), "up", "--models", models_folder()};
    command.insert(command.end(), more.begin(), more.end());
    const auto log = folder / (std::to_string(std::hash<std::string>{}(more.back())) + ".log");
    process started(command, log);
    INFO(more.back());
    CHECK(started.wait(20s) == 2);
    CHECK_MESSAGE(started.output().find(sentence) != std::string::npos, started.output());
  };
  refused({"--processes", "--scale", "foo=2"}, "write SERVICE=N");
  refused({"--processes", "--scale", "worker=0"}, "the number must be from 1 to 64");
  refused({"--processes", "--scale", "worker=x"}, "the number must be from 1 to 64");
  refused({"--processes", "--scale", "worker"}, "write SERVICE=N");
  refused({"--scale", "worker=2"}, "--processes");
  refused({"--processes", "--set", "mesh.run_directory=/tmp/" + std::string(120, 'a')}, "is too long");
}

TEST_CASE("a worker that starts while one of two caches is frozen serves all the same") {
  mesh_of_processes mesh({"--scale", "cache=2", "--scale", "worker=1"});
  mesh.wait_until_ready();
  const auto cache = mesh.id_of("cache-2");
  const auto worker = mesh.id_of("worker-1");
  ::kill(cache, SIGSTOP);
  ::kill(worker, SIGKILL);
  CHECK(mesh.is_replaced("worker-1", worker));
  CHECK(answers(mesh, 1, 20s));
  CHECK(mesh.is_replaced("cache-2", cache));
}
