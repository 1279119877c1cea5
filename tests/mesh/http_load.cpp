#include "mesh/http_load.hpp"

#include <chrono>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "mesh/process.hpp"
#include "unit/http/raw_client.hpp"

namespace shoal::test {

using namespace std::chrono_literals;

namespace {

constexpr auto before_again = 20ms;

bool is_right(const std::string& body, float first) {
  const auto answer = nlohmann::json::parse(body, nullptr, false);
  if (answer.is_discarded() || !answer.contains("outputs") || answer["outputs"].size() != 1) return false;
  return answer["outputs"][0]["data"] == nlohmann::json{first, first + 1, first + 2};
}

}  // namespace

std::string identity_post(float first) {
  const nlohmann::json body{
      {"inputs", {{{"name", "x"}, {"datatype", "FP32"}, {"shape", {1, 3}}, {"data", {first, first + 1, first + 2}}}}},
      {"parameters", {{"timeout", 30'000'000}}}};  // microseconds
  const auto text = body.dump();
  return "POST /v2/models/identity/infer HTTP/1.1\r\nHost: mesh\r\nContent-Length: " + std::to_string(text.size()) +
         "\r\n\r\n" + text;
}

http_load::http_load(std::string address, std::size_t threads) : address_(std::move(address)) {
  for (std::size_t t = 0; t < threads; ++t) threads_.emplace_back([this, t] { run(t); });
}

http_load::~http_load() { finish(); }

void http_load::run(std::size_t number) {
  std::unique_ptr<raw_client> connection;
  bool was_used = false;
  for (int i = 0; !ends_; ++i) {
    const auto first = static_cast<float>(static_cast<int>(number) * 100'000 + i % 100'000);
    count(&tally::sent);
    while (!send(connection, was_used, first)) {
    }
    std::this_thread::sleep_for(2ms);
  }
}

bool http_load::count(std::size_t tally::*what) {
  const std::lock_guard lock(mutex_);
  ++(tally_.*what);
  return true;
}

bool http_load::fail(std::string what) {
  const std::lock_guard lock(mutex_);
  tally_.wrong.push_back(std::move(what));
  return true;
}

bool http_load::send(std::unique_ptr<raw_client>& connection, bool& was_used, float first) {
  const auto again = [&](std::size_t tally::*why) {
    count(why);
    connection.reset();
    std::this_thread::sleep_for(before_again);
    return false;
  };
  if (!connection) {
    was_used = false;
    try {
      connection = std::make_unique<raw_client>(address_);
    } catch (const std::runtime_error&) {
      return ends_ ? fail("could not be sent at all: nobody listens") : again(&tally::unreachable);
    }
  }
  const auto reply = connection->ask(identity_post(first));
  if (reply.status == 0) {
    if (connection->is_torn()) {
      connection.reset();
      return fail("the connection was closed within an answer");
    }
    return again(was_used ? &tally::closed_while_idle : &tally::closed_when_new);
  }
  if (reply.status == 503) {
    {
      const std::lock_guard lock(mutex_);
      tally_.refusal = reply.body;
    }
    return again(&tally::refused);
  }
  was_used = true;
  if (const auto says = reply.fields.find("Connection"); says != reply.fields.end() && says->second == "close")
    connection.reset();
  if (reply.status != 200) return fail("status " + std::to_string(reply.status) + ": " + reply.body);
  return is_right(reply.body, first) ? count(&tally::answered) : fail("a wrong answer: " + reply.body);
}

http_load::tally http_load::finish() {
  ends_ = true;
  for (auto& each : threads_)
    if (each.joinable()) each.join();
  return so_far();
}

http_load::tally http_load::so_far() const {
  const std::lock_guard lock(mutex_);
  return tally_;
}

std::string http_address(const std::string& ready) { return word_after(ready, " http="); }

}  // namespace shoal::test
