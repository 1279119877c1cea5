// Keys of CURVE (https://rfc.zeromq.org/spec/26): made, and let in. What a key may do stands in access/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal::link {

struct curve_pair {
  std::string public_key, secret_key;  ///< 40 characters of Z85
};

/// Errors: unsupported (a libzmq without CURVE).
expected<curve_pair> new_curve_pair();
/// The public half of a secret key. Errors: invalid_argument.
expected<std::string> public_half_of(const std::string& secret_key);

/// Answers libzmq, which asks about each connection to a socket that serves CURVE whether its key is let in (ZAP,
/// https://rfc.zeromq.org/spec/27). One for all sockets of a context, on a thread of its own.
class gatekeeper {
 public:
  explicit gatekeeper(void* raw_context);
  ~gatekeeper();
  gatekeeper(const gatekeeper&) = delete;
  gatekeeper& operator=(const gatekeeper&) = delete;

  /// Asked with the public key in Z85, on the gatekeeper's thread.
  using question = std::function<bool(std::string_view public_key)>;
  /// `admits` decides for sockets with this domain while the result lives. Nobody is let in without.
  std::shared_ptr<void> guard(const std::string& domain, question admits);

 private:
  struct parts;
  std::shared_ptr<parts> parts_;
};

}  // namespace shoal::link
