// A server's certificate and its key, from PEM files that are read again when they change: a renewed certificate holds
// for the connections that come after. Internal to actors/http.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::http {

class certificate {
 public:
  /// Errors: invalid_argument (which file, and why not), without anything of what is in it.
  static expected<std::shared_ptr<certificate>> open(const std::string& chain_file, const std::string& key_file);

  /// For a connection that begins. Files that have become wrong change nothing, and are complained of.
  std::shared_ptr<boost::asio::ssl::context> current(time_point now);

 private:
  certificate(std::string chain_file, std::string key_file)
      : chain_file_(std::move(chain_file)), key_file_(std::move(key_file)) {}
  expected<void> read();

  const std::string chain_file_, key_file_;
  std::shared_ptr<boost::asio::ssl::context> context_;
  std::int64_t seen_ = 0;  ///< when the files last changed
  time_point look_again_{};
  std::string complaint_;
};

}  // namespace shoal::http
