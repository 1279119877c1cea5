// The secret half of a key, with what its holder needs to use it. `shoal keys new` writes it, for its owner's eyes
// only.
//
//     name = "search"
//     role = "client"
//     public = "…"
//     secret = "…"
//     gateways = ["…"]      # clients: the public keys of the gateways they believe
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "access/access_book.hpp"

namespace shoal::access {

struct key_file {
  std::string name;
  access::role role = role::client;
  std::string public_key, secret_key;  ///< Z85
  std::vector<std::string> gateways;
  bool is_open_to_all = false;  ///< everybody on this machine may read the file

  /// Errors: not_found, invalid_argument. Never says anything of what is in it.
  static expected<key_file> read(const std::string& file);
  [[nodiscard]] std::string to_toml() const;
};

/// Who a link is, and whom it believes.
struct identity {
  key_file own;
  std::shared_ptr<access_book> book;  ///< null: a client, which believes the gateways in its key file

  /// The public keys of those who may act as `wanted`.
  [[nodiscard]] std::vector<std::string> keys_of(role wanted) const;
  /// Where those keys should stand, for people.
  [[nodiscard]] std::string source() const;
};

/// Of a client, from its key file; null for an empty name. Errors: those of key_file::read, invalid_argument (not a
/// client's or an admin's, or without gateways).
expected<std::shared_ptr<const identity>> client_identity(const std::string& file);

}  // namespace shoal::access
