#include "protocol/object_key.hpp"

#include <doctest/doctest.h>

using namespace shoal::protocol;

namespace {
object_key key_of_text(std::string_view text) { return key_of(std::as_bytes(std::span(text))); }
}  // namespace

TEST_CASE("an object is named by the SHA-256 of its bytes, written in lower-case hexadecimal digits") {
  // FIPS 180-4, examples
  CHECK(to_hex(key_of_text("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(key_of_text("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("only 64 lower-case hexadecimal digits are a name") {
  const auto key = key_of_text("abc");
  const auto hex = to_hex(key);
  CHECK(parse_object_key(hex) == key);
  CHECK_FALSE(parse_object_key(hex.substr(1)));
  CHECK_FALSE(parse_object_key(hex + "0"));
  CHECK_FALSE(parse_object_key(""));
  for (const char wrong : {'g', 'A', '/', '.', ' ', '\0'}) {
    auto other = hex;
    other[17] = wrong;
    CHECK_FALSE(parse_object_key(other));
  }
}

TEST_CASE("what is made of an object has a name of its own for each layout") {
  const auto source = key_of_text("abc");
  CHECK(derived_key(source, "a") == derived_key(source, "a"));
  CHECK(derived_key(source, "a") != derived_key(source, "b"));
  CHECK(derived_key(source, "a") != derived_key(key_of_text("abd"), "a"));
  CHECK(derived_key(source, "") != source);
}
