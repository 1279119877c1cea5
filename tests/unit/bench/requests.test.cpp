#include "services/mesh/bench/requests.hpp"

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"
#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::services::bench;

TEST_CASE("requests are read from JSON lines; what is wrong is named with its line") {
  const test::temporary_folder folder;
  const auto spec = test::matrix_model();
  const auto good = read_requests(folder.write("good", "{\"x\": [[1, 2], [3, 4]]}\n\n{\"x\": [[0.5]]}\n"), spec);
  REQUIRE(good);
  REQUIRE(good->size() == 2);
  CHECK((*good)[0].inputs[0].dims == shape{2, 2});
  CHECK((*good)[0].inputs[0].data.size() == 16);
  CHECK((*good)[1].inputs[0].dims == shape{1, 1});
  CHECK(read_requests((folder.path() / "none").string(), spec).error().code == errc::not_found);
  for (const char* text : {"{\"x\": [[1]]}\n{\"x\": [[1]", "{\"x\": [[1]]}\n[1]", "{\"x\": [[1]]}\n{}",
                           "{\"x\": [[1]]}\n{\"x\": 1}", "{\"x\": [[1]]}\n{\"x\": [[1, 2], [3]]}",
                           "{\"x\": [[1]]}\n{\"x\": [[\"a\"]]}", "{\"x\": [[1]]}\n{\"x\": [[1]], \"y\": [[1]]}"}) {
    CAPTURE(text);
    const auto wrong = read_requests(folder.write("bad", text), spec);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == errc::invalid_argument);
    CHECK(wrong.error().message.find("bad:2") != std::string::npos);
  }
  CHECK_FALSE(read_requests(folder.write("empty", "\n"), spec));
}

TEST_CASE("a request of ones has one row and the length asked for, within what the model takes") {
  CHECK(request_of_ones(test::matrix_model(), 7).inputs[0].dims == shape{1, 7});
  CHECK(request_of_ones(test::matrix_model(), 1 << 20).inputs[0].dims == shape{1, 4096});
}
