#include "access/key_file.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using access::key_file;

namespace {
const std::string a_key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const std::string a_secret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

std::string written(const test::temporary_folder& folder, const std::string& text) {
  const auto file = (folder.path() / "own.key").string();
  std::ofstream(file) << text;
  return file;
}
}  // namespace

TEST_CASE("what is written is read again") {
  test::temporary_folder folder;
  const key_file own{"search", access::role::client, a_key, a_secret, {a_key}};
  const auto again = key_file::read(written(folder, own.to_toml()));
  REQUIRE(again);
  CHECK(again->name == "search");
  CHECK(again->role == access::role::client);
  CHECK(again->public_key == a_key);
  CHECK(again->secret_key == a_secret);
  CHECK(again->gateways == std::vector{a_key});
}

TEST_CASE("what is wrong is refused, and the secret is not told") {
  test::temporary_folder folder;
  CHECK(key_file::read("/nowhere/own.key").error().code == errc::not_found);
  CHECK(key_file::read("/").error().code == errc::not_found);
  for (const auto& text : std::initializer_list<std::string>{
           "secret = '" + a_secret + "' oops", std::string("name = 'a'"), std::string("\xff\xfe"),
           "name = 'a'\nrole = 'king'\npublic = '" + a_key + "'\nsecret = '" + a_secret + "'",
           "name = 'a'\nrole = 'client'\npublic = '" + a_key + "'\nsecret = '" + a_secret + "x'",
           "name = 'a'\nrole = 'client'\npublic = '" + a_key + "'\nsecret = '" + a_secret + "'\ngateways = ['x']"}) {
    const auto refused = key_file::read(written(folder, text));
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find(a_secret) == std::string::npos);
    CHECK(refused.error().message.find("shoal keys new") != std::string::npos);
  }
}

TEST_CASE("a client's identity believes the gateways in its file, and needs some") {
  test::temporary_folder folder;
  CHECK(*access::client_identity("") == nullptr);
  const key_file lone{"search", access::role::client, a_key, a_secret, {}};
  CHECK(access::client_identity(written(folder, lone.to_toml())).error().code == errc::invalid_argument);
  const key_file service{"w", access::role::worker, a_key, a_secret, {}};
  CHECK(access::client_identity(written(folder, service.to_toml())).error().message.find("worker's") !=
        std::string::npos);
  const key_file whole{"search", access::role::client, a_key, a_secret, {a_key}};
  const auto made = access::client_identity(written(folder, whole.to_toml()));
  REQUIRE(made);
  CHECK((*made)->keys_of(access::role::gateway) == std::vector{a_key});
  CHECK((*made)->keys_of(access::role::scheduler).empty());
}
