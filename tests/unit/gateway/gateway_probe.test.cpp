#include "gateway/probe.hpp"

#include <algorithm>
#include <limits>

#include "gateway/admission.hpp"
#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {
using fixture = gateway_fixture;
constexpr auto interval = 5s;
}  // namespace

TEST_CASE("a probe is zeros of the smallest shape, and passes the gateway's own checks") {
  model_spec spec = matrix_model();
  spec.inputs = {{"x", dtype::fp16, {{0, 8, "batch"}, {3, 9, "width"}, dimension::fixed(2)}, 0},
                 {"flag", dtype::boolean, {}, 0},
                 {"open", dtype::int64, {{0, std::numeric_limits<std::int64_t>::max(), ""}}, 0}};
  auto request = gateway::probe_of(spec);
  CHECK(request.model == "m");
  CHECK(request.version == 1);
  REQUIRE(request.inputs.size() == 3);
  CHECK(request.inputs[0].dims == shape{1, 3, 2});
  CHECK(request.inputs[0].data.size() == 12);
  CHECK(request.inputs[1].dims.empty());
  CHECK(request.inputs[1].data.size() == 1);
  CHECK(request.inputs[2].dims == shape{1});
  for (const auto& input : request.inputs)
    CHECK(std::all_of(input.data.bytes().begin(), input.data.bytes().end(),
                      [](std::byte b) { return b == std::byte{0}; }));
  CHECK(gateway::admit(spec, request));
}

TEST_CASE("a mesh that has just come up is probed at once, and ready when the probe succeeds") {
  fixture f;
  CHECK_FALSE(f.board->ready(f.now));
  f.add_scheduler();
  REQUIRE(f.mind.next_wake());
  CHECK(*f.mind.next_wake() <= f.now);
  f.wait(0s);
  const auto probe = f.handed();
  CHECK(probe.model == "m");
  CHECK_FALSE(f.board->ready(f.now));
  f.finish(probe);
  CHECK(f.board->ready(f.now));
  CHECK(f.link.sent.empty());  // nobody is told of a probe
  CHECK(f.mind.idle());
}

TEST_CASE("only one probe is under way at a time, and one that gets no answer is given up") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  const auto probe = f.handed();
  deliver(f.mind, f.scheduler, catalogue{{matrix_model()}}, f.now);
  f.wait(1s);
  CHECK(f.link.count<infer>(f.scheduler) == 0);
  f.wait(interval);
  CHECK(f.link.count<cancel>(f.scheduler) == 1);
  f.wait(interval);
  CHECK(f.handed().id != probe.id);
  CHECK_FALSE(f.board->ready(f.now));
}

TEST_CASE("traffic that succeeds makes probes needless") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.finish(f.handed());
  for (request_id id = 1; id < 20; ++id) {
    f.ask(id);
    f.finish(f.handed());
    f.wait(interval / 2);
    CHECK(f.link.count<infer>(f.scheduler) == 0);
    CHECK(f.board->ready(f.now));
  }
}

TEST_CASE("without any success the gateway is no longer ready after its window") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.finish(f.handed());
  f.now += 3 * interval;
  CHECK(f.board->ready(f.now));
  CHECK_FALSE(f.board->ready(f.now + 1ms));
}

TEST_CASE("a probe that fails does not make ready, unless the model itself refused it") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.fail_with(f.handed(), {errc::internal, "broken"});
  CHECK_FALSE(f.board->ready(f.now));
  f.wait(interval);
  f.fail_with(f.handed(), {errc::invalid_argument, "zeros are no ids"}, f.worker);
  CHECK(f.board->ready(f.now));
}

TEST_CASE("a client's refused request is no proof that the mesh works") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  f.fail_with(f.handed(), {errc::invalid_argument, "no"}, f.worker);
  CHECK_FALSE(f.board->ready(f.now));
}

TEST_CASE("models are probed in turn, and only those that are ready") {
  fixture f;
  auto loading = matrix_model("loading");
  loading.state = model_state::loading;
  f.add_scheduler(f.scheduler, {matrix_model("a"), loading, matrix_model("z")});
  std::string turns;
  f.wait(0s);
  for (int i = 0; i < 4; ++i) {
    const auto probe = f.handed();
    turns += probe.model;
    f.finish(probe);
    f.wait(interval);
  }
  CHECK(turns == "azaz");
}

TEST_CASE("a mesh without models is not ready, and nothing is probed") {
  fixture f;
  f.add_scheduler(f.scheduler, {});
  f.wait(0s);
  CHECK(f.link.sent.empty());
  CHECK_FALSE(f.board->ready(f.now));
}

TEST_CASE("a probe that the full gateway refuses is tried again later") {
  gateway::gateway_options options;
  options.max_requests = 1;
  fixture f(options);
  f.add_scheduler();
  auto slow = matrix_request(1);
  slow.time_left = 1h;
  f.ask(f.client, slow);
  const auto head = f.handed();
  f.wait(0s);
  CHECK(f.link.count<infer>(f.scheduler) == 0);
  f.fail_with(head, {errc::internal, "broken"});
  f.wait(interval);
  CHECK(f.link.count<infer>(f.scheduler) == 1);
}

TEST_CASE("a gateway that drains starts no probe") {
  fixture f;
  f.add_scheduler();
  f.mind.start_draining();
  f.wait(0s);
  f.wait(interval);
  CHECK(f.mind.idle());
  CHECK(f.link.sent.empty());
}

TEST_CASE("a mesh that loses its workers is no longer ready, and comes back by a probe when nobody asks for anything") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.finish(f.handed());
  auto gone = matrix_model();
  gone.state = model_state::loading;
  deliver(f.mind, f.scheduler, catalogue{{gone}}, f.now);
  for (int i = 0; i < 3; ++i) {
    CHECK(f.board->ready(f.now));
    f.wait(interval);
  }
  f.wait(interval);
  CHECK_FALSE(f.board->ready(f.now));
  CHECK(f.link.count<infer>(f.scheduler) == 0);  // no worker could answer a probe

  deliver(f.mind, f.scheduler, catalogue{{matrix_model()}}, f.now);
  CHECK_FALSE(f.board->ready(f.now));  // that a worker lists its models is not enough
  f.wait(interval);
  f.finish(f.handed());
  CHECK(f.board->ready(f.now));
}

TEST_CASE("workers that answer nothing make unready, whether asked by clients or by probes, until one answers") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.finish(f.handed());
  for (request_id id = 1; f.board->ready(f.now); ++id) {
    REQUIRE(id < 20);
    auto request = matrix_request(id);
    request.time_left = 1s;
    f.ask(f.client, request);
    f.wait(1s);
    CHECK(f.answer().result.error().code == errc::deadline_exceeded);
  }
  f.link.sent.clear();
  f.wait(2 * interval);  // the probe that was under way is given up, and the next one begins
  const auto probe = f.handed();
  CHECK_FALSE(f.board->ready(f.now));
  f.finish(probe);
  CHECK(f.board->ready(f.now));
}

TEST_CASE("recent traffic alone makes ready and keeps it so: no probe has to succeed") {
  fixture f;
  f.add_scheduler();
  f.wait(0s);
  f.fail_with(f.handed(), {errc::internal, "this model takes no zeros"});
  CHECK_FALSE(f.board->ready(f.now));
  for (request_id id = 1; id < 20; ++id) {
    f.ask(id);
    f.finish(f.handed());
    CHECK(f.board->ready(f.now));
    f.wait(interval / 2);
    CHECK(f.board->ready(f.now));
    CHECK(f.link.count<infer>(f.scheduler) == 0);
  }
}
