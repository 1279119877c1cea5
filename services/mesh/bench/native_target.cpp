// The native door, by the client that the SDK and the other verbs use. No retries: every request is one that the load
// generator wanted.
#include <unordered_map>

#include "access/key_file.hpp"
#include "gateway/admission.hpp"
#include "link/client.hpp"
#include "services/mesh/bench/mailbox.hpp"

namespace shoal::services::bench {

namespace {

/// The protocol gives every request a time; without --deadline it is the gateways' own default (gateway_state.hpp), so
/// that all three doors are asked for the same.
constexpr milliseconds default_deadline{10000};
constexpr milliseconds patience{1000};

class native_target final : public target {
 public:
  native_target(std::unique_ptr<link::client> client, const target_options& options)
      : client_(std::move(client)), check_(options.check) {}
  ~native_target() override { client_.reset(); }  // what is in flight ends into the mailbox, which is there until then

  expected<model_interface> describe(const std::string& model, std::uint64_t version, milliseconds within) override {
    if (!models_.is_known) {
      auto told = client_->describe(within);
      if (!told) return tl::unexpected(told.error());
      models_ = {std::move(*told), true};
    }
    const auto spec = gateway::find_model(models_, model, version);
    if (!spec) return tl::unexpected(spec.error());
    outputs_[model] = (*spec)->outputs;
    return model_interface{(*spec)->inputs, (*spec)->outputs};
  }

  expected<std::size_t> prepare(const call& request) override {
    protocol::infer made;
    made.model = request.model;
    made.version = request.version;
    made.priority = request.priority;
    made.time_left = request.deadline;
    made.inputs = request.inputs;
    std::size_t bytes = 0;
    for (const auto& input : made.inputs) bytes += input.data.size();
    prepared_.push_back(std::move(made));
    return bytes;
  }

  ticket send(std::size_t prepared) override {
    const auto which = ++last_;
    const auto& request = prepared_[prepared];
    // What the mesh does with a deadline shall be seen: the client's own timer is later.
    const auto within = request.time_left.count() > 0 ? std::chrono::ceil<milliseconds>(request.time_left) + patience
                                                      : default_deadline;
    const auto id =
        client_->submit(request, within, [this, which](protocol::outcome outcome) { hear(which, std::move(outcome)); });
    open_.emplace(which, id);
    return which;
  }

  void poll(time_point until, std::vector<ended>& into) override {
    const auto before = into.size();
    mailbox_.take(until, into);
    for (auto i = before; i < into.size(); ++i) open_.erase(into[i].which);
  }

  void abandon() override {
    for (const auto& [which, id] : open_) client_->cancel(id);
    open_.clear();
  }

 private:
  /// On the link's thread.
  void hear(ticket which, protocol::outcome outcome) {
    ended one;
    one.which = which;
    one.at = steady::now();
    if (!outcome.result) {
      one.failure = outcome.result.error().code;
      one.reason = outcome.result.error().message;
    } else {
      for (const auto& output : *outcome.result) one.bytes += output.data.size();
      if (check_) one.reason = why_wrong_outcome(outcome);
      if (!one.reason.empty()) one.failure = errc::corrupt;
    }
    mailbox_.put(std::move(one));
  }

  std::string why_wrong_outcome(const protocol::outcome& outcome) const {
    std::vector<output_size> outputs;
    for (const auto& output : *outcome.result)
      outputs.push_back({output.name, output.type, output.dims, output.data.size()});
    const auto specs = outputs_.find(outcome.model);
    return why_wrong(outputs, specs == outputs_.end() ? std::vector<protocol::tensor_spec>{} : specs->second);
  }

  mailbox mailbox_;
  std::unique_ptr<link::client> client_;
  const bool check_;
  gateway::model_list models_;
  std::unordered_map<std::string, std::vector<protocol::tensor_spec>> outputs_;  ///< not changed once requests are sent
  std::vector<protocol::infer> prepared_;
  std::unordered_map<ticket, protocol::request_id> open_;
  ticket last_ = 0;
};

}  // namespace

expected<std::unique_ptr<target>> connect_native(const target_options& options) {
  auto identity = access::client_identity(options.key);
  if (!identity) return tl::unexpected(identity.error());
  link::options own;
  own.identity = std::move(*identity);
  auto client = link::client::connect(options.endpoint, options.timeout, std::move(own));
  if (!client) return tl::unexpected(client.error());
  return std::make_unique<native_target>(std::move(*client), options);
}

}  // namespace shoal::services::bench
