// The gateway as a service: its actor over a link that clients and workers reach, connected to the schedulers, and the
// HTTP and gRPC doors in front.
#pragma once

#include <caf/actor_system.hpp>

#include "core/config.hpp"
#include "gateway/gateway_actor.hpp"
#include "gateway/grpc_door/server.hpp"
#include "services/host/access_settings.hpp"
#include "services/host/node.hpp"

namespace shoal::services {

/// For the clients of the HTTP and gRPC doors to take what they are sent, after the last request has been answered.
inline constexpr milliseconds door_grace{1000};

struct gateway_settings {
  std::string http = "127.0.0.1:8000";  ///< empty: no HTTP door
  std::string grpc = "127.0.0.1:8001";  ///< empty: no gRPC door
  std::vector<std::string> listen = {"tcp://127.0.0.1:8002"};
  std::vector<std::string> schedulers = {"tcp://127.0.0.1:8003"};
  bool reuse_port = false;
  std::string certificate, certificate_key;  ///< PEM files, for TLS at both doors; empty: in the clear
  std::string anonymous = "refused";         ///< or "infer"
  std::string models;                        ///< the model directory, for its tokenizers; empty: none is here
  std::string metrics;                       ///< empty: only at the HTTP door
  milliseconds arrive{0};
  milliseconds leave{0};
  milliseconds drain{10000};
  std::size_t body_limit = std::size_t{64} << 20;
  milliseconds grpc_stream_idle{600'000};
  gateway::gateway_options gateway;
  access_settings access;

  /// Its own section; [access] is declared apart, once for all services of a process.
  void declare(config& keys);
};

class gateway_service {
 public:
  /// Returns when the HTTP and gRPC doors are open: when the mesh has answered an inference, at the latest after
  /// settings.arrive.
  static expected<std::unique_ptr<gateway_service>> start(caf::actor_system& system, const gateway_settings& settings);
  ~gateway_service();

  [[nodiscard]] bool ready() const { return front_->ready(); }
  [[nodiscard]] std::shared_ptr<const gateway::model_list> models() const { return front_->models(); }
  [[nodiscard]] std::string http_address() const { return http_ ? http_->address() : ""; }
  [[nodiscard]] std::string grpc_address() const { return grpc_ ? grpc_->address() : ""; }
  [[nodiscard]] std::vector<std::string> endpoints() const { return node_->endpoints(); }

  /// Serves on for settings.leave and says that it leaves; then refuses new requests, answers the old ones (at most
  /// settings.drain), closes the doors and the link.
  void stop();

 private:
  gateway_service() = default;
  expected<void> open_http(const gateway_settings& settings);
  expected<void> open_grpc(const gateway_settings& settings);

  caf::actor_system* system_ = nullptr;
  milliseconds leave_{};
  milliseconds drain_{};
  bool shares_doors_ = false;
  std::unique_ptr<node> node_;
  protocol::gateway_actor actor_;
  protocol::text_actor text_;
  std::shared_ptr<gateway::board> board_;
  std::unique_ptr<gateway::front> front_;
  std::optional<access::doorman> doorman_;
  std::optional<http::server> http_;
  std::optional<gateway::grpc_door::server> grpc_;
};

}  // namespace shoal::services
