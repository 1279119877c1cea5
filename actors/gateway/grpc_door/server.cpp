#include "gateway/grpc_door/server.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "gateway/grpc_door/call.hpp"
#include "gateway/grpc_door/log.hpp"

namespace shoal::gateway::grpc_door {

namespace {

/// "HOST:" or "[IPV6]:" of an address. Errors: invalid_argument.
expected<std::string> host_of(const std::string& address) {
  const auto colon = address.rfind(':');
  const auto port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool is_number = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number || colon == 0 || std::stoi(port) > 65535 || address.find_first_of("/,") != std::string::npos)
    return fail(
        errc::invalid_argument,
        "'" + address + "' is no address for the gRPC door: HOST:PORT or [IPV6]:PORT, for example 127.0.0.1:8001");
  return address.substr(0, colon + 1);
}

std::shared_ptr<grpc::ServerCredentials> credentials_of(const options& wanted) {
  if (wanted.certificate.empty()) return grpc::InsecureServerCredentials();
  constexpr unsigned seconds = 1;
  grpc::experimental::TlsServerCredentialsOptions files(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(wanted.certificate_key, wanted.certificate,
                                                                           seconds));
  files.watch_identity_key_cert_pairs();
  files.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return grpc::experimental::TlsServerCredentials(files);
}

}  // namespace

class service final : public grpc::CallbackGenericService {
 public:
  explicit service(environment& shared) : shared_(shared) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return call::begin(shared_, *context);
  }

 private:
  environment& shared_;
};

class server::running {
 public:
  running(const options& wanted, front& behind) : shared_(behind, wanted), service_(shared_) {}
  ~running() { stop(std::chrono::milliseconds(0)); }

  expected<void> listen(const options& wanted) {
    const auto host = host_of(wanted.address);
    if (!host) return tl::unexpected(host.error());
    const auto& limits = wanted.limits;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(wanted.address, credentials_of(wanted), &port);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<std::size_t>(limits.message_bytes, INT32_MAX)));
    builder.SetResourceQuota(grpc::ResourceQuota("grpc_door").Resize(limits.message_bytes_total));
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, wanted.reuse_port ? 1 : 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(limits.header_bytes));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               static_cast<int>(std::min(limits.streams_per_connection, limits.calls)));
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);  // message_bytes.hpp
    const auto ms = [](std::chrono::milliseconds time) { return static_cast<int>(time.count()); };
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, ms(limits.handshake_time));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, ms(limits.connection_idle_time));
    // A client that is gone without a word is noticed, and its calls end.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0)
      return fail(errc::unavailable,
                  "the gRPC door cannot listen at " + wanted.address + ": it is in use, or no address of this machine");
    address_ = *host + std::to_string(port);
    clock_ = std::thread([this] { watch(); });
    return {};
  }

  void stop(std::chrono::milliseconds grace) {
    if (server_) {
      server_->Shutdown(std::chrono::system_clock::now() + grace);
      server_.reset();  // when the last call is over
    }
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    if (clock_.joinable()) clock_.join();
  }

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  /// Looks for calls whose time is over, four times in the shortest time there is, at most once a second.
  void watch() {
    const auto& limits = shared_.limits;
    const auto interval =
        std::min({limits.transfer_time / 4, limits.stream_idle_time / 4, std::chrono::milliseconds(1000)});
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, interval, [&] { return ended_; })) {
      std::vector<std::shared_ptr<call>> calls;
      {
        const std::lock_guard calls_lock(shared_.mutex);
        calls.assign(shared_.calls.begin(), shared_.calls.end());
      }
      const auto now = steady::now();
      for (const auto& each : calls) each->check(now);
    }
  }

  environment shared_;
  service service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread clock_;
};

expected<server> server::start(const options& wanted, front& behind) {
  log_as_we_do();
  auto instance = std::make_unique<running>(wanted, behind);
  if (auto listening = instance->listen(wanted); !listening) return tl::unexpected(listening.error());
  return server(std::move(instance));
}

server::server(std::unique_ptr<running> instance) : running_(std::move(instance)) {}
server::server(server&&) noexcept = default;
server::~server() = default;

const std::string& server::address() const noexcept { return running_->address(); }

void server::stop(std::chrono::milliseconds grace) {
  if (running_) running_->stop(grace);
}

}  // namespace shoal::gateway::grpc_door
