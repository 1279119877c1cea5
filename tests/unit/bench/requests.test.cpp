#include "services/mesh/bench/requests.hpp"

#include <cstring>

#include <doctest/doctest.h>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace shoal::services::bench;
using protocol::dimension;

namespace {

const model_interface text_model{{{"ids", dtype::int64, {dimension{1, 32, "batch"}, dimension{1, 512, "length"}}},
                                  {"mask", dtype::int64, {dimension{1, 32, "batch"}, dimension{1, 512, "length"}}}},
                                 {}};

template <class T>
std::vector<T> elements(const tensor& of) {
  std::vector<T> all(of.data.size() / sizeof(T));
  std::memcpy(all.data(), of.data.data(), of.data.size());
  return all;
}

std::string refusal(const expected<request_set>& made) {
  REQUIRE_FALSE(made);
  return made.error().message;
}

bool says(const std::string& message, const char* what) { return message.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("without a file requests are ones of the model's shapes") {
  const auto made = make_requests({}, "m", text_model);
  REQUIRE(made);
  REQUIRE(made->distinct.size() == 1);
  CHECK(made->distinct[0][1].name == "mask");
  CHECK(made->distinct[0][0].dims == shape{1, 16});
  CHECK(elements<std::int64_t>(made->distinct[0][0]) == std::vector<std::int64_t>(16, 1));
  request_options shaped;
  shaped.shapes = {"ids=2x8", "mask=2x8"};
  CHECK(make_requests(shaped, "m", text_model)->distinct[0][0].dims == shape{2, 8});
}

TEST_CASE("every type has its one") {
  for (std::size_t i = 0; i < dtype_table.size(); ++i) {
    const auto type = static_cast<dtype>(i);
    const model_interface takes{{{"x", type, {dimension::fixed(3)}}}, {}};
    const auto made = make_requests({}, "m", takes);
    REQUIRE(made);
    CHECK(made->distinct[0][0].data.size() == 3 * (type == dtype::bytes ? 5 : size_of(type)));
    if (type == dtype::fp64) CHECK(elements<double>(made->distinct[0][0])[2] == 1);
  }
}

TEST_CASE("lengths set the free dimensions but the first, and each length is encoded once") {
  test::temporary_folder folder;
  request_options options;
  options.lengths = folder.write("lengths", "5\n7\n5\n9999\n");
  const auto made = make_requests(options, "m", text_model);
  REQUIRE(made);
  CHECK(made->distinct.size() == 3);
  CHECK(made->order == std::vector<std::size_t>{0, 1, 0, 2});
  CHECK(made->distinct[1][0].dims == shape{1, 7});
  CHECK(made->distinct[2][0].dims == shape{1, 512});  // the model's most
  options.lengths = folder.write("lengths", "5\nfive\n");
  CHECK(says(refusal(make_requests(options, "m", text_model)), ":2:"));
  options.lengths = folder.write("lengths", "\n");
  CHECK(says(refusal(make_requests(options, "m", text_model)), "no length"));
  options.lengths = folder.path() / "missing";
  CHECK(make_requests(options, "m", text_model).error().code == errc::not_found);
}

TEST_CASE("requests are read from JSON lines with the types that the model says") {
  test::temporary_folder folder;
  request_options options;
  options.file =
      folder.write("requests", "{\"ids\": [[1, 2]], \"mask\": [[1, 1]]}\n\n{\"ids\": [[3]], \"mask\": [[1]]}\n");
  const auto made = make_requests(options, "m", text_model);
  REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
  CHECK(made->order == std::vector<std::size_t>{0, 1});
  CHECK(made->distinct[0][0].dims == shape{1, 2});
  CHECK(elements<std::int64_t>(made->distinct[0][0]) == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("a line that is no request is refused with its number") {
  test::temporary_folder folder;
  request_options options;
  const std::string good = "{\"ids\": [[1]], \"mask\": [[1]]}\n";
  for (const auto& [line, why] :
       {std::pair("{\"ids\": [[1,]]}", "not JSON"), std::pair("[1]", "an object"), std::pair("{}", "an object"),
        std::pair("{\"ids\": [[1]]}", "'mask' is missing"), std::pair("{\"idz\": [[1]]}", "ids, mask"),
        std::pair("{\"ids\": [[1, 2], [3]], \"mask\": [[1]]}", "ids"),
        std::pair("{\"ids\": [[1.5]], \"mask\": [[1]]}", "ids"),
        std::pair("{\"ids\": [[\"a\"]], \"mask\": [[1]]}", "ids"),
        std::pair("{\"ids\": [[1e400]], \"mask\": [[1]]}", "1e400")}) {
    CAPTURE(line);
    options.file = folder.write("requests", good + line + "\n");
    const auto message = refusal(make_requests(options, "m", text_model));
    CHECK_MESSAGE(says(message, "requests:2: "), message);
    CHECK_MESSAGE(says(message, why), message);
  }
  options.file = folder.write("requests", "");
  CHECK(says(refusal(make_requests(options, "m", text_model)), "no request"));
  options.file = folder.path() / "missing";
  CHECK(make_requests(options, "m", text_model).error().code == errc::not_found);
}

TEST_CASE("a server that describes nothing can still be asked, with types as the elements suggest") {
  const auto inputs =
      read_request(R"({"a": [[1, 2]], "b": [1, 2.5], "c": ["x", "yz"], "d": [true], "e": 3})", model_interface{}, "");
  REQUIRE_MESSAGE(inputs, (inputs ? "" : inputs.error().message));
  CHECK((*inputs)[0].type == dtype::int64);
  CHECK((*inputs)[1].type == dtype::fp32);
  CHECK((*inputs)[2].type == dtype::bytes);
  CHECK((*inputs)[2].data.size() == 4 + 1 + 4 + 2);
  CHECK((*inputs)[3].type == dtype::boolean);
  CHECK((*inputs)[4].dims.empty());
  CHECK(says(refusal(make_requests({}, "m", {})), "--requests FILE"));
  CHECK_FALSE(read_request(R"({"c": ["x", 1]})", model_interface{{{"c", dtype::bytes, {}}}, {}}, ""));
}

TEST_CASE("memory for requests is bounded: what is beyond is left out and said so") {
  test::temporary_folder folder;
  request_options options;
  options.file = folder.write("requests", "{\"a\": [1]}\n{\"a\": [2]}\n{\"a\": [3]}\n");
  const auto made = make_requests(options, "m", {}, 150);
  REQUIRE(made);
  CHECK(made->distinct.size() == 2);
  CHECK(says(made->note, ":3:"));
  CHECK(make_requests(options, "m", {}, 10).error().code == errc::too_large);
  request_options huge;
  huge.shapes = {"ids=100000x100000"};
  CHECK(make_requests(huge, "m", text_model).error().code == errc::too_large);
  huge.shapes = {"ids=9999999999x9999999999x9999999999"};
  CHECK(make_requests(huge, "m", text_model).error().code == errc::too_large);
}

TEST_CASE("a shape that is none is refused") {
  for (const auto* bad :
       {"ids", "=1", "ids=", "ids=1x", "ids=axb", "ids=-1", "ids=1x2x3x4x5x6x7x8x9x1x2x3x4x5x6x7x8"}) {
    CAPTURE(bad);
    request_options options;
    options.shapes = {bad};
    CHECK(says(refusal(make_requests(options, "m", text_model)), "NAME=DIMxDIM"));
  }
  request_options options;
  options.shapes = {"nobody=1"};
  CHECK(says(refusal(make_requests(options, "m", text_model)), "no such input"));
}
