#include "scheduler/profile_store.hpp"

#include <fstream>

#include <doctest/doctest.h>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::scheduler;
using namespace std::chrono_literals;

TEST_CASE("measured times are there again after a restart; a damaged file is moved aside and written anew") {
  const test::temporary_folder folder;
  const auto path = folder.path() / "state" / "profiles.json";
  profile_file file(path);
  CHECK(file.load().all().empty());
  profile_book book;
  book.of("m", 1, "cpu").learn({1, 0}, 5ms);
  file.save(book);
  CHECK(profile_file(path).load().all().size() == 1);

  std::ofstream(path, std::ios::trunc) << "{ half a fi";
  CHECK(profile_file(path).load().all().empty());
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(std::filesystem::exists(path.string() + ".damaged"));
  file.save(book);
  CHECK(profile_file(path).load().all().size() == 1);
}

TEST_CASE("a place that cannot be written costs nothing but the times") {
  const test::temporary_folder folder;
  std::ofstream(folder.path() / "file") << "no folder";
  profile_file file(folder.path() / "file" / "profiles.json");
  profile_book book;
  book.of("m", 1, "cpu").learn({1, 0}, 5ms);
  file.save(book);
  CHECK(file.load().all().empty());
}
