#include "access/token.hpp"

#include <algorithm>
#include <stdexcept>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

namespace shoal::access {

namespace {
constexpr std::string_view prefix = "shoal_";
constexpr std::size_t random_bytes = 32;
}  // namespace

std::string new_token() {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<unsigned char, random_bytes> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    throw std::runtime_error("the operating system gives no random bytes");
  std::string text(prefix);
  unsigned held = 0, bits = 0;
  for (const auto each : bytes) {
    held = (held << 8) | each;
    for (bits += 8; bits >= 6; bits -= 6) text += digits[(held >> (bits - 6)) & 63];
  }
  text += digits[(held << (6 - bits)) & 63];
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return text;
}

sha256_digest digest_of(std::string_view token) {
  sha256_digest digest;
  if (EVP_Digest(token.data(), token.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha256(),
                 nullptr) != 1)
    throw std::runtime_error("SHA-256 cannot be computed");
  return digest;
}

const token_entry* find_token(const access_list& list, std::string_view token) {
  const auto digest = digest_of(token);
  const token_entry* found = nullptr;
  for (const auto& each : list.tokens)
    if (CRYPTO_memcmp(each.digest.data(), digest.data(), digest.size()) == 0) found = &each;
  return found;
}

std::string_view bearer_of(std::string_view authorization) noexcept {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size()) return {};
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  if (!std::equal(scheme.begin(), scheme.end(), authorization.begin(),
                  [&](char want, char have) { return want == lower(have); }))
    return {};
  authorization.remove_prefix(scheme.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  while (authorization.ends_with(' ')) authorization.remove_suffix(1);
  return authorization;
}

}  // namespace shoal::access
