#include "services/gateway/gateway_service.hpp"

#include <thread>

#include <spdlog/spdlog.h>

#include "gateway/grpc_door/server.hpp"
#include "gateway/http_door/routes.hpp"
#include "gateway/text/text_actor.hpp"
#include "services/host/descriptors.hpp"

namespace shoal::services {

namespace {

/// Every connection is one; a gRPC call may have one of its own. Too few and no door takes a connection any more.
void warn_of_few_descriptors(const gateway_settings& settings) {
  constexpr std::size_t for_the_rest = 256;  // models, sockets of the mesh, native clients
  const auto wanted = (settings.http.empty() ? 0 : http::limits{}.connections) +
                      (settings.grpc.empty() ? 0 : gateway::grpc_door::limits{}.calls) + for_the_rest;
  const auto may = raise_descriptor_limit();
  if (may < wanted)
    spdlog::warn(
        "this process may have {} files open (ulimit -Hn), but the doors take up to {} connections: beyond that "
        "none of them can be reached. Raise the limit, for example LimitNOFILE= of systemd",
        may, wanted);
}

/// Whoever comes before the gateway knows any models can only be told to come again.
void wait_until_ready(const gateway::board& board, milliseconds most) {
  constexpr milliseconds step{10};
  const auto begun = steady::now();
  while (!board.ready(steady::now())) {
    if (steady::now() - begun >= most) {
      if (most > milliseconds(0)) spdlog::warn("the doors open before the mesh answers: {} ms are over", most.count());
      return;
    }
    std::this_thread::sleep_for(step);
  }
}

}  // namespace

void gateway_settings::declare(config& keys) {
  keys.key("gateway", "http", &http, "HOST:PORT of the HTTP door (Open Inference Protocol v2); empty: none")
      .key("gateway", "grpc", &grpc, "HOST:PORT of the gRPC door (Open Inference Protocol v2); empty: none")
      .key("gateway", "reuse_port", &reuse_port, "other gateways of this user may listen at the same doors")
      .key("gateway", "certificate", &certificate,
           "PEM file of the certificate and its chain, for TLS at the HTTP and gRPC doors; empty: in the clear")
      .key("gateway", "certificate_key", &certificate_key, "PEM file of the certificate's key")
      .key("gateway", "anonymous", &anonymous,
           "with access.allowed, what requests without a token may do at the HTTP and gRPC doors: refused: nothing; "
           "infer: what a token of the role client may")
      .key("gateway", "listen", &listen, "addresses where clients and workers reach this gateway natively")
      .key("gateway", "schedulers", &schedulers, "addresses of the schedulers; names are resolved again and again")
      .key("gateway", "models", &models,
           "the model directory, as the workers have it: for the tokenizers in it; empty: no text is taken")
      .key("gateway", "metrics", &metrics, "HOST:PORT for metrics and health; empty: only at the HTTP door")
      .key("gateway", "default_deadline_ms", &gateway.default_deadline, "for requests that bring none")
      .key("gateway", "max_deadline_ms", &gateway.max_deadline, "longer deadlines are cut to this")
      .key("gateway", "max_requests", &gateway.max_requests, "requests in flight; beyond that they are refused")
      .key("gateway", "max_bytes", &gateway.max_bytes, "payload bytes of requests in flight")
      .key("gateway", "inline_bytes", &gateway.inline_bytes, "larger payloads stay here until a worker fetches them")
      .key("gateway", "body_limit", &body_limit, "bytes of one HTTP body or gRPC message")
      .key("gateway", "grpc_stream_idle_ms", &grpc_stream_idle,
           "a gRPC stream that brings no request for so long is ended")
      .key("gateway", "probe_interval_ms", &gateway.probe_interval, "without traffic the mesh is probed this often")
      .key("gateway", "arrive_ms", &arrive,
           "so long at most the HTTP and gRPC doors stay shut until the mesh answers: for balancers, who ask another "
           "gateway meanwhile")
      .key("gateway", "leave_ms", &leave,
           "so long it serves on when it is told to end, and says that it is not ready: for balancers to notice")
      .key("gateway", "drain_ms", &drain, "time to answer what is in flight before it ends");
}

expected<std::unique_ptr<gateway_service>> gateway_service::start(caf::actor_system& system,
                                                                  const gateway_settings& settings) {
  if (settings.gateway.probe_interval < milliseconds(100))
    return fail(errc::invalid_argument, "gateway.probe_interval_ms must be 100 or more");
  if (settings.grpc_stream_idle < milliseconds(1000))
    return fail(errc::invalid_argument, "gateway.grpc_stream_idle_ms must be 1000 or more");
  if (settings.anonymous != "refused" && settings.anonymous != "infer")
    return fail(errc::invalid_argument, "gateway.anonymous must be refused or infer");
  const bool secured = !settings.certificate.empty();
  if (secured == settings.certificate_key.empty())
    return fail(errc::invalid_argument, "gateway.certificate and gateway.certificate_key go together: set both");
  // gRPC would only say so to its log.
  if (secured)
    if (auto right = http::check_certificate(settings.certificate, settings.certificate_key); !right)
      return tl::unexpected(right.error());
  warn_of_few_descriptors(settings);
  auto allowed = settings.access.book();
  if (!allowed) return tl::unexpected(allowed.error());
  auto identity = settings.access.enter(access::role::gateway, {{"gateway.listen", settings.listen},
                                                                {"gateway.http", {settings.http}, secured},
                                                                {"gateway.grpc", {settings.grpc}, secured},
                                                                {"gateway.metrics", {settings.metrics}}});
  if (!identity) return tl::unexpected(identity.error());
  auto service = std::unique_ptr<gateway_service>(new gateway_service);
  service->system_ = &system;
  service->drain_ = settings.drain;
  service->shares_doors_ = settings.reuse_port;
  service->doorman_.emplace(access::doorman::options{std::move(*allowed), settings.anonymous == "infer"});
  auto options = settings.gateway;
  options.instance = new_instance();
  link::options link;
  link.service = protocol::service_kind::gateway;
  link.identity = std::move(*identity);
  link.instance = options.instance;
  link.bind = settings.listen;
  auto made = node::create(system, link);
  if (!made) return tl::unexpected(made.error());
  service->node_ = std::move(*made);
  auto& node = *service->node_;
  auto board = service->board_ = std::make_shared<gateway::board>();
  service->actor_ = gateway::spawn_gateway(system, options, node.link(), board, node.figures());
  require(service->actor_, "gateway");
  gateway::text_options reading;
  reading.models = settings.models;
  service->text_ = gateway::spawn_text(system, node.loop(), service->actor_, std::move(reading), board, node.figures());
  require(service->text_, "text");
  node.loop().send(service->actor_, protocol::text_reader{service->text_});
  service->front_ = gateway::make_front(node.loop(), service->actor_, board);
  std::vector<std::pair<protocol::service_kind, std::string>> peers;
  for (const auto& address : settings.schedulers) peers.emplace_back(protocol::service_kind::scheduler, address);
  auto started = node.start(
      service->actor_, peers, settings.metrics, [board] { return board->ready(steady::now()); },
      [board] { return board->leaving.load(); });
  if (!started) return tl::unexpected(started.error());
  wait_until_ready(*board, settings.arrive);
  if (auto opened = service->open_http(settings); !opened) return tl::unexpected(opened.error());
  if (auto opened = service->open_grpc(settings); !opened) return tl::unexpected(opened.error());
  service->leave_ = settings.leave;  // before, nobody could have come
  return service;
}

expected<void> gateway_service::open_http(const gateway_settings& settings) {
  if (settings.http.empty()) return {};
  http::options door;
  door.address = settings.http;
  door.limits.body_bytes = settings.body_limit;
  door.certificate = settings.certificate;
  door.certificate_key = settings.certificate_key;
  door.gate = gateway::http_door::gate(*doorman_);
  door.reuse_port = settings.reuse_port;
  door.registry = node_->figures().registry();
  auto server = http::server::start(door, gateway::http_door::routes(*front_, {.registry = door.registry}));
  if (!server) return tl::unexpected(server.error());
  http_.emplace(std::move(*server));
  return {};
}

expected<void> gateway_service::open_grpc(const gateway_settings& settings) {
  if (settings.grpc.empty()) return {};
  gateway::grpc_door::options door;
  door.address = settings.grpc;
  door.limits.message_bytes = settings.body_limit;
  door.limits.stream_idle_time = settings.grpc_stream_idle;
  door.certificate = settings.certificate;
  door.certificate_key = settings.certificate_key;
  door.doorman = &*doorman_;
  door.reuse_port = settings.reuse_port;
  door.registry = node_->figures().registry();
  auto server = gateway::grpc_door::server::start(door, *front_);
  if (!server) return tl::unexpected(server.error());
  grpc_.emplace(std::move(*server));
  return {};
}

gateway_service::~gateway_service() {
  if (node_) stop();
}

void gateway_service::stop() {
  const bool leaves = leave_ > milliseconds(0) && !board_->leaving.exchange(true);
  if (leaves) std::this_thread::sleep_for(leave_);
  // What would come through a shared door meanwhile goes to the others, as it does where a balancer was told; an own
  // one stays open to refuse with a sentence.
  if (http_ && (shares_doors_ || leaves)) http_->close_door();
  if (actor_ && !drain(*system_, actor_, drain_))
    spdlog::warn("the gateway ends with requests in flight: drain_ms was over");
  const auto over = steady::now() + door_grace;
  const auto grace = [&] {
    return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(over - steady::now()));
  };
  if (http_) http_->stop(grace());
  if (grpc_) grpc_->stop(grace());
  node_->stop();
  end(*system_, actor_);
  end(*system_, text_);
}

}  // namespace shoal::services
