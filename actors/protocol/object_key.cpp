#include "protocol/object_key.hpp"

#include <new>

#include <openssl/evp.h>

namespace shoal::protocol {

namespace {

class sha256 {
 public:
  sha256() : context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr || EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  }
  sha256(const sha256&) = delete;
  sha256& operator=(const sha256&) = delete;
  ~sha256() { EVP_MD_CTX_free(context_); }

  void add(std::span<const std::byte> bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }
  object_key finish() {
    object_key key;
    EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(key.bytes.data()), nullptr);
    return key;
  }

 private:
  EVP_MD_CTX* context_;
};

constexpr std::string_view digits = "0123456789abcdef";

}  // namespace

object_key key_of(std::span<const std::byte> bytes) {
  sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

object_key derived_key(const object_key& source, std::string_view layout) {
  sha256 hash;
  // What follows a source has 32 bytes before the layout, which no layout can imitate; the tag keeps a derived name
  // from ever being that of a tensor with these bytes.
  constexpr std::string_view tag = "shoal.derived\n";
  hash.add(std::as_bytes(std::span(tag)));
  hash.add(source.bytes);
  hash.add(std::as_bytes(std::span(layout)));
  return hash.finish();
}

std::string to_hex(const object_key& key) {
  std::string hex;
  hex.reserve(2 * key.bytes.size());
  for (const auto byte : key.bytes) {
    hex.push_back(digits[std::to_integer<unsigned>(byte) >> 4]);
    hex.push_back(digits[std::to_integer<unsigned>(byte) & 15]);
  }
  return hex;
}

std::optional<object_key> parse_object_key(std::string_view hex) {
  object_key key;
  if (hex.size() != 2 * key.bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const auto digit = digits.find(hex[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    key.bytes[i / 2] |= static_cast<std::byte>(i % 2 == 0 ? digit << 4 : digit);
  }
  return key;
}

}  // namespace shoal::protocol
