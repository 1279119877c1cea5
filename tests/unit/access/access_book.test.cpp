#include "access/access_book.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace std::chrono_literals;

namespace {

void write(const std::filesystem::path& path, const std::string& text) {
  const auto fresh = path.string() + ".new";
  std::ofstream(fresh) << text;
  std::filesystem::rename(fresh, path);
}

std::string key(const std::string& name) {
  return "[[key]]\nname = '" + name + "'\nrole = 'worker'\npublic = 'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID'\n";
}

template <class Condition>
bool within_seconds(Condition condition) {
  for (const auto until = steady::now() + 10s; steady::now() < until; std::this_thread::sleep_for(20ms))
    if (condition()) return true;
  return false;
}

}  // namespace

TEST_CASE("a list that changes is seen, one that becomes wrong or goes changes nothing") {
  test::temporary_folder folder;
  const auto file = folder.path() / "allowed.toml";
  CHECK(access::access_book::open(file.string()).error().code == errc::not_found);
  write(file, "[[key]]");
  CHECK(access::access_book::open(file.string()).error().code == errc::invalid_argument);

  write(file, key("one"));
  const auto book = *access::access_book::open(file.string());
  const auto first = book->current();
  REQUIRE(first->keys.size() == 1);
  std::this_thread::sleep_for(600ms);
  CHECK(book->current() == first);  // the same object: nothing has changed

  write(file, key("two"));
  CHECK(within_seconds([&] { return book->current()->keys.front().name == "two"; }));

  write(file, "nonsense");
  std::this_thread::sleep_for(600ms);
  CHECK(book->current()->keys.front().name == "two");
  std::filesystem::remove(file);
  std::this_thread::sleep_for(600ms);
  CHECK(book->current()->keys.front().name == "two");

  write(file, "");
  CHECK(within_seconds([&] { return book->current()->keys.empty(); }));
}
