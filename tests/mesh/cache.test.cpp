// The cache as a process: killed, restarted, its files taken away, while workers go on.
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include <doctest/doctest.h>

#include "mesh/services.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

protocol::infer sentence() {
  protocol::infer request;
  request.model = "minilm";
  const auto ids = [](const char* name, std::int64_t first) {
    tensor made{name, dtype::int64, {1, 4}, {}};
    made.data = buffer::make(4 * sizeof(std::int64_t), [&](std::byte* to) {
      for (int i = 0; i < 4; ++i) {
        const auto value = first == 1 ? 1 : first + i;
        std::memcpy(to + i * sizeof value, &value, sizeof value);
      }
    });
    return made;
  };
  request.inputs = {ids("input_ids", 2000), ids("attention_mask", 1)};
  return request;
}

/// The figure summed over the services of that kind, and how many of them there are.
std::pair<double, int> figure(link::client& client, const std::string& kind, const std::string& name) {
  std::pair<double, int> sum;
  if (const auto report = client.inquire(2s))
    for (const auto& service : report->services) {
      if (service.service != kind) continue;
      ++sum.second;
      for (const auto& each : service.figures) sum.first += each.name == name ? each.value : 0;
    }
  return sum;
}

template <class Condition>
bool comes_true(Condition&& condition) {
  for (const auto until = steady::now() + 30s; steady::now() < until; std::this_thread::sleep_for(50ms))
    if (condition()) return true;
  return false;
}

}  // namespace

TEST_CASE("a worker goes on when its cache is killed, and what comes after maps what the first one gave") {
  scratch_folder folder;
  fs::create_directories(folder.path() / "models/minilm/1");
  for (const auto* file : {"model.pt2", "model.toml"})
    fs::copy_file(models_folder() + "/minilm/1/" + file, folder.path() / "models/minilm/1" / file);
  services mesh({{"worker", {"--set", "worker.models=" + folder / "models"}}});
  mesh.start_scheduler();
  mesh.start_gateway();
  mesh.start_cache();
  mesh.start_worker();
  auto client = mesh.connect();
  mesh.wait_for_model(*client, "minilm");
  const auto first = client->infer(sentence(), 20s);
  REQUIRE_MESSAGE(first.result, first.result.error().message);
  const auto is_same = [&] {
    const auto again = client->infer(sentence(), 20s);
    if (!again.result) MESSAGE(again.result.error().message);
    return again.result && again.result->size() == first.result->size() &&
           std::ranges::equal(again.result->front().data.bytes(), first.result->front().data.bytes());
  };
  CHECK(comes_true([&] {
    return figure(*client, "worker", "shoal_worker_objects_published_total").first >= 100 &&
           figure(*client, "cache", "shoal_cache_disk_bytes").first > 80e6;
  }));

  mesh.cache().kill();
  CHECK(is_same());
  mesh.start_cache();
  const auto second = mesh.start_worker();
  CHECK(comes_true([&] { return figure(*client, "worker", "shoal_worker_objects_mapped_total").first >= 100; }));
  CHECK(comes_true([&] { return figure(*client, "cache", "shoal_cache_adopted_total").first >= 100; }));
  mesh.worker(0).kill();
  CHECK(comes_true([&] { return figure(*client, "worker", "").second == 1; }));
  CHECK(is_same());

  // The tmpfs is lost as well: what the worker has mapped stays, and what it has mapped is leased and filled anew.
  mesh.cache().kill();
  for (const auto& entry : fs::directory_iterator(mesh.cache_memory()))
    if (entry.is_regular_file()) fs::remove(entry.path());
  CHECK(is_same());
  mesh.start_cache();
  CHECK(comes_true([&] {
    return figure(*client, "cache", "shoal_cache_fills_total").first >= 100 &&
           figure(*client, "cache", "shoal_cache_leases").first >= 100;
  }));
  CHECK(is_same());
  mesh.worker(second).signal(SIGTERM);
  CHECK(mesh.worker(second).wait(15s) == 0);
  mesh.cache().signal(SIGTERM);
  CHECK(mesh.cache().wait(15s) == 0);
}

TEST_CASE(
    "`shoal up` runs a cache if told where, shows it in `shoal status cache`, and goes on without one that cannot "
    "start") {
  scratch_folder folder;
  const auto up = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> command{
        executable("shoal"), "up",     "--models",    folder / "models", "--http",
        "127.0.0.1:0",       "--grpc", "127.0.0.1:0", "--native",        "ipc://" + folder / name};
    command.insert(command.end(), more.begin(), more.end());
    return process(std::move(command), folder / (name + ".log"));
  };
  fs::create_directories(folder.path() / "models/identity");
  fs::copy(models_folder() + "/identity/1", folder.path() / "models/identity/1");
  const std::vector<std::string> cached{"--set", "cache.ssd=" + folder / "disk", "--set",
                                        "cache.dram=" + folder / "memory"};
  auto one = up("one", cached);
  REQUIRE_MESSAGE(!one.wait_for_line("ready", 30s).empty(), one.output());
  auto two = up("two", cached);  // the disk folder is used by the first
  REQUIRE_MESSAGE(!two.wait_for_line("ready", 30s).empty(), two.output());
  CHECK(two.output().find("used by another instance") != std::string::npos);
  CHECK(two.output().find("goes on without a cache") != std::string::npos);
  const auto status = [&](const std::string& of) {
    process asked({executable("shoal"), "status", "cache", "--at", "ipc://" + folder / of}, folder / (of + ".status"));
    const auto code = asked.wait(20s).value_or(-1);
    return std::pair(code, asked.output());
  };
  CHECK(comes_true([&] { return status("one").first == 0; }));
  CHECK(status("one").second.find("shoal_cache_memory_budget_bytes") != std::string::npos);
  CHECK(status("one").second.find("shoal_gateway") == std::string::npos);
  CHECK(status("two").first == 3);
  CHECK(status("two").second.find("no cache reports") != std::string::npos);
  one.signal(SIGTERM);
  CHECK(one.wait(15s) == 0);
  two.signal(SIGTERM);
  CHECK(two.wait(15s) == 0);
}
