// The one place that decides who may pass a door for HTTP or gRPC. Once there is an access list, nobody does without a
// token, unless anonymous inference was allowed by name; without a list everybody does, and the doors only listen on
// loopback, or where they were told to in the clear (services/host/access_settings.hpp).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "access/access_book.hpp"
#include "core/clock.hpp"

namespace shoal::access {

/// What a request takes. The first is what one takes that does not say.
enum class need : std::uint8_t {
  administration,  ///< admin
  observation,     ///< admin, observer
  inference,       ///< admin, client; anonymous callers where they are allowed
  nothing,         ///< health
};

class doorman {
 public:
  struct options {
    std::shared_ptr<access_book> book;  ///< null: everybody may do everything
    bool anonymous = false;             ///< whoever has no token may infer
  };
  explicit doorman(options with) : with_(std::move(with)) {}

  /// Counts in its token's limit of requests in flight for as long as it lives; null: in nobody's.
  using pass = std::shared_ptr<const void>;

  /// Callable from any thread. `authorization`: the field's value, perhaps empty. Errors: unauthenticated,
  /// permission_denied, overloaded (a limit of the token's, with the time after which it helps to come again).
  expected<pass> admit(std::string_view authorization, need what, time_point now);

 private:
  struct spent {
    double tokens = 0;  ///< of its bucket, which holds a second's
    time_point filled{};
    std::shared_ptr<std::size_t> in_flight = std::make_shared<std::size_t>(0);
  };
  expected<pass> count(const token_entry& whose, time_point now);

  options with_;
  std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();  ///< passes may outlive their doorman
  std::unordered_map<std::string, spent> spent_;
};

}  // namespace shoal::access
