#include "access/access_list.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using access::access_list;

namespace {

const std::string a_key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const std::string another_key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const std::string a_digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

std::string key(const std::string& name, const std::string& role, const std::string& text) {
  return "[[key]]\nname = '" + name + "'\nrole = '" + role + "'\npublic = '" + text + "'\n";
}

std::string token(const std::string& name, const std::string& role, const std::string& more = "") {
  return "[[token]]\nname = '" + name + "'\nrole = '" + role + "'\nsha256 = '" + a_digest + "'\n" + more;
}

std::string why_not(const std::string& text) {
  const auto list = access_list::parse(text, "who.toml");
  REQUIRE(!list);
  CHECK(list.error().code == errc::invalid_argument);
  return list.error().message;
}

}  // namespace

TEST_CASE("what is written is read again") {
  access_list list;
  list.keys = {{"gateway", access::role::gateway, a_key}, {"b", access::role::admin, another_key}};
  list.tokens = {{"search", access::role::client, {}, 50.5, 16}, {"eyes", access::role::observer, {}, 0, 0}};
  const auto again = access_list::parse(list.to_toml(), "who.toml");
  REQUIRE(again);
  CHECK(again->keys == list.keys);
  CHECK(again->tokens == list.tokens);
  REQUIRE(again->find(a_key) != nullptr);
  CHECK(again->find(a_key)->name == "gateway");
  CHECK(again->find(a_key.substr(1) + "x") == nullptr);
  CHECK(again->public_keys_of(access::role::gateway) == std::vector{a_key});
  CHECK(access_list::parse("", "who.toml")->keys.empty());
}

TEST_CASE("what is wrong is refused, with its line and what is right") {
  CHECK(why_not("x = 1").find("who.toml:1: only tables [[key]] and [[token]]") == 0);
  CHECK(why_not("key = 1").find("[[key]]") != std::string::npos);
  CHECK(why_not("key = [1]").find("no table") != std::string::npos);
  CHECK(why_not("[[key]]\nname = 3").find("no text") != std::string::npos);
  CHECK(why_not(key("a", "king", a_key)).find("there is no role 'king'") != std::string::npos);
  CHECK(why_not(key("../a", "worker", a_key)).find("1 to 64 of the characters A-Z") != std::string::npos);
  CHECK(why_not(key("a", "worker", a_key.substr(1))).find("40 characters") != std::string::npos);
  CHECK(why_not(key("a", "worker", a_key.substr(1) + "\"")).find("40 characters") != std::string::npos);
  CHECK(why_not(key("a", "observer", a_key)).find("tokens, not keys") != std::string::npos);
  CHECK(why_not(token("a", "worker")).find("keys, not tokens") != std::string::npos);
  CHECK(why_not(token("a", "client", "in_flight = -1\n")).find("in_flight") != std::string::npos);
  CHECK(why_not(token("a", "client", "in_fligth = 1\n")).find("nothing is known of 'in_fligth'") != std::string::npos);
  CHECK(why_not("[[token]]\nname = 'a'\nrole = 'client'\nsha256 = 'abc'").find("64 of 0-9 a-f") != std::string::npos);
  CHECK(why_not(key("a", "worker", a_key) + "[[token]]").find("'name' is missing") != std::string::npos);
  CHECK(why_not("[[key]\n").find("who.toml:1: ") == 0);
}

TEST_CASE("no name and no key is there twice") {
  CHECK(why_not(key("a", "worker", a_key) + key("a", "cache", another_key)).find("who.toml:5: the name 'a'") == 0);
  CHECK(why_not(key("a", "worker", a_key) + key("b", "cache", a_key)).find("this key is there twice") !=
        std::string::npos);
  CHECK(why_not(key("a", "worker", a_key) + token("a", "client")).find("the name 'a'") != std::string::npos);
}
