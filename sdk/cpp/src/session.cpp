#include "session.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "translate.hpp"

namespace shoal::client::detail {

namespace {

/// For the gateway's own word on a deadline, which says more than ours.
constexpr milliseconds grace{50};
/// Longer deadlines are cut to this: 12 days, what the wire can tell.
constexpr milliseconds longest{std::int64_t{1} << 30};

/// A request that a stop token may end. The token may be quicker than `submit` is with the id.
struct stopping {
  struct on_stop {
    std::shared_ptr<stopping> whom;
    link::client* client;
    void operator()() const noexcept { whom->stop(*client); }
  };

  void stop(link::client& client) noexcept {
    std::unique_lock lock(mutex);
    stopped = true;
    const auto known = id;
    lock.unlock();
    if (known != 0) client.cancel(known);
  }
  void begun(protocol::request_id as, link::client& client) {
    std::unique_lock lock(mutex);
    id = as;
    const bool late = stopped;
    lock.unlock();
    if (late) client.cancel(as);
  }

  std::mutex mutex;
  protocol::request_id id = 0;
  bool stopped = false;
};

error local(errc code, std::string message) {
  return {code, std::move(message), code == errc::overloaded || code == errc::unavailable, {}, 0};
}

error deadline_is_over() {
  return local(errc::deadline_exceeded, "no room was found in the window within the time given");
}
error was_stopped() { return local(errc::cancelled, "the request was taken back"); }

}  // namespace

error window_is_full() {
  return local(errc::overloaded,
               "as many requests are in flight as options::max_in_flight and max_in_flight_bytes allow");
}

expected<std::shared_ptr<session>> session::open(const std::vector<std::string>& endpoints, const options& with) {
  const auto wrong = [](const char* what) { return tl::unexpected(local(errc::invalid_argument, what)); };
  if (endpoints.empty()) return wrong("connect needs the endpoint of at least one gateway");
  if (with.max_in_flight == 0) return wrong("options::max_in_flight must be at least 1");
  if (with.default_deadline <= milliseconds::zero()) return wrong("options::default_deadline must be more than 0");
  if (with.heartbeat <= milliseconds::zero()) return wrong("options::heartbeat must be more than 0");
  if (!(with.retry_ratio >= 0 && with.retry_ratio <= 100)) return wrong("options::retry_ratio must be within [0, 100]");

  link::client_policy policy;
  policy.waits = with.wait_for_gateway;
  policy.queues = policy.retries = true;
  policy.retry_ratio = with.retry_ratio;
  policy.retry_reserve = with.retry_reserve;
  policy.grace = grace;
  link::options own;
  own.heartbeat = with.heartbeat;
  own.last_retry = std::chrono::milliseconds(500);  // a gateway that is back is to be found while requests have time
  auto identity = access::client_identity(with.key);
  if (!identity) return tl::unexpected(to_user(identity.error()));
  own.identity = std::move(*identity);
  auto made = link::client::connect(endpoints, with.connect_within, policy, std::move(own));
  if (!made) return tl::unexpected(to_user(made.error()));
  return std::shared_ptr<session>(new session(with, std::move(*made)), [](session* last) {
    if (last->client_->on_own_thread())
      std::thread([last] { delete last; }).detach();  // let go in a callback: that thread cannot wait for its own end
    else
      delete last;
  });
}

void session::fail(done on_result, error why) {
  client_->post([tell = std::move(on_result), why = std::move(why)] { tell(tl::unexpected(why)); });
}

bool session::submit(request& what, const call& how, done& on_result, full when) {
  const auto now = steady::now();
  const auto within = std::clamp(how.deadline == milliseconds::zero() ? options_.default_deadline : how.deadline,
                                 milliseconds::zero(), longest);
  const auto due = now + within;
  const auto size = input_bytes(what);
  if (!size) {
    fail(std::move(on_result), size.error());
    return true;
  }
  const auto bytes = *size;
  if (how.stop.stop_requested()) {
    fail(std::move(on_result), was_stopped());
    return true;
  }
  auto left = within;
  if (!window_.try_take(bytes)) {
    if (when == full::refuses) return false;
    if (!window_.take_by(bytes, due, how.stop)) {
      fail(std::move(on_result), how.stop.stop_requested() ? was_stopped() : deadline_is_over());
      return true;
    }
    left = std::chrono::duration_cast<milliseconds>(due - steady::now());
  }

  auto body = to_mesh(std::move(what), how.priority);
  if (!how.stop.stop_possible()) {
    client_->submit(std::move(body), left, [this, bytes, tell = std::move(on_result)](protocol::outcome ended) {
      window_.give_back(bytes);
      tell(to_user(std::move(ended)));
    });
    return true;
  }
  const auto handle = std::make_shared<stopping>();
  const auto registered =
      std::make_shared<std::stop_callback<stopping::on_stop>>(how.stop, stopping::on_stop{handle, client_.get()});
  const auto id = client_->submit(std::move(body), left,
                                  [this, bytes, registered, tell = std::move(on_result)](protocol::outcome ended) {
                                    window_.give_back(bytes);
                                    tell(to_user(std::move(ended)));
                                  });
  handle->begun(id, *client_);
  return true;
}

}  // namespace shoal::client::detail
