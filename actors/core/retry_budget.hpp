// How many requests may be tried a second time, so that a mesh in trouble is not given more work by those who
// wait for it: each request earns a part of a retry, each retry costs a whole one. A reserve is there from the start
// and comes back by itself, so that a client with little traffic is not left without any. What can be saved up is
// bounded: a long good time must not pay for a storm. Owned by one user; no thread of its own.
//
// The scheme is that of Finagle's retry budgets (https://twitter.github.io/finagle/guide/Clients.html#retries).
#pragma once

#include <algorithm>

#include "core/clock.hpp"

namespace shoal {

class retry_budget {
 public:
  /// `per_request`: retries that one request earns; `reserve`: retries that are always to be had, one each second once
  /// they are spent; `most`: what may be saved up.
  retry_budget(double per_request, unsigned reserve, unsigned most)
      : per_request_(per_request), reserve_(reserve), most_(std::max(most, reserve)), left_(reserve) {}

  void earn() { left_ = std::min(most_, left_ + per_request_); }

  /// False: nothing is left.
  bool take(time_point now) {
    if (left_ < reserve_) left_ = std::min(reserve_, left_ + std::chrono::duration<double>(now - refilled_).count());
    refilled_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double per_request_;
  double reserve_;
  double most_;
  double left_;
  time_point refilled_{};
};

}  // namespace shoal
