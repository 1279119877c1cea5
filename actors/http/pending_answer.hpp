// What the copies of one responder share: the way back to the connection, from any thread. Internal to actors/http.
#pragma once

#include <atomic>
#include <memory>

#include "http/connection.hpp"

namespace shoal::http {

struct pending_answer {
  pending_answer(std::shared_ptr<environment> shared, std::weak_ptr<connection> asker)
      : shared(std::move(shared)), asker(std::move(asker)) {}
  ~pending_answer();

  void post(std::function<response()> make, bool aside = false);

  std::shared_ptr<environment> shared;
  std::weak_ptr<connection> asker;  // the connection may be over by the time the answer comes
  std::atomic<bool> answered{false};
};

}  // namespace shoal::http
