#include <doctest/doctest.h>

#include <cstring>

#include "link/bulk.hpp"

namespace shoal::test {
namespace {

using link::bulk_receiver;
using link::bulk_sender;

buffer pattern(std::size_t size) {
  return buffer::make(size, [&](std::byte* to) {
    for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<std::byte>(i * 7 / 5);
  });
}

link::bulk head_of(std::uint64_t transfer, const std::vector<buffer>& data) {
  protocol::infer body;
  link::bulk head;
  head.transfer = transfer;
  for (const auto& each : data) {
    head.parts.push_back({body.inputs.size(), each.size()});
    head.bytes += each.size();
    body.inputs.push_back({"x", dtype::uint8, {static_cast<std::int64_t>(each.size())}, {}});
  }
  head.body = std::move(body);
  return head;
}

TEST_CASE("pieces fill tensors in order, whatever their sizes") {
  const std::vector<buffer> data{pattern(0), pattern(3 * link::piece_size + 5), pattern(1), pattern(0),
                                 pattern(link::piece_size)};
  bulk_sender from;
  bulk_receiver to(1 << 26);
  REQUIRE(to.begin(head_of(9, data)) == bulk_receiver::refusal::none);
  from.add(9, 100, {{}, data});
  int pieces = 0;
  auto result = bulk_receiver::result::partial;
  while (auto step = from.next()) {
    if (step->head == nullptr) {
      ++pieces;
      REQUIRE(result == bulk_receiver::result::partial);
      result = to.take(step->part);
      const auto finished = from.written();
      CHECK(finished.has_value() == (result == bulk_receiver::result::complete));
      REQUIRE(from.taken());
    } else {
      CHECK_FALSE(from.written());
    }
  }
  CHECK(pieces == 6);
  REQUIRE(result == bulk_receiver::result::complete);
  const auto body = to.finished();
  const auto& got = std::get<protocol::infer>(body).inputs;
  for (std::size_t i = 0; i < data.size(); ++i) {
    REQUIRE(got[i].data.size() == data[i].size());
    CHECK((data[i].empty() || std::memcmp(got[i].data.data(), data[i].data(), data[i].size()) == 0));
  }
  CHECK(to.bytes() == 0);
  CHECK(from.empty());
}

TEST_CASE("at most a window of pieces is under way, over all transfers to a peer") {
  bulk_sender from;
  from.add(1, 0, {{}, {pattern(3 * link::piece_size)}});
  from.add(2, 0, {{}, {pattern(3 * link::piece_size)}});
  int pieces = 0;
  const auto drain = [&] {
    while (auto step = from.next()) {
      if (step->head == nullptr) ++pieces;
      from.written();
    }
  };
  drain();
  CHECK(pieces == bulk_sender::window);
  REQUIRE(from.taken());
  drain();
  CHECK(pieces == bulk_sender::window + 1);
  for (unsigned i = 0; i < bulk_sender::window; ++i) CHECK(from.taken());
  CHECK_FALSE(from.taken());  // nothing was under way
}

TEST_CASE("more than may be begun is refused before it is allocated") {
  bulk_receiver to(1000);
  auto head = head_of(1, {});
  head.parts.push_back({0, 1ULL << 61});
  head.bytes = 1ULL << 61;
  CHECK(to.begin(head) == bulk_receiver::refusal::too_large);
  CHECK(to.begin(head_of(1, {pattern(600)})) == bulk_receiver::refusal::none);
  CHECK(to.begin(head_of(2, {pattern(600)})) == bulk_receiver::refusal::too_large);
  CHECK(to.begin(head_of(1, {pattern(100)})) == bulk_receiver::refusal::duplicate);
  CHECK(to.begin(head_of(3, {})) == bulk_receiver::refusal::too_large);
  CHECK(to.bytes() == 600);
}

TEST_CASE("a piece that leaves a gap, repeats, or has another size ends its transfer") {
  for (const auto& wrong : {link::piece{1, 0, 5, pattern(595)}, link::piece{1, 1, 0, pattern(600)},
                            link::piece{1, 0, 0, pattern(599)}, link::piece{1, 0, 0, pattern(601)}}) {
    bulk_receiver to(1000);
    REQUIRE(to.begin(head_of(1, {pattern(600)})) == bulk_receiver::refusal::none);
    CHECK(to.take(wrong) == bulk_receiver::result::broken);
    CHECK(to.bytes() == 0);
    CHECK(to.take({1, 0, 0, pattern(600)}) == bulk_receiver::result::unknown);
  }
}

}  // namespace
}  // namespace shoal::test
