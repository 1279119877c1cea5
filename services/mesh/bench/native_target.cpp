#include "gateway/admission.hpp"
#include "link/client.hpp"
#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

namespace {

class native final : public target {
 public:
  native(std::unique_ptr<link::client> client, milliseconds timeout) : client_(std::move(client)), timeout_(timeout) {}

  expected<protocol::model_spec> spec(const std::string& model, std::uint64_t version) override {
    const auto models = client_->describe(timeout_);
    if (!models) return tl::unexpected(models.error());
    const auto found = gateway::find_model(*models, model, version);
    if (!found) return tl::unexpected(found.error());
    return **found;
  }

  expected<void> prepare(std::vector<protocol::infer> requests) override {
    requests_ = std::move(requests);
    return {};
  }

  void send(std::size_t which, done on_end) override {
    client_->submit(requests_[which], timeout_, [on_end = std::move(on_end)](const protocol::outcome& outcome) {
      on_end(outcome.result ? std::nullopt : std::optional(outcome.result.error().code));
    });
  }

 private:
  std::vector<protocol::infer> requests_;
  std::unique_ptr<link::client> client_;
  milliseconds timeout_;
};

}  // namespace

expected<std::unique_ptr<target>> native_target(const std::string& address, milliseconds timeout) {
  auto client = link::client::connect(address, milliseconds(5000));
  if (!client) return tl::unexpected(client.error());
  return std::make_unique<native>(std::move(*client), timeout);
}

}  // namespace shoal::services::bench
