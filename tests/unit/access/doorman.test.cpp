#include "access/doorman.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "access/token.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace std::chrono_literals;
using access::need;

namespace {

/// A door with a token for each role, named like it, and one with limits.
struct guarded_door {
  explicit guarded_door(bool anonymous = false) {
    access::access_list list;
    for (const auto role : {access::role::client, access::role::observer, access::role::admin}) {
      tokens.push_back(access::new_token());
      list.tokens.push_back({std::string(name_of(role)), role, access::digest_of(tokens.back()), 0, 0});
    }
    tokens.push_back(access::new_token());
    list.tokens.push_back({"limited", access::role::client, access::digest_of(tokens.back()), 2, 3});
    const auto file = folder.path() / "allowed.toml";
    std::ofstream(file) << list.to_toml();
    doorman.emplace(access::doorman::options{*access::access_book::open(file.string()), anonymous});
  }

  expected<access::doorman::pass> ask(std::size_t whose, need what, time_point now = {}) {
    return doorman->admit("Bearer " + tokens.at(whose), what, now);
  }
  errc refusal(std::size_t whose, need what) {
    const auto admitted = ask(whose, what);
    return admitted ? errc::internal : admitted.error().code;
  }

  test::temporary_folder folder;
  std::vector<std::string> tokens;
  std::optional<access::doorman> doorman;
};
constexpr std::size_t client = 0, observer = 1, admin = 2, limited = 3;

}  // namespace

TEST_CASE("tokens are long, random, and known by their digest alone") {
  const auto one = access::new_token(), other = access::new_token();
  CHECK(one != other);
  CHECK(one.size() == 6 + 43);
  CHECK(one.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos);
  CHECK(access::to_hex(access::digest_of("test")) ==
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
  access::access_list list;
  list.tokens.push_back({"a", access::role::client, access::digest_of(one), 0, 0});
  CHECK(list.to_toml().find(one) == std::string::npos);
  CHECK(access::find_token(list, one)->name == "a");
  CHECK(access::find_token(list, other) == nullptr);
  CHECK(access::find_token(list, "") == nullptr);
}

TEST_CASE("the field Authorization") {
  CHECK(access::bearer_of("Bearer abc") == "abc");
  CHECK(access::bearer_of("bEARER   abc ") == "abc");
  CHECK(access::bearer_of("Basic abc").empty());
  CHECK(access::bearer_of("Bearer").empty());
  CHECK(access::bearer_of("Bearer ").empty());
  CHECK(access::bearer_of("").empty());
}

TEST_CASE("each role may what it is for") {
  guarded_door door;
  CHECK(door.ask(client, need::inference));
  CHECK(door.refusal(client, need::observation) == errc::permission_denied);
  CHECK(door.refusal(client, need::administration) == errc::permission_denied);
  CHECK(door.ask(observer, need::observation));
  CHECK(door.refusal(observer, need::inference) == errc::permission_denied);
  CHECK(door.refusal(observer, need::administration) == errc::permission_denied);
  for (const auto what : {need::inference, need::observation, need::administration}) CHECK(door.ask(admin, what));
}

TEST_CASE("without a token there is health, and inference where it is allowed by name") {
  for (const bool anonymous : {false, true}) {
    guarded_door door(anonymous);
    CHECK(door.doorman->admit("", need::nothing, {}));
    CHECK(door.doorman->admit("", need::inference, {}).has_value() == anonymous);
    for (const auto what : {need::observation, need::administration}) {
      const auto refused = door.doorman->admit("", what, {});
      REQUIRE(!refused);
      CHECK(refused.error().code == errc::unauthenticated);
      CHECK(!refused.error().retryable);
    }
    // A wrong token is no anonymous caller, and is not told to others.
    for (const std::string wrong : {"Bearer shoal_secret", "Basic c2VjcmV0", "secret"}) {
      const auto refused = door.doorman->admit(wrong, need::inference, {});
      REQUIRE(!refused);
      CHECK(refused.error().code == errc::unauthenticated);
      CHECK(refused.error().message.find("secret") == std::string::npos);
    }
  }
}

TEST_CASE("without a list everybody may everything") {
  access::doorman open({nullptr, false});
  for (const auto what : {need::nothing, need::inference, need::observation, need::administration})
    CHECK(open.admit("", what, {}));
}

TEST_CASE("a token's limits: requests in flight, and requests a second") {
  guarded_door door;
  auto now = time_point{} + 1h;
  auto first = door.ask(limited, need::inference, now);
  auto second = door.ask(limited, need::inference, now);
  REQUIRE(first);
  REQUIRE(second);
  const auto third = door.ask(limited, need::inference, now);  // two a second
  REQUIRE(!third);
  CHECK(third.error().code == errc::overloaded);
  CHECK(third.error().retryable);
  CHECK(third.error().retry_after == 500ms);
  now += 500ms;
  auto later = door.ask(limited, need::inference, now);
  REQUIRE(later);
  now += 10s;
  const auto fourth = door.ask(limited, need::inference, now);  // three in flight
  REQUIRE(!fourth);
  CHECK(fourth.error().message.find("3 requests in flight") != std::string::npos);
  first->reset();
  CHECK(door.ask(limited, need::inference, now));
  // A second's worth is all that is saved up.
  second->reset();
  later->reset();
  now += 1h;
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += door.ask(limited, need::inference, now).has_value();
  CHECK(admitted == 2);
}

TEST_CASE("a pass may outlive its doorman") {
  access::doorman::pass kept;
  {
    guarded_door door;
    kept = *door.ask(limited, need::inference, time_point{} + 1h);
  }
  kept.reset();
}
