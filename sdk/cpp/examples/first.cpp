// One inference: first [ENDPOINT], by default that of `shoal up`.
#include <iostream>

#include <shoal/client.hpp>

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  namespace sc = shoal::client;

  auto mesh = sc::connect(argc > 1 ? argv[1] : "tcp://127.0.0.1:8002");
  if (!mesh) {
    std::cerr << mesh.error().message << "\n";
    return 1;
  }
  const auto answer = mesh->infer({"identity", {sc::tensor("x", {1, 3}, {1.f, 2.f, 3.f})}}, {.deadline = 2s});
  if (!answer) {
    std::cerr << name_of(answer.error().code) << ": " << answer.error().message << "\n";
    return 1;
  }
  const auto y = answer->view<float>("y");
  if (!y) {
    std::cerr << y.error().message << "\n";
    return 1;
  }
  for (const float each : *y) std::cout << each << " ";
  std::cout << "after " << answer->compute_time.count() << " us of computing\n";
}
