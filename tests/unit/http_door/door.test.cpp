#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <nlohmann/json.hpp>

#include "gateway/http_door/infer_request.hpp"
#include "gateway/http_door/routes.hpp"
#include "unit/http/raw_client.hpp"
#include "unit/support/fake_front.hpp"

using namespace shoal;
using nlohmann::json;
using test::fake_front;
using test::raw_client;

namespace {

/// An infer request in JSON, or with `binary` behind it.
std::string infer(const json& document, const std::string& binary = {}, const std::string& fields = {}) {
  auto text = document.dump();
  auto length_field =
      binary.empty() ? std::string() : "Inference-Header-Content-Length: " + std::to_string(text.size()) + "\r\n";
  return "POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\n" + length_field + fields +
         "Content-Length: " + std::to_string(text.size() + binary.size()) + "\r\n\r\n" + text + binary;
}

std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

json input(json data, std::vector<int> dims = {1, 2}) {
  return {{"name", "x"}, {"datatype", "FP32"}, {"shape", dims}, {"data", std::move(data)}};
}

std::string raw_floats(std::vector<float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

protocol::outcome failed(errc code, std::string message) {
  protocol::outcome outcome;
  outcome.result = fail(code, std::move(message));
  return outcome;
}

struct door {
  explicit door(fake_front::behaviour behave = test::echo, protocol::catalogue models = {{test::identity_model()}})
      : front(std::move(models), std::move(behave)),
        server(*http::server::start({}, gateway::http_door::routes(front, {}))),
        client(server.address()) {}

  fake_front front;
  http::server server;
  raw_client client;
};

}  // namespace

TEST_CASE("JSON goes in and JSON comes out, with the id, the model and the version") {
  door d;
  auto got = d.client.ask(infer({{"id", "r\u00e9-1"}, {"inputs", {input({1.5, -2})}}}));
  REQUIRE(got.status == 200);
  CHECK(got.fields["Content-Type"] == "application/json");
  CHECK(got.fields.count("Inference-Header-Content-Length") == 0);
  CHECK(json::parse(got.body) == json::parse(R"({"id": "r\u00e9-1", "model_name": "identity", "model_version": "1",
      "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}]})"));
  auto asked = d.front.last_request();
  CHECK(asked.version == 0);
  CHECK(asked.outputs.empty());
  CHECK(asked.time_left.count() == 0);
}

TEST_CASE("binary tensors go in and out without being touched") {
  door d;
  json description{{"name", "x"}, {"datatype", "FP32"}, {"shape", {1, 2}}, {"parameters", {{"binary_data_size", 8}}}};
  auto bytes = raw_floats({1.5F, -2});
  auto got = d.client.ask(infer({{"inputs", {description}}, {"parameters", {{"binary_data_output", true}}}}, bytes));
  REQUIRE(got.status == 200);
  CHECK(got.fields["Content-Type"] == "application/octet-stream");
  auto length = std::stoul(got.fields.at("Inference-Header-Content-Length"));
  CHECK(got.body.substr(length) == bytes);
  auto head = json::parse(got.body.substr(0, length));
  CHECK(head["outputs"][0]["parameters"]["binary_data_size"] == 8);
  CHECK_FALSE(head["outputs"][0].contains("data"));
}

TEST_CASE("several binary inputs follow each other, beside others in JSON") {
  door d;
  json first{{"name", "a"}, {"datatype", "INT8"}, {"shape", {3}}, {"parameters", {{"binary_data_size", 3}}}};
  json second{{"name", "b"}, {"datatype", "INT16"}, {"shape", {2}}, {"data", {7, 8}}};
  json third{{"name", "c"}, {"datatype", "FP16"}, {"shape", {2}}, {"parameters", {{"binary_data_size", 4}}}};
  CHECK(d.client.ask(infer({{"inputs", {first, second, third}}}, "abcDEFG")).status == 200);
  auto inputs = d.front.last_request().inputs;
  REQUIRE(inputs.size() == 3);
  auto text = [](const buffer& b) { return std::string(reinterpret_cast<const char*>(b.data()), b.size()); };
  CHECK(text(inputs[0].data) == "abc");
  CHECK(text(inputs[1].data) == std::string("\7\0\10\0", 4));
  CHECK(text(inputs[2].data) == "DEFG");
  CHECK(inputs[2].type == dtype::fp16);
  CHECK(inputs[0].data.owner() == inputs[2].data.owner());  // both are slices of the body
}

TEST_CASE("a body without JSON is the model's only input") {
  door d;
  auto bytes = raw_floats({1, 2, 3});
  auto got = d.client.ask(
      "POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\n"
      "Content-Length: 12\r\n\r\n" +
      bytes);
  REQUIRE(got.status == 200);
  CHECK(got.body.substr(std::stoul(got.fields.at("Inference-Header-Content-Length"))) == bytes);
  CHECK(d.front.last_request().inputs.front().dims == shape{1, 3});
  CHECK(d.client
            .ask("POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\n"
                 "Content-Length: 5\r\n\r\nabcde")
            .status == 400);
}

TEST_CASE("outputs are asked for by name, each as binary data or not") {
  door d([](const protocol::infer& asked) {
    auto outcome = test::echo(asked);
    auto second = outcome.result->front();
    second.name = "z";
    outcome.result->push_back(std::move(second));
    return outcome;
  });
  json wanted{{{"name", "y"}, {"parameters", {{"binary_data", false}}}}, {{"name", "z"}}};
  auto got = d.client.ask(
      infer({{"inputs", {input({1, 2})}}, {"outputs", wanted}, {"parameters", {{"binary_data_output", true}}}}));
  REQUIRE(got.status == 200);
  CHECK(d.front.last_request().outputs == std::vector<std::string>{"y", "z"});
  auto head = json::parse(got.body.substr(0, std::stoul(got.fields.at("Inference-Header-Content-Length"))));
  CHECK(head["outputs"][0]["data"] == json({1.0, 2.0}));
  CHECK(head["outputs"][1]["parameters"]["binary_data_size"] == 8);
}

TEST_CASE("an output that JSON cannot carry is an error that says how to ask") {
  door d([](const protocol::infer& asked) {
    auto outcome = test::echo(asked);
    outcome.result->front().type = dtype::fp16;
    return outcome;
  });
  auto got = d.client.ask(infer({{"inputs", {input({1, 2})}}}));
  CHECK(got.status == 400);
  CHECK(got.body.find("output 'y': FP16 travels as binary data only") != std::string::npos);
}

TEST_CASE("the deadline, the version and the trace reach the mesh; unknown parameters do not matter") {
  door d;
  json document{{"inputs", {input({1, 2})}},
                {"parameters", {{"timeout", 250000}, {"priority", 3}, {"other", {{"a", 1}}}}}};
  auto text = document.dump();
  auto got = d.client.ask(
      "POST /v2/models/identity/versions/7/infer?x=y HTTP/1.1\r\nHost: x\r\n"
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
      "Content-Length: " +
      std::to_string(text.size()) + "\r\n\r\n" + text);
  CHECK(got.status == 200);
  auto asked = d.front.last_request();
  CHECK(asked.version == 7);
  CHECK(asked.time_left == std::chrono::milliseconds(250));
  CHECK(asked.priority == protocol::priority::batch);
  CHECK(asked.trace == protocol::trace_context{0x0af7651916cd43dd, 0x8448eb211c80319c, 0xb7ad6b7169203331});
}

TEST_CASE("a trace header that cannot be read is no trace") {
  using gateway::trace_of;
  for (auto bad : {"", "00-", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                   "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
                   "00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01"})
    CHECK(trace_of(bad) == protocol::trace_context{});
}

TEST_CASE("what the mesh refuses has the status that tells why") {
  const std::vector<std::pair<errc, int>> table{
      {errc::invalid_argument, 400}, {errc::permission_denied, 403}, {errc::not_found, 404},  {errc::too_large, 413},
      {errc::cancelled, 499},        {errc::internal, 500},          {errc::poisoned, 500},   {errc::incompatible, 500},
      {errc::corrupt, 500},          {errc::unsupported, 501},       {errc::overloaded, 503}, {errc::unavailable, 503},
      {errc::deadline_exceeded, 504}};
  for (auto [code, status] : table) {
    door d([code = code](const protocol::infer&) { return failed(code, "the reason"); });
    auto got = d.client.ask(infer({{"inputs", {input({1, 2})}}}));
    CHECK(got.status == status);
    CHECK(json::parse(got.body) == json{{"error", "the reason"}});
    CHECK(got.fields.count("Retry-After") == (status == 503 ? 1 : 0));
  }
  door d([](const protocol::infer&) {
    auto outcome = failed(errc::overloaded, "full");
    outcome.result.error().retry_after = std::chrono::milliseconds(2100);
    return outcome;
  });
  CHECK(d.client.ask(infer({{"inputs", {input({1, 2})}}})).fields["Retry-After"] == "3");
}

TEST_CASE("a client that leaves takes its request back") {
  door d(nullptr);
  d.client.send(infer({{"inputs", {input({1, 2})}}}));
  d.front.wait_for(1);
  d.client.close();
  d.front.wait_for_cancel(1);
  d.front.finish(1, failed(errc::cancelled, "the client took it back"));

  raw_client next(d.server.address());
  next.send(infer({{"inputs", {input({1, 2})}}}));
  d.front.finish(2, failed(errc::not_found, "as ever"));
  CHECK(next.receive().status == 404);
}

TEST_CASE("health and metadata") {
  auto second = test::identity_model();
  second.version = 2;
  second.inputs.front().dims = {protocol::dimension::fixed(4), {0, 9, ""}};
  auto loading = test::identity_model();
  loading.name = "loading";
  loading.state = protocol::model_state::loading;
  auto broken = test::identity_model();
  broken.name = "broken";
  broken.state = protocol::model_state::failed;
  broken.reason = "its archive is cut short";
  door d(test::echo, {{test::identity_model(), second, loading, broken}});
  auto ask_json = [&](const std::string& path) { return json::parse(d.client.ask(get(path)).body); };

  auto live = d.client.ask(get("/v2/health/live"));
  CHECK(live.status == 200);
  CHECK(live.body.empty());
  CHECK(d.client.ask(get("/v2/health/ready")).status == 200);
  d.front.is_ready = false;
  CHECK(d.client.ask(get("/v2/health/ready")).status == 503);

  auto server = ask_json("/v2");
  CHECK(server["name"] == "shoal");
  CHECK(server["extensions"] == json{"binary_tensor_data", "statistics", "model_configuration", "model_repository"});
  CHECK(ask_json("/v2/models/identity") == json::parse(R"({"name": "identity", "versions": ["1", "2"],
      "platform": "pytorch_export", "inputs": [{"name": "x", "datatype": "FP32", "shape": [4, -1]}],
      "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}]})"));
  CHECK(ask_json("/v2/models/identity/versions/1")["inputs"][0]["shape"] == json({-1, -1}));
  CHECK(d.client.ask(get("/v2/models/identity/ready")).status == 200);
  CHECK(d.client.ask(get("/v2/models/identity/versions/2/ready")).status == 200);
  CHECK(d.client.ask(get("/v2/models/loading/ready")).status == 503);
  CHECK(d.client.ask(get("/v2/models/broken/ready")).status == 503);
  CHECK(d.client.ask(get("/v2/models/broken")).body.find("cut short") != std::string::npos);
  CHECK(d.client.ask(get("/v2/models/identity/versions/3")).status == 404);
  CHECK(d.client.ask(get("/v2/models/nobody")).status == 404);

  auto index = json::parse(d.client.ask("POST /v2/repository/index HTTP/1.1\r\nHost: x\r\n\r\n").body);
  CHECK(index.size() == 4);
  CHECK(index[3] ==
        json{{"name", "broken"}, {"version", "1"}, {"state", "UNAVAILABLE"}, {"reason", "its archive is cut short"}});
  auto ready =
      d.client.ask("POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"ready\":true}");
  CHECK(json::parse(ready.body).size() == 2);
  CHECK(d.client.ask("POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{x}").status == 400);
}

TEST_CASE("until models are known, whoever asks for one is told to come again, not that there is none") {
  door d;
  d.front.list({});
  const std::vector<std::string> asked{
      get("/v2/models/identity"),
      get("/v2/models/identity/ready"),
      get("/v2/models/identity/versions/1/stats"),
      get("/v2/models/identity/config"),
      get("/v1/models/identity"),
      "POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n"
      "Inference-Header-Content-Length: 0\r\n\r\n12345678",
      "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n"
      R"({"model": "identity", "input": ""})",
  };
  for (const auto known : {false, true}) {
    d.front.list({{}, known});
    for (const auto& each : asked) {
      CAPTURE(each);
      CHECK(d.client.ask(each).status == (known ? 404 : 503));
    }
  }
}

TEST_CASE("statistics tell what was counted, and zeros of what nobody has asked for yet") {
  door d;
  auto fresh = json::parse(d.client.ask(get("/v2/models/identity/stats")).body)["model_stats"];
  REQUIRE(fresh.size() == 1);
  CHECK(fresh[0]["inference_count"] == 0);
  protocol::model_statistics counted;
  counted.model = "identity";
  counted.version = 1;
  counted.last_inference = std::chrono::milliseconds(1700000000123);
  counted.rows = 5;
  counted.executions = 1.9999999;
  counted.success = {2, std::chrono::nanoseconds(4000)};
  counted.compute_infer = {2, std::chrono::nanoseconds(3000)};
  d.front.counted = {counted};
  auto one = json::parse(d.client.ask(get("/v2/models/identity/versions/1/stats")).body)["model_stats"];
  REQUIRE(one.size() == 1);
  CHECK(one[0]["name"] == "identity");
  CHECK(one[0]["version"] == "1");
  CHECK(one[0]["last_inference"] == 1700000000123);
  CHECK(one[0]["inference_count"] == 5);
  CHECK(one[0]["execution_count"] == 2);
  CHECK(one[0]["inference_stats"]["success"] == json{{"count", 2}, {"ns", 4000}});
  CHECK(one[0]["inference_stats"]["compute_infer"] == json{{"count", 2}, {"ns", 3000}});
  CHECK(one[0]["inference_stats"]["fail"] == json{{"count", 0}, {"ns", 0}});
  auto all = json::parse(d.client.ask(get("/v2/models/stats")).body)["model_stats"];
  CHECK(all == one);  // there is no other model
  CHECK(d.client.ask(get("/v2/models/none/stats")).status == 404);
}

TEST_CASE("a model's configuration says how it batches, and sizes without the batch") {
  door d;
  auto config = json::parse(d.client.ask(get("/v2/models/identity/config")).body);
  CHECK(config["name"] == "identity");
  CHECK(config["max_batch_size"] == 32);
  CHECK(config["input"] == json::array({{{"name", "x"}, {"data_type", "TYPE_FP32"}, {"dims", {-1}}}}));
  CHECK(config["output"] == json::array({{{"name", "y"}, {"data_type", "TYPE_FP32"}, {"dims", {-1}}}}));
  CHECK(d.client.ask(get("/v2/models/none/config")).status == 404);
}

TEST_CASE("loads and unloads go to the mesh, and its verdict comes back") {
  door d;
  auto post = [&](const std::string& path, const std::string& body) {
    return d.client.ask("POST /v2/repository/models/" + path +
                        " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  CHECK(post("new-model/load", "").status == 200);
  CHECK(post("identity/unload", R"({"parameters":{"unload_dependents":false}})").status == 200);
  auto asked = d.front.asked_to_manage();
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].verb == protocol::life_verb::load);
  CHECK(asked[0].model == "new-model");
  CHECK(asked[0].replace);
  CHECK(asked[1].verb == protocol::life_verb::unload);
  d.front.managing = [](const protocol::manage&) -> expected<std::vector<protocol::worker_answer>> {
    return std::vector<protocol::worker_answer>{{1, fail(errc::not_found, "there is no such folder")}};
  };
  auto refused = post("gone/load", "");
  CHECK(refused.status == 404);
  CHECK(json::parse(refused.body)["error"] == "there is no such folder");
}

// CVE-2023-31036, CVE-2024-0087: files written through a load; CVE-2023-43654: a model from a URL.
TEST_CASE("a load takes no files, no configuration, no path and no URL, and nobody is asked") {
  door d;
  auto post = [&](const std::string& path, const std::string& body) {
    return d.client.ask("POST /v2/repository/models/" + path +
                        " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  for (auto body : {R"({"parameters":{"config":"{}"}})", R"({"parameters":{"file:1/model.pt2":"AAAA"}})",
                    R"({"parameters":{"file:../../etc/cron.d/x":"AAAA"}})", R"({"parameters":[]})", "{", "[]"}) {
    CAPTURE(body);
    CHECK(post("identity/load", body).status == 400);
  }
  for (auto name : {"..", ".hidden", "a%20b", "a%00", "http:"}) {
    CAPTURE(name);
    CHECK(post(std::string(name) + "/load", "").status == 400);
    CHECK(post(std::string(name) + "/unload", "").status == 400);
  }
  for (auto name : {"..%2f..%2fetc", "http:%2f%2fhost%2fmodel"}) {
    CAPTURE(name);
    CHECK(post(std::string(name) + "/load", "").status == 404);
  }
  CHECK(d.front.asked_to_manage().empty());
}

TEST_CASE("paths that are not there or not safe") {
  door d;
  for (auto path : {"/", "/v1", "/v2/models", "/v2/models/identity/", "/v2/models/identity/other",
                    "/v2/models/identity/versions", "/v2/models/..%2f..%2fetc%2fpasswd", "/v2/models/a/b/c"}) {
    CAPTURE(path);
    CHECK(d.client.ask(get(path)).status == 404);
  }
  for (auto path : {"/v2/models/.hidden", "/v2/models/..", "/v2/models/a%20b", "/v2/models/a%00", "/v2/models/http:",
                    "/v2/models/%ff%fe", "/v2/models/identity/versions/0", "/v2/models/identity/versions/x",
                    "/v2/models/identity/versions/-1", "/v2/models/identity/versions/99999999999999999999"}) {
    CAPTURE(path);
    CHECK(d.client.ask(get(path)).status == 400);
  }
  CHECK(d.client.ask(get("/v2/models/" + std::string(64, 'a'))).status == 404);
  CHECK(d.client.ask(get("/v2/models/" + std::string(65, 'a'))).status == 400);
  auto wrong = d.client.ask(get("/v2/models/identity/infer"));
  CHECK(wrong.status == 405);
  CHECK(wrong.fields["Allow"] == "POST");
  CHECK(d.client.ask("DELETE /v2 HTTP/1.1\r\nHost: x\r\n\r\n").status == 405);
  CHECK(d.client.ask("BREW /v2 HTTP/1.1\r\nHost: x\r\n\r\n").fields["Allow"] == "GET, HEAD");
  CHECK(d.client.ask(get("/metrics")).status == 404);
}

TEST_CASE("metrics are shown where a registry is given") {
  fake_front front({{test::identity_model()}}, test::echo);
  auto registry = std::make_shared<prometheus::Registry>();
  auto server = http::server::start({.registry = registry}, gateway::http_door::routes(front, {.registry = registry}));
  REQUIRE(server);
  raw_client client(server->address());
  CHECK(client.ask(get("/metrics")).body.find("shoal_http_requests_in_flight") != std::string::npos);
}

TEST_CASE("HEAD is answered as GET is, without the body, and the protocol's root with and without a slash") {
  door d;
  for (const auto* path : {"/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/identity",
                           "/v2/models/identity/ready", "/v2/models/stats"}) {
    CAPTURE(path);
    const auto got = d.client.ask(get(path));
    CHECK(got.status == 200);
    d.client.send("HEAD " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto head = d.client.receive(true);
    CHECK(head.status == 200);
    CHECK(head.fields.at("Content-Length") == got.fields.at("Content-Length"));
  }
  d.client.send("HEAD /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(d.client.receive(true).fields.at("Allow") == "POST");
}

TEST_CASE("long JSON, which is read and written aside, is as right or wrong as short JSON") {
  door d;
  const int count = 200'000;
  const auto got = d.client.ask(infer({{"inputs", {input(json(std::vector<double>(count, 0.5)), {1, count})}}}));
  REQUIRE(got.status == 200);
  CHECK(json::parse(got.body)["outputs"][0]["data"].size() == count);
  const auto wrong = d.client.ask(infer({{"inputs", {input(json(std::vector<std::string>(count, "x")), {1, count})}}}));
  CHECK(wrong.status == 400);
  CHECK(wrong.body.find("inputs[0].data") != std::string::npos);
}

TEST_CASE("where little is to be said a long body is refused without being read") {
  door d;
  const auto body = "{\"x\": \"" + std::string(300'000, 'x') + "\"}";
  for (const auto* path :
       {"/v2/repository/index", "/v2/repository/models/identity/load", "/v2/repository/models/identity/unload"})
    CHECK(d.client
              .ask("POST " + std::string(path) +
                   " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)
              .status == 413);
  CHECK(d.front.asked_to_manage().empty());
}
