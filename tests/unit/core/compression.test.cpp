#include "core/compression.hpp"

#include <random>
#include <string>

#include <doctest/doctest.h>

using namespace shoal;

namespace {

buffer bytes_of(const std::string& text) { return buffer::copy(std::as_bytes(std::span(text))); }

std::string text_of(const buffer& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::shared_ptr<byte_budget> budget(std::size_t bytes = std::size_t{1} << 30) {
  return std::make_shared<byte_budget>(bytes);
}

std::string noise(std::size_t size) {
  std::mt19937_64 random(1);
  std::string text(size, '\0');
  for (auto& c : text) c = static_cast<char>(random());
  return text;
}

}  // namespace

TEST_CASE("what is compressed in parts comes back whole") {
  for (const auto format : {coding::gzip, coding::deflate})
    for (const std::size_t size : {0, 1, 1000, 70'000, 5'000'000}) {
      CAPTURE(name_of(format));
      CAPTURE(size);
      const auto text = std::string(size, 'x') + noise(size / 3);
      const std::vector<buffer> parts{bytes_of(text.substr(0, size / 2)), bytes_of(""),
                                      bytes_of(text.substr(size / 2))};
      const auto packed = deflate(format, parts);
      const auto back = inflate(format, packed.bytes(), text.size(), budget());
      REQUIRE(back);
      CHECK(text_of(*back) == text);
    }
}

TEST_CASE("a bomb is refused at the limit, and its memory given back") {
  const auto bomb = deflate(coding::gzip, std::vector{bytes_of(std::string(std::size_t{64} << 20, '\0'))});
  REQUIRE(bomb.size() < 400'000);
  auto shared = budget();
  const auto refused = inflate(coding::gzip, bomb.bytes(), std::size_t{1} << 20, shared);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::too_large);
  CHECK(shared->used() == 0);

  const auto exhausted = inflate(coding::gzip, bomb.bytes(), std::size_t{64} << 20, budget(100'000));
  REQUIRE_FALSE(exhausted);
  CHECK(exhausted.error().code == errc::overloaded);
}

TEST_CASE("inflated bytes are counted for as long as anyone holds them") {
  auto shared = budget();
  auto bytes = inflate(coding::gzip, deflate(coding::gzip, std::vector{bytes_of("abc")}).bytes(), 3, shared);
  REQUIRE(bytes);
  CHECK(shared->used() >= 3);
  bytes = {};
  CHECK(shared->used() == 0);
}

TEST_CASE("every damage is told: a byte changed, cut off, followed by something, of another format, nothing at all") {
  const auto text = noise(2000);
  const auto packed = text_of(deflate(coding::gzip, std::vector{bytes_of(text)}));
  const auto why = [&](const std::string& bytes, coding format = coding::gzip) {
    const auto read = inflate(format, bytes_of(bytes).bytes(), 10'000, budget());
    if (read) return std::string("taken");
    CHECK(read.error().code == errc::invalid_argument);
    return read.error().message;
  };
  for (std::size_t length = 0; length < packed.size(); ++length) REQUIRE(why(packed.substr(0, length)) != "taken");
  CHECK(why(packed + "x").find("followed") != std::string::npos);
  CHECK(why(packed + packed).find("followed") != std::string::npos);
  CHECK(why(packed, coding::deflate).find("damaged") != std::string::npos);
  CHECK(why(text) != "taken");
  auto changed = packed;
  changed[packed.size() - 6] ^= 1;  // the checksum
  CHECK(why(changed).find("damaged") != std::string::npos);
}

TEST_CASE("compression pays for text and zeros, not for noise and nothing") {
  CHECK(deflate_if_it_pays(coding::gzip, std::vector{bytes_of(std::string(100'000, 'a'))}));
  CHECK_FALSE(deflate_if_it_pays(coding::gzip, std::vector{bytes_of(noise(100'000))}));
  CHECK_FALSE(deflate_if_it_pays(coding::gzip, std::vector<buffer>{}));
  for (const std::size_t size : {1000, 70'000}) {  // of which the first is its own sample
    const std::string text(size, 'b');
    const auto packed =
        deflate_if_it_pays(coding::deflate, std::vector{bytes_of(text.substr(9)), bytes_of(text.substr(0, 9))});
    REQUIRE(packed);
    CHECK(text_of(*inflate(coding::deflate, packed->bytes(), size, budget())) == text);
  }
}
