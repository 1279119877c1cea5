// [access] of every service: the key it shows, the list of those it lets in, and where it may listen in the clear all
// the same.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "access/key_file.hpp"
#include "core/config.hpp"

namespace shoal::services {

struct access_settings {
  std::string key;      ///< a key file, "{role}" standing for the service's role; empty: links in the clear
  std::string allowed;  ///< an access list; empty: whoever reaches a door may do everything
  std::vector<std::string> clear;

  void declare(config& keys);

  /// Addresses of one key of the configuration: "gateway.http" and 0.0.0.0:8000, or tcp://… of a link.
  struct listening {
    std::string key;
    std::vector<std::string> addresses;
    bool secured = false;
  };
  /// Who a service of the role `as` is; null: nobody, without keys. Refuses addresses off loopback in the
  /// clear or without an access list, and links in the clear beside one, unless `clear` names their key. Errors:
  /// invalid_argument, not_found, permission_denied.
  [[nodiscard]] expected<std::shared_ptr<const access::identity>> enter(access::role as,
                                                                        std::initializer_list<listening> where) const;
  /// The access list; null: none is configured.
  [[nodiscard]] expected<std::shared_ptr<access::access_book>> book() const;

 private:
  [[nodiscard]] expected<void> check(const listening& where) const;
};

/// Of "127.0.0.1:8000", "[::1]:80", "tcp://localhost:1", "ipc://…" and "inproc://…"; not of names, which may change.
bool is_loopback(const std::string& address);

}  // namespace shoal::services
