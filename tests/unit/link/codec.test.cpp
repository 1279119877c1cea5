// What the decoder lets in and the encoder lets out, at the edges.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include "mesh.capnp.h"
#include "unit/link/samples.hpp"

namespace shoal::test {
namespace {

using namespace protocol;

/// Encodes what no honest sender would.
template <class Fill>
std::vector<std::byte> handmade(Fill fill) {
  capnp::MallocMessageBuilder builder;
  fill(builder.initRoot<wire::Envelope>());
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  const auto* from = reinterpret_cast<const std::byte*>(bytes.begin());
  return {from, from + bytes.size()};
}

expected<link::envelope> read(std::vector<std::byte> head, std::vector<std::vector<std::byte>> rest = {}) {
  std::vector<std::vector<std::byte>> frames{std::move(head)};
  for (auto& each : rest) frames.push_back(std::move(each));
  std::uint64_t copies = 0;
  return decode_frames(frames, copies);
}

errc refusal(const expected<link::envelope>& got) {
  REQUIRE_FALSE(got);
  return got.error().code;
}

void put_tensor(wire::Tensor::Builder to, unsigned type, std::initializer_list<std::int64_t> dims, bool data) {
  to.setName("x");
  to.setDtype(static_cast<std::uint8_t>(type));
  auto list = to.initDims(static_cast<unsigned>(dims.size()));
  unsigned i = 0;
  for (const auto size : dims) list.set(i++, size);
  to.setHasData(data);
}

std::vector<std::byte> one_tensor(unsigned type, std::initializer_list<std::int64_t> dims, bool data = true,
                                  std::uint64_t transfer = 0) {
  return handmade([&](wire::Envelope::Builder root) {
    auto body = root.initInfer();
    put_tensor(body.initInputs(1)[0], type, dims, data);
    body.initBulk().setTransfer(transfer);
  });
}

constexpr unsigned fp32 = static_cast<unsigned>(dtype::fp32);

TEST_CASE("numbers keep their value up to their limits") {
  infer body;
  body.id = std::numeric_limits<std::uint64_t>::max();
  body.attempt = std::numeric_limits<std::uint32_t>::max();
  body.version = std::numeric_limits<std::uint64_t>::max();
  body.deaths = std::numeric_limits<std::uint32_t>::max();
  body.time_left = microseconds(link::max_time_us);
  body.model = std::string(link::max_name, 'm');
  body.inputs.push_back({"", dtype::fp64, shape(max_rank, 1), buffer::copy(std::vector<std::byte>(8))});
  std::uint64_t copies = 0;
  auto got = decode_frames(frames_of(message(body)), copies);
  REQUIRE(got);
  CHECK(same(std::get<message>(got->content), message(body)));
}

TEST_CASE("times beyond twelve days are cut, so that no clock overflows") {
  infer body;
  body.time_left = microseconds::max();
  std::uint64_t copies = 0;
  auto got = decode_frames(frames_of(message(body)), copies);
  REQUIRE(got);
  CHECK(std::get<infer>(std::get<message>(got->content)).time_left.count() == link::max_time_us);
  got = read(handmade(
      [](wire::Envelope::Builder root) { root.initInfer().setTimeLeftUs(std::numeric_limits<std::int64_t>::min()); }));
  REQUIRE(got);
  CHECK(std::get<infer>(std::get<message>(got->content)).time_left.count() == -link::max_time_us);
  got = read(handmade([](wire::Envelope::Builder root) {
    root.initCompletion().setComputeUs(std::numeric_limits<std::uint64_t>::max());
  }));
  REQUIRE(got);
  CHECK(std::get<completion>(std::get<message>(got->content)).compute_time.count() == link::max_time_us);
}

TEST_CASE("a tensor's frame must have the bytes its shape says") {
  const std::vector<std::byte> twelve(12), sixteen(16);
  CHECK(read(one_tensor(fp32, {3}), {twelve}));
  CHECK(refusal(read(one_tensor(fp32, {3}), {sixteen})) == errc::corrupt);
  CHECK(refusal(read(one_tensor(fp32, {3}), {})) == errc::corrupt);
  CHECK(refusal(read(one_tensor(fp32, {3}), {twelve, twelve})) == errc::corrupt);
  CHECK(refusal(read(one_tensor(fp32, {3}, false), {twelve})) == errc::corrupt);
  CHECK(read(one_tensor(fp32, {3}, false)));
}

TEST_CASE("shapes that are negative, too many or overflow are refused") {
  constexpr auto huge = std::numeric_limits<std::int64_t>::max();
  for (const bool data : {true, false}) {
    CHECK_FALSE(read(one_tensor(fp32, {-1}, data)));
    CHECK_FALSE(read(one_tensor(fp32, {huge, huge}, data)));
    CHECK_FALSE(read(one_tensor(fp32, {1LL << 32, 1LL << 32}, data)));
    CHECK_FALSE(read(one_tensor(fp32, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, data)));
  }
  CHECK(refusal(read(one_tensor(fp32, {huge / 4}, true, 1))) == errc::invalid_argument);
}

TEST_CASE("the sum of a bulk message's sizes must not overflow") {
  const auto head = handmade([](wire::Envelope::Builder root) {
    auto body = root.initInfer();
    auto inputs = body.initInputs(8);
    for (auto input : inputs) put_tensor(input, fp32, {1LL << 59}, true);
    body.initBulk().setTransfer(1);
  });
  CHECK(refusal(read(head)) == errc::too_large);
}

TEST_CASE("numbers that no enumeration has are refused, unknown error codes become internal") {
  CHECK(refusal(read(one_tensor(200, {1}), {std::vector<std::byte>(4)})) == errc::unsupported);
  CHECK(refusal(read(handmade([](wire::Envelope::Builder root) {
          root.initHello().setService(static_cast<wire::ServiceKind>(9));
        }))) == errc::unsupported);
  CHECK(refusal(read(handmade([](wire::Envelope::Builder root) {
          root.initCatalogue().initModels(1)[0].setState(9);
        }))) == errc::unsupported);
  const auto got = read(handmade([](wire::Envelope::Builder root) {
    auto why = root.initRefused();
    why.setCode(4711);
    why.setMessage("from a later release");
  }));
  REQUIRE(got);
  const auto& why = std::get<link::refused>(std::get<link::control>(got->content)).reason;
  CHECK(why.code == errc::internal);
  CHECK(why.message == "from a later release");
}

TEST_CASE("a message of a kind that a later release added is refused by its number") {
  auto head = handmade([](wire::Envelope::Builder root) { root.setDescribe(); });
  // The union's tag is the first 16 bits after `epoch`: one word of segment table, one of root pointer, one of epoch.
  const std::uint16_t later = 999;
  std::memcpy(head.data() + 24, &later, sizeof later);
  const auto got = read(head);
  CHECK(refusal(got) == errc::unsupported);
  CHECK(got.error().message.find("999") != std::string::npos);
}

TEST_CASE("lists and texts above their limits are refused on both sides") {
  CHECK(refusal(read(handmade([](wire::Envelope::Builder root) {
          root.initCompletion().initFinished(static_cast<unsigned>(link::max_keys) + 1);
        }))) == errc::too_large);
  CHECK(refusal(read(handmade([](wire::Envelope::Builder root) {
          root.initInfer().setModel(std::string(link::max_name + 1, 'm').c_str());
        }))) == errc::too_large);
  completion many;
  many.finished.resize(link::max_keys + 1);
  CHECK(link::encode(1, message(many)).error().code == errc::too_large);
  infer named;
  named.model = std::string(link::max_name + 1, 'm');
  CHECK(link::encode(1, message(named)).error().code == errc::too_large);
  batch wide;
  for (std::uint64_t i = 0; i < 100; ++i) {
    batch_member member{{1, i}, {}, {}};
    member.request.id = i;
    member.request.inputs.assign(100, {"x", dtype::fp32, {0}, {}});
    wide.members.push_back(member);
  }
  CHECK(link::encode(1, message(wide)).error().code == errc::too_large);
}

TEST_CASE("an error's sentence is cut rather than the outcome lost") {
  outcome body{1, 0, fail(errc::internal, std::string(100'000, 'e'))};
  std::uint64_t copies = 0;
  auto got = decode_frames(frames_of(message(body)), copies);
  REQUIRE(got);
  CHECK(std::get<outcome>(std::get<message>(got->content)).result.error().message.size() == link::max_sentence);
}

TEST_CASE("a batch member whose key is not its request's is refused to the sender") {
  batch body{1, 1, {{{7, 1}, {}, {}}}};
  CHECK(link::encode(1, message(body)).error().code == errc::invalid_argument);
}

TEST_CASE("pointers that lead to the same words again and again run into the limit") {
  // A list of pointers to one text, far more often than the message has words: an amplification by a small frame.
  auto head = handmade([](wire::Envelope::Builder root) {
    auto body = root.initInfer();
    auto outputs = body.initOutputs(500);
    outputs.set(0, std::string(250, 'o').c_str());
  });
  // Each of the other 499 pointers is made to point at the text of the first.
  constexpr std::size_t none = 0;
  auto words = std::span(reinterpret_cast<std::uint64_t*>(head.data()), head.size() / 8);
  std::size_t first = none;
  for (std::size_t i = 1; i < words.size() && first == none; ++i)
    if ((words[i] & 3) == 1 && (words[i] >> 35) == 251 && ((words[i] >> 32) & 7) == 2) first = i;
  REQUIRE(first != none);
  REQUIRE(first + 500 <= words.size());
  const auto pointer = words[first];
  for (std::uint64_t i = 1; i < 500; ++i) words[first + i] = pointer - (i << 2);
  const auto got = read(head);
  CHECK(refusal(got) == errc::corrupt);
}

TEST_CASE("bytes that are not an envelope are corrupt") {
  CHECK(refusal(read({})) == errc::corrupt);
  CHECK(refusal(read(std::vector<std::byte>(7))) == errc::corrupt);
  CHECK(refusal(read(std::vector<std::byte>(64, std::byte{0xff}))) == errc::corrupt);
  auto head = one_tensor(fp32, {0}, false);
  head.resize(head.size() + 8);
  CHECK(refusal(read(head)) == errc::corrupt);
  CHECK(refusal(read(std::vector<std::byte>(link::max_envelope_bytes + 8))) == errc::corrupt);
  const auto too_long = handmade([](wire::Envelope::Builder root) {
    root.initRefused().setMessage(std::string(link::max_envelope_bytes, 'x').c_str());
  });
  CHECK(too_long.size() < link::max_envelope_bytes + link::tail_size);
  const auto got = read(too_long);
  CHECK(refusal(got) == errc::corrupt);
  CHECK(got.error().message == "an envelope of " + std::to_string(too_long.size()) + " bytes");
}

TEST_CASE("bytes of tensors behind the envelope mean what frames of them mean") {
  std::size_t with_tensors = 0;
  for (const auto& each : samples()) {
    CAPTURE(each.name);
    const auto frames = frames_of(each.body);
    auto one = frames[0];
    for (std::size_t i = 1; i < frames.size(); ++i) one.insert(one.end(), frames[i].begin(), frames[i].end());
    if (one.size() == frames[0].size()) continue;
    ++with_tensors;
    const auto got = read(one);
    REQUIRE(got);
    if (const auto* said = std::get_if<link::control>(&each.body))
      CHECK(same(std::get<link::control>(got->content), *said));
    else
      CHECK(same(std::get<message>(got->content), std::get<message>(each.body)));
    CHECK(refusal(read(one, {{}})) == errc::corrupt);
    if (std::holds_alternative<link::control>(each.body)) continue;  // a piece says nowhere how long it is
    one.push_back({});
    CHECK(refusal(read(one)) == errc::corrupt);
    one.resize(one.size() - 2);
    CHECK(refusal(read(one)) == errc::corrupt);
  }
  CHECK(with_tensors >= 8);
}

TEST_CASE("more behind the envelope than may be there is refused") {
  constexpr auto uint8 = static_cast<unsigned>(dtype::uint8);
  const auto with_tail = [](std::int64_t size, std::uint64_t transfer = 0) {
    auto head = one_tensor(uint8, {size}, true, transfer);
    head.resize(head.size() + static_cast<std::size_t>(size));
    return head;
  };
  CHECK(read(with_tail(link::tail_size)));
  CHECK(refusal(read(with_tail(link::tail_size + 1))) == errc::corrupt);
  CHECK(refusal(read(with_tail(8, 1))) == errc::corrupt);  // they were to come in pieces
  CHECK(refusal(read(with_tail(0))) == errc::corrupt);     // no bytes have a frame of their own
}

TEST_CASE("an envelope and tensors at odd addresses are copied and counted") {
  const auto frames = frames_of(message(
      infer{1, 0, {}, "m", 1, {{"x", dtype::fp32, {2}, buffer::copy(std::vector<std::byte>(8, std::byte{3}))}}}));
  REQUIRE(frames.size() == 2);
  std::vector<std::byte> odd(frames[0].size() + 16);
  std::memcpy(odd.data() + 1, frames[0].data(), frames[0].size());
  const auto shifted =
      buffer::make(16, [&](std::byte* to) { std::memcpy(to + 1, frames[1].data(), frames[1].size()); });
  std::vector<buffer> rest{shifted.slice(1, 8)};
  std::uint64_t copies = 0;
  const auto got = link::decode(std::span(odd).subspan(1, frames[0].size()), rest, copies);
  REQUIRE(got);
  CHECK(copies == 2);
  const auto& data = std::get<infer>(std::get<message>(got->content)).inputs[0].data;
  CHECK(reinterpret_cast<std::uintptr_t>(data.data()) % 64 == 0);
  CHECK(data.data()[7] == std::byte{3});
}

}  // namespace
}  // namespace shoal::test
