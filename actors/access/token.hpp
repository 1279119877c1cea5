// Bearer tokens (RFC 6750): 256 random bits. The access list holds their SHA-256: of a value that nobody can guess that
// is enough, and a stolen list opens no door.
#pragma once

#include <string>
#include <string_view>

#include "access/access_list.hpp"

namespace shoal::access {

/// "shoal_" and 43 characters of base64url.
std::string new_token();
sha256_digest digest_of(std::string_view token);

/// Whose token it is; null: nobody's. Takes the same time wherever in the list it stands and however much of it is
/// right.
const token_entry* find_token(const access_list& list, std::string_view token);

/// The token of a field "Authorization: Bearer TOKEN" (the scheme in any case); empty: there is none.
std::string_view bearer_of(std::string_view authorization) noexcept;

}  // namespace shoal::access
