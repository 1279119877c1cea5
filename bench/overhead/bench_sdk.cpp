// What the C++ SDK costs over the bare client of the link (actors/link/client.hpp), which it is built on: the same
// requests to the same processes over ipc, in turn within each round; medians over the rounds.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "mesh/services.hpp"
#include "overhead/load.hpp"
#include "shoal/client.hpp"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

void need(const shoal::client::expected<shoal::client::result>& came, std::size_t bytes) {
  if (!came) throw std::runtime_error(came.error().message);
  if (came->outputs.at(0).bytes().size() != bytes) throw std::runtime_error("the answer has another size");
}

class sdk_load final : public shoal::bench::load {
 public:
  sdk_load(const std::string& endpoint, std::size_t bytes) : bytes_(bytes), mesh_(connect(endpoint)) {
    const auto count = bytes / sizeof(float);
    request_.model = "identity";
    request_.inputs = {shoal::client::tensor("x", {1, static_cast<std::int64_t>(count)}, std::vector<float>(count))};
  }

  shoal::bench::latency one_by_one(int requests) override {
    std::vector<double> times;
    for (int i = -requests / 10; i < requests; ++i) {
      const auto begin = clock_type::now();
      need(mesh_.infer(request_), bytes_);
      if (i >= 0) times.push_back(std::chrono::duration<double, std::micro>(clock_type::now() - begin).count());
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times[times.size() * 99 / 100]};
  }

  double saturated(int requests, int window) override {
    const auto begin = clock_type::now();
    int left = requests;
    auto answers = mesh_.stream(
        [&]() -> std::optional<shoal::client::request> {
          if (left-- == 0) return std::nullopt;
          return request_;
        },
        {}, static_cast<std::size_t>(window));
    for (auto& each : answers) need(each.result, bytes_);
    return requests / std::chrono::duration<double>(clock_type::now() - begin).count();
  }

 private:
  static shoal::client::mesh connect(const std::string& endpoint) {
    auto made = shoal::client::connect(endpoint);
    if (!made) throw std::runtime_error(made.error().message);
    return std::move(*made);
  }

  std::size_t bytes_;
  shoal::client::mesh mesh_;
  shoal::client::request request_;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"bench_sdk: the C++ SDK against the client of the link that it is built on"};
  std::string file;
  int rounds = 5, requests = 2000;
  app.add_option("--json", file, "write the figures here");
  app.add_option("--rounds", rounds, "rounds; medians are taken over them")->check(CLI::Range(1, 100));
  app.add_option("--requests", requests, "one by one in each round; ten times as many saturated")
      ->check(CLI::Range(100, 1000000));
  CLI11_PARSE(app, argc, argv);
  std::map<std::string, std::vector<double>> figures;
  try {
    shoal::test::services mesh;
    mesh.start();
    for (int i = 0; i < rounds; ++i) {
      auto link = shoal::bench::native_load(mesh.endpoint(), 4096);
      sdk_load sdk(mesh.endpoint(), 4096);
      const auto a = link->one_by_one(requests);
      const auto b = sdk.one_by_one(requests);
      figures["link.4k.p50_us"].push_back(a.p50);
      figures["sdk.4k.p50_us"].push_back(b.p50);
      figures["link.4k.p99_us"].push_back(a.p99);
      figures["sdk.4k.p99_us"].push_back(b.p99);
      figures["sdk/link.4k.p50"].push_back(b.p50 / a.p50);
      const auto link_rate = link->saturated(10 * requests, 64);
      const auto sdk_rate = sdk.saturated(10 * requests, 64);
      figures["link.4k.rate"].push_back(link_rate);
      figures["sdk.4k.rate"].push_back(sdk_rate);
      figures["sdk/link.4k.rate"].push_back(sdk_rate / link_rate);
    }
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << "\n";
    return 1;
  }
  nlohmann::ordered_json json;
  std::printf("%-20s %12s %12s %12s\n", "figure", "median", "min", "max");
  for (auto& [name, values] : figures) {
    std::sort(values.begin(), values.end());
    std::printf("%-20s %12.2f %12.2f %12.2f\n", name.c_str(), values[values.size() / 2], values.front(), values.back());
    json["figures"][name] = {{"median", values[values.size() / 2]}, {"min", values.front()}, {"max", values.back()}};
  }
  if (!file.empty()) std::ofstream(file) << json.dump(2) << "\n";
}
