// shoal-supervisor: what `shoal up --processes` becomes once it has planned the mesh. Not to be started by hand.
#include <charconv>
#include <cstring>
#include <iostream>

#include <fcntl.h>
#include <unistd.h>

#include "services/host/program.hpp"
#include "services/mesh/supervisor.hpp"

namespace {

shoal::expected<shoal::services::process_plan> read_plan(const char* argument) {
  int descriptor = -1;
  const auto* const end = argument + std::strlen(argument);
  const auto [at, failed] = std::from_chars(argument, end, descriptor);
  std::string text;
  char bytes[4096];
  if (failed == std::errc{} && at == end)
    for (ssize_t size = 0; (size = ::read(descriptor, bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<std::size_t>(size));
  if (!text.empty()) ::close(descriptor);
  return shoal::services::process_plan::from_json(text);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace shoal::services;
  auto plan = argc == 2 ? read_plan(argv[1]) : shoal::fail(shoal::errc::invalid_argument, "no plan was given");
  if (!plan) {
    std::cerr << "shoal-supervisor is started by `shoal up --processes`: " << plan.error().message << "\n";
    return usage;
  }
  const signals ending;
  ::setenv(instance_variable, "mesh", 1);
  if (auto logging = start_logging(plan->log_level); !logging) {
    std::cerr << logging.error().message << "\n";
    return usage;
  }
  for (const int descriptor : plan->held) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  supervisor mesh(std::move(*plan));
  if (auto ran = mesh.run(); !ran) {
    std::cerr << "shoal: " << ran.error().message << "\n";
    return failed;
  }
  return success;
}
