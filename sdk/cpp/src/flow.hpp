// What is behind `map` and `stream`: draws requests from their source while there is room, keeps what has come until it
// is taken. One thread pulls; outcomes come on the client's.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "session.hpp"

namespace shoal::client::detail {

class flow {
 public:
  flow(std::shared_ptr<session> over, source from, const call& how, std::size_t window, bool ordered);
  ~flow();

  std::optional<indexed> next();

 private:
  /// What the client's thread writes to; it may outlive the flow.
  struct board {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t in_flight = 0;
    std::size_t arrived = 0;
    std::map<std::size_t, indexed> ready;  ///< by index if ordered, else by arrival
  };
  struct on_stop {
    std::stop_source* own;
    void operator()() const noexcept { own->request_stop(); }
  };

  void fill();
  std::optional<request> draw();
  void end_with(error why);

  std::shared_ptr<session> session_;
  source from_;
  const std::size_t window_;
  const bool ordered_;
  std::stop_source own_;
  call how_;
  std::stop_callback<on_stop> linked_;
  std::shared_ptr<board> board_ = std::make_shared<board>();
  std::optional<request> held_;  ///< drawn, and refused by a full window
  std::size_t drawn_ = 0;
  std::size_t taken_ = 0;
  bool exhausted_ = false;
};

}  // namespace shoal::client::detail
