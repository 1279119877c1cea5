// Many inferences: many ENDPOINT [ENDPOINT]... A callback, a future, an ordered map from a function, a stream from a
// range, and a stop token that ends one.
#include <atomic>
#include <iostream>
#include <ranges>
#include <vector>

#include <shoal/client.hpp>

namespace sc = shoal::client;

namespace {

sc::request numbered(int i) {
  return {"identity", {sc::tensor("x", {1, 2}, {static_cast<float>(i), static_cast<float>(-i)})}};
}

int fail(const sc::error& why) {
  std::cerr << name_of(why.code) << ": " << why.message << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace std::chrono_literals;

  sc::options with;
  with.max_in_flight = 128;
  auto mesh = sc::connect(std::vector<std::string>(argv + 1, argv + argc), with);
  if (!mesh) return fail(mesh.error());
  const auto models = mesh->models();
  if (!models) return fail(models.error());
  for (const auto& each : *models) std::cout << each.name << "/" << each.version << "\n";

  auto future = mesh->infer_async(numbered(1), {.deadline = 2s});
  std::atomic<bool> told = false;
  mesh->infer_async(numbered(2), [&](sc::expected<sc::result> came) {  // on the mesh's own thread: be short
    told = came.has_value();
    told.notify_one();
  });
  if (const auto came = future.get(); !came) return fail(came.error());
  told.wait(false);

  // Ordered, from a function that gives requests until it gives none.
  int next = 0;
  double sum = 0;
  for (auto& each : mesh->map([&]() -> std::optional<sc::request> {
         if (next == 1000) return std::nullopt;
         return numbered(next++);
       })) {
    if (!each) return fail(each.error());
    sum += (*each->view<float>("y"))[0];
  }
  std::cout << "sum " << sum << "\n";

  // As they come, from a range; ended by a stop token after the first hundred.
  std::stop_source stop;
  int answered = 0, cancelled = 0;
  const auto endless = std::views::iota(0) | std::views::transform(numbered);
  for (auto& each : mesh->stream(endless, {.deadline = 5s, .stop = stop.get_token()}, 32)) {
    if (each.result && ++answered == 100) stop.request_stop();
    if (!each.result) {
      if (each.result.error().code != sc::errc::cancelled) return fail(each.result.error());
      ++cancelled;
    }
  }
  std::cout << "answered at least 100: " << (answered >= 100) << ", taken back at most 32: " << (cancelled <= 32)
            << "\n";
}
