#include "services/mesh/bench/oip_http.hpp"

#include <cstring>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace shoal;
using namespace shoal::services::bench;
using nlohmann::json;

namespace {

const http_address here{"127.0.0.1", "8000", ""};

call asked() {
  call request;
  request.model = "m";
  const std::vector<float> values{1, 2.5};
  request.inputs = {{"x", dtype::fp32, {1, 2}, buffer::copy(std::as_bytes(std::span(values)))}};
  return request;
}

struct parts {
  std::string head, body;
};
parts split(const std::string& request) {
  const auto end = request.find("\r\n\r\n");
  return {request.substr(0, end + 2), request.substr(end + 4)};
}

std::string field(const std::string& head, const std::string& name) {
  const auto at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const auto begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

}  // namespace

TEST_CASE("an address is HOST:PORT, perhaps with a path before /v2") {
  CHECK(read_address("127.0.0.1:8000")->port == "8000");
  CHECK(read_address("127.0.0.1:8000/serve/")->prefix == "/serve");
  CHECK(read_address("[::1]:8000")->host == "::1");
  CHECK(read_address("[::1]:8000")->authority() == "[::1]:8000");
  for (const auto* bad : {"", "host", ":80", "host:", "host:abc", "host:123456", "host:80/a b"})
    CHECK(read_address(bad).error().code == errc::invalid_argument);
}

TEST_CASE("a request with binary tensors says where its JSON ends and how large each tensor is") {
  auto request = asked();
  request.version = 3;
  request.deadline = microseconds(1500);
  request.priority = protocol::priority::critical;
  const auto [head, body] = split(*infer_request(here, request, false));
  CHECK(head.starts_with("POST /v2/models/m/versions/3/infer HTTP/1.1\r\n"));
  CHECK(field(head, "Content-Length") == std::to_string(body.size()));
  const auto length = std::stoul(field(head, "Inference-Header-Content-Length"));
  const auto document = json::parse(body.substr(0, length));
  CHECK(document["inputs"][0]["parameters"]["binary_data_size"] == 8);
  CHECK(document["inputs"][0]["shape"] == json({1, 2}));
  CHECK(document["parameters"] == json({{"binary_data_output", true}, {"timeout", 1500}, {"priority", 1}}));
  CHECK(body.size() == length + 8);
  float second = 0;
  std::memcpy(&second, body.data() + length + 4, 4);
  CHECK(second == 2.5F);
}

TEST_CASE("a request with JSON tensors is what any server understands") {
  const auto [head, body] = split(*infer_request({"h", "1", "/p"}, asked(), true));
  CHECK(head.starts_with("POST /p/v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\n"));
  CHECK(field(head, "Inference-Header-Content-Length").empty());
  const auto document = json::parse(body);
  CHECK(document["inputs"][0]["data"] == json({1, 2.5}));
  CHECK_FALSE(document.contains("parameters"));
  auto half = asked();
  half.inputs[0].type = dtype::fp16;
  CHECK(infer_request(here, half, true).error().code == errc::unsupported);
  auto text = asked();
  text.inputs = {{"t", dtype::bytes, {1}, buffer::copy(std::as_bytes(std::span("\2\0\0\0hi", 6)))}};
  CHECK(json::parse(split(*infer_request(here, text, true)).body)["inputs"][0]["data"] == json({"hi"}));
}

TEST_CASE("metadata tells types and which dimensions are free") {
  const auto read = read_metadata(R"({"inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 4]},
      {"name": "y", "datatype": "WHAT", "shape": []}], "outputs": []})");
  REQUIRE(read);
  REQUIRE(read->inputs.size() == 1);
  CHECK_FALSE(read->inputs[0].dims[0].is_fixed());
  CHECK(read->inputs[0].dims[1].min == 4);
  CHECK(read_metadata("{}")->inputs.empty());
  CHECK(read_metadata("<html>").error().code == errc::corrupt);
  CHECK(read_metadata(R"({"inputs": 3})").error().code == errc::corrupt);
  CHECK(read_metadata("[]").error().code == errc::corrupt);
}

TEST_CASE("a status is a kind of failure, and its reason is the server's") {
  CHECK(code_of_status(503) == errc::overloaded);
  CHECK(code_of_status(429) == errc::overloaded);
  CHECK(code_of_status(504) == errc::deadline_exceeded);
  CHECK(code_of_status(404) == errc::not_found);
  CHECK(code_of_status(400) == errc::invalid_argument);
  CHECK(code_of_status(500) == errc::internal);
  CHECK(code_of_status(302) == errc::internal);
  CHECK(reason_of(503, R"({"error": "full"})") == "status 503: full");
  CHECK(reason_of(500, "<html>") == "status 500: <html>");
}

TEST_CASE("an answer is checked: as many outputs as the model has, as many bytes as their shapes") {
  const auto none = std::string_view::npos;
  const std::string flat = R"({"outputs": [{"name": "o", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]}]})";
  CHECK(why_wrong_body(flat, none, {}).empty());
  CHECK(why_wrong_body(flat, none, {{}, {}}) == "1 outputs instead of 2");
  CHECK_FALSE(
      why_wrong_body(R"({"outputs": [{"name": "o", "datatype": "FP32", "shape": [3], "data": [1, 2]}]})", none, {})
          .empty());
  const std::string head =
      R"({"outputs": [{"name": "o", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]})";
  CHECK(why_wrong_body(head + "12345678", head.size(), {}).empty());
  CHECK_FALSE(why_wrong_body(head + "1234567", head.size(), {}).empty());
  CHECK_FALSE(why_wrong_body(head + "123456789", head.size(), {}).empty());
  CHECK_FALSE(why_wrong_body(head, head.size() + 1, {}).empty());
  CHECK_FALSE(why_wrong_body("{}", none, {}).empty());
  CHECK_FALSE(why_wrong_body("", none, {}).empty());
}
