// Who may do what in a mesh: the public keys of its services and native clients, and the digests of the tokens of its
// HTTP and gRPC clients, each with its role. There is no secret in it. `shoal keys` writes it, every service reads it.
//
//     [[key]]
//     name = "gateway"                                            # 1 to 64 of A-Z a-z 0-9 . _ -
//     role = "gateway"
//     public = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"          # Z85 (https://rfc.zeromq.org/spec/32)
//
//     [[token]]
//     name = "search"
//     role = "client"
//     sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//     requests_per_second = 50                                    # 0 or absent: without a limit
//     in_flight = 16                                              # likewise
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "access/role.hpp"
#include "core/error.hpp"

namespace shoal::access {

using sha256_digest = std::array<std::byte, 32>;

struct key_entry {
  std::string name;
  access::role role = role::client;
  std::string public_key;  ///< 40 characters of Z85

  bool operator==(const key_entry&) const = default;
};

struct token_entry {
  std::string name;
  access::role role = role::client;
  sha256_digest digest{};
  double requests_per_second = 0;  ///< 0: without a limit
  std::size_t in_flight = 0;       ///< likewise

  bool operator==(const token_entry&) const = default;
};

struct access_list {
  std::vector<key_entry> keys;
  std::vector<token_entry> tokens;

  /// Errors: invalid_argument ("FILE:LINE: …"): unknown keys, names or keys that are there twice, what is no key.
  static expected<access_list> parse(std::string_view toml, const std::string& file);
  [[nodiscard]] std::string to_toml() const;

  [[nodiscard]] const key_entry* find(std::string_view public_key) const noexcept;
  [[nodiscard]] std::vector<std::string> public_keys_of(access::role role) const;
  [[nodiscard]] bool has_name(std::string_view name) const noexcept;
};

/// 40 characters of Z85.
bool is_curve_key(std::string_view text) noexcept;

std::string to_hex(const sha256_digest& digest);

}  // namespace shoal::access
