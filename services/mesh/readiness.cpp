#include "services/mesh/readiness.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include "gateway/probe.hpp"
#include "link/client.hpp"

namespace shoal::services {

namespace {
constexpr milliseconds pause{20};
constexpr milliseconds patience{1000};
}  // namespace

readiness::readiness(std::vector<std::string> gateways, std::size_t models)
    : gateways_(std::move(gateways)),
      models_(models),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

readiness::~readiness() {
  stopping_ = true;
  thread_.join();
  ::close(event_);
}

void readiness::run() {
  std::size_t serve = 0;
  for (const auto& gateway : gateways_) {
    std::optional<expected<std::size_t>> answer;
    while (!answer) {
      if (stopping_) return;
      answer = ask(gateway);
    }
    if (!*answer) {
      found_ = std::move(answer);
      break;
    }
    serve = **answer;
  }
  if (!found_) found_ = serve;
  ::eventfd_write(event_, 1);
}

/// Nothing: not yet, or it went away meanwhile.
std::optional<expected<std::size_t>> readiness::ask(const std::string& gateway) const {
  const auto client = link::client::connect(gateway, patience);
  if (!client) return std::nullopt;
  while (!stopping_ && (*client)->connected()) {
    const auto catalogue = (*client)->describe(patience);
    if (!catalogue) return std::nullopt;
    std::size_t ready = 0;
    std::size_t failed = 0;
    const protocol::model_spec* any = nullptr;
    for (const auto& model : catalogue->models) {
      if (model.state == protocol::model_state::failed) ++failed;
      if (model.state != protocol::model_state::ready) continue;
      ++ready;
      any = &model;
    }
    if (failed >= models_) return fail(errc::unavailable, "none of the models could be loaded (the reasons are above)");
    if (ready + failed >= models_ && any != nullptr && (*client)->infer(gateway::probe_of(*any), patience).result)
      return ready;
    std::this_thread::sleep_for(pause);
  }
  return std::nullopt;
}

}  // namespace shoal::services
