#include "access/doorman.hpp"

#include <algorithm>
#include <cmath>

#include "access/token.hpp"

namespace shoal::access {

namespace {

bool may(role who, need what) {
  switch (what) {
    case need::administration: return who == role::admin;
    case need::observation: return who == role::admin || who == role::observer;
    case need::inference: return who == role::admin || who == role::client;
    case need::nothing: return true;
  }
  return false;
}

/// A bucket holds what comes in a second, and at least one.
double bucket_of(const token_entry& whose) { return std::max(1.0, whose.requests_per_second); }

}  // namespace

expected<doorman::pass> doorman::admit(std::string_view authorization, need what, time_point now) {
  if (what == need::nothing || !with_.book) return pass();
  const auto token = bearer_of(authorization);
  if (token.empty()) {
    if (!authorization.empty()) return fail(errc::unauthenticated, "the field Authorization is not 'Bearer TOKEN'");
    if (with_.anonymous && what == need::inference) return pass();
    return fail(errc::unauthenticated,
                "this needs a token: send the field 'Authorization: Bearer TOKEN' with one that `shoal keys new NAME "
                "--token` has made for this mesh");
  }
  const auto list = with_.book->current();
  const auto* whose = find_token(*list, token);
  if (whose == nullptr)
    return fail(errc::unauthenticated,
                "this token is not, or no longer, known here: `shoal keys list` shows which are");
  if (!may(whose->role, what))
    return fail(errc::permission_denied, "the token '" + whose->name + "' has the role " +
                                             std::string(name_of(whose->role)) + ", which does not allow this");
  return count(*whose, now);
}

expected<doorman::pass> doorman::count(const token_entry& whose, time_point now) {
  if (whose.requests_per_second == 0 && whose.in_flight == 0) return pass();
  const std::lock_guard lock(*mutex_);
  auto& own = spent_[whose.name];
  const auto over = [&](const std::string& limit, milliseconds wait) {
    error refused{errc::overloaded, "the token '" + whose.name + "' has reached its limit of " + limit};
    refused.retry_after = wait;
    return tl::unexpected(std::move(refused));
  };
  if (whose.in_flight > 0 && *own.in_flight >= whose.in_flight)
    return over(std::to_string(whose.in_flight) + " requests in flight", milliseconds(100));
  if (whose.requests_per_second > 0) {
    const auto since = std::chrono::duration<double>(now - own.filled).count();
    own.tokens = own.filled == time_point{}
                     ? bucket_of(whose)
                     : std::min(bucket_of(whose), own.tokens + since * whose.requests_per_second);
    own.filled = now;
    if (own.tokens < 1)
      return over(
          std::to_string(whose.requests_per_second) + " requests a second",
          milliseconds(static_cast<std::int64_t>(std::ceil((1 - own.tokens) / whose.requests_per_second * 1000))));
    own.tokens -= 1;
  }
  if (whose.in_flight == 0) return pass();
  ++*own.in_flight;
  return pass(own.in_flight.get(), [mutex = mutex_, held = own.in_flight](const void*) {
    const std::lock_guard lock(*mutex);
    --*held;
  });
}

}  // namespace shoal::access
