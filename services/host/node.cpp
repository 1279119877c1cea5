#include "services/host/node.hpp"

#include <random>

#include <spdlog/spdlog.h>

#include "http/observability.hpp"

namespace shoal::services {

namespace {

link::options with_log(link::options own) {
  own.log = [](link::log_level level, const std::string& sentence) {
    switch (level) {
      case link::log_level::debug: return spdlog::debug("{}", sentence);
      case link::log_level::warning: return spdlog::warn("{}", sentence);
      case link::log_level::error: return spdlog::error("{}", sentence);
    }
  };
  return own;
}

}  // namespace

node::node(caf::actor_system& system, const link::options& options)
    : link_(std::make_unique<link::zmq_link>(with_log(options))), loop_(system, [this] { link_->wake(); }) {}

expected<std::unique_ptr<node>> node::create(caf::actor_system& system, const link::options& options) {
  auto made = std::unique_ptr<node>(new node(system, options));
  const auto since_1970 = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
  made->figures_.gauge("shoal_service_start_time_seconds", "When this service started, in seconds since 1970")
      .Set(since_1970.count());
  if (auto bound = made->link_->bind(); !bound) return tl::unexpected(bound.error());
  return made;
}

node::~node() { stop(); }

void node::stop() {
  observability_.reset();
  loop_.stop();
  link_->stop();
}

expected<void> node::observe(const std::string& address, std::function<bool()> ready, std::function<bool()> leaving) {
  if (address.empty()) return {};
  http::options options;
  options.address = address;
  options.limits.connections = 64;
  options.limits.body_bytes = 0;
  auto server =
      http::server::start(options, http::observability(figures_.registry(), std::move(ready), std::move(leaving)));
  if (!server) return tl::unexpected(server.error());
  spdlog::info("metrics and health at http://{}", server->address());
  observability_.emplace(std::move(*server));
  return {};
}

protocol::instance_id new_instance() {
  std::random_device device;
  protocol::instance_id id = 0;
  while (id == 0) id = (static_cast<protocol::instance_id>(device()) << 32) | device();
  return id;
}

}  // namespace shoal::services
