#include <boost/asio/dispatch.hpp>

#include "http/pending_answer.hpp"

namespace shoal::http {

pending_answer::~pending_answer() {
  post([] { return error_response(500, "the request was dropped without an answer; this is a defect of the server"); });
}

void pending_answer::post(std::function<response()> make, bool aside) {
  if (answered.exchange(true)) return;
  // The task must not own the environment: it may wait in the environment's own queue for ever, once that has stopped.
  boost::asio::dispatch(shared->io, [asker = asker, make = std::move(make), aside] {
    auto connection = asker.lock();
    if (!connection) return;
    if (aside) return connection->answer_aside(make);
    try {
      connection->answer(make());
    } catch (const std::exception& defect) {
      connection->answer(error_response(500, std::string("the answer could not be built: ") + defect.what()));
    }
  });
}

responder::responder(std::shared_ptr<pending_answer> pending) : pending_(std::move(pending)) {}

void responder::operator()(response answer) const {
  pending_->post([answer = std::move(answer)]() mutable { return std::move(answer); });
}

void responder::build(std::function<response()> make) const { pending_->post(std::move(make)); }

void responder::build_aside(std::function<response()> make) const { pending_->post(std::move(make), true); }

void responder::aside(std::function<void()> work, std::function<void()> then) const {
  if (auto connection = pending_->asker.lock()) connection->aside(std::move(work), std::move(then));
}

void responder::on_disconnect(std::function<void()> gone) const {
  if (auto connection = pending_->asker.lock()) connection->on_disconnect(std::move(gone));
}

}  // namespace shoal::http
