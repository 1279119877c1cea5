// Requests that carry text, as the gateway holds them; who reads the text is the test.
#include "gateway/text/text_request.hpp"
#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;
using gateway::gateway_options;

namespace {

struct text_fixture : gateway_fixture {
  std::vector<text_order> orders;
  std::vector<request_id> dropped;

  explicit text_fixture(gateway_options options = {}) : gateway_fixture(options) {
    add_scheduler();
    mind.read_text_with({[this](text_order order) { orders.push_back(std::move(order)); },
                         [this](request_id ticket) { dropped.push_back(ticket); }});
  }
  static infer text(request_id id) {
    infer request;
    request.id = id;
    request.model = "m";
    request.inputs.push_back(gateway::bytes_tensor(gateway::text_input, {"some text"}, true));
    return request;
  }
  void finish_text(request_id ticket) {
    text_done done{ticket, {}};
    done.result.result = std::vector<tensor>{};
    mind.on(done, now);
  }
  void submit_part(request_id ticket) {
    submission part{ticket, matrix_request(0), [](const outcome&) {}, true};
    mind.submit(part, now);
  }
};

}  // namespace

TEST_CASE("text is handed to who reads it, and its answer to who asked") {
  text_fixture f;
  f.ask(f.client, text_fixture::text(7));
  REQUIRE(f.orders.size() == 1);
  CHECK(f.orders[0].any_version);
  CHECK(f.orders[0].request.version == 1);
  CHECK(f.orders[0].deadline > f.now);
  CHECK_FALSE(f.mind.idle());
  CHECK(f.held_bytes() == 13);
  f.finish_text(f.orders[0].ticket);
  CHECK(f.answer().id == 7);
  CHECK(f.held_bytes() == 0);
  CHECK(f.mind.idle());
  f.finish_text(f.orders[0].ticket);
  CHECK(f.link.count<outcome>(f.client) == 0);
}

TEST_CASE("a gateway that reads no text says so") {
  gateway_fixture f;
  f.add_scheduler();
  f.ask(f.client, text_fixture::text(1));
  CHECK(f.refusal().code == errc::unsupported);
}

TEST_CASE("texts take the room there is, and their parts none besides") {
  gateway_options options;
  options.max_requests = 2;
  text_fixture f(options);
  f.ask(f.client, text_fixture::text(1));
  f.ask(f.client, text_fixture::text(2));
  f.ask(f.client, text_fixture::text(3));
  CHECK(f.refusal().code == errc::overloaded);
  f.submit_part(1001);
  f.submit_part(1002);
  const auto first = f.handed();
  CHECK(first.id == 1001);
  CHECK(f.handed().id == 1002);
  const auto before = f.held_bytes();
  f.finish(first);
  CHECK(f.held_bytes() == before);
  f.finish_text(f.orders[0].ticket);
  CHECK(f.answer().result);
  // A part that is still under way is nobody's room.
  f.ask(9);
  CHECK(f.handed().id != 0);
  f.ask(10);
  CHECK(f.refusal().code == errc::overloaded);
  CHECK(f.figure("shoal_gateway_requests_total{outcome=ok}") == 1);
}

TEST_CASE("a text has its outcome by its deadline, whoever is busy") {
  text_fixture f;
  auto request = text_fixture::text(4);
  request.time_left = 2s;
  f.ask(f.client, request);
  f.wait(3s);
  CHECK(f.refusal().code == errc::deadline_exceeded);
  CHECK(f.dropped == std::vector{f.orders.at(0).ticket});
  CHECK(f.mind.idle());
  f.finish_text(f.orders[0].ticket);
  CHECK(f.link.count<outcome>(f.client) == 0);
}

TEST_CASE("a client that cancels or leaves takes its text back") {
  text_fixture f;
  f.ask(f.client, text_fixture::text(1));
  f.ask(f.client, text_fixture::text(2));
  deliver(f.mind, f.client, cancel{{0, 1}}, f.now);
  CHECK(f.refusal().code == errc::cancelled);
  CHECK(f.dropped == std::vector{f.orders[0].ticket});
  down(f.mind, f.client, f.now);
  CHECK(f.dropped.size() == 2);
  CHECK(f.mind.idle());
}

TEST_CASE("a gateway that drains ends the texts that it has, and takes no other") {
  text_fixture f;
  f.ask(f.client, text_fixture::text(1));
  f.mind.start_draining();
  f.submit_part(1001);
  CHECK(f.handed().id == 1001);
  f.ask(f.client, text_fixture::text(2));
  CHECK(f.refusal().code == errc::unavailable);
  CHECK_FALSE(f.mind.idle());
}
