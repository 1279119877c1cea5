#include "gateway/grpc_door/message_bytes.hpp"

#include <optional>
#include <vector>

#include "core/compression.hpp"

namespace shoal::gateway::grpc_door {

namespace {

/// Bytes that count against a budget for as long as they are there.
struct counted_bytes {
  counted_bytes(std::shared_ptr<byte_budget> budget, buffer bytes)
      : budget(std::move(budget)), bytes(std::move(bytes)) {}
  ~counted_bytes() { budget->give(bytes.size()); }
  counted_bytes(const counted_bytes&) = delete;
  counted_bytes& operator=(const counted_bytes&) = delete;

  std::shared_ptr<byte_budget> budget;
  buffer bytes;
};

buffer in_one_run(const grpc::ByteBuffer& message) {
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  if (!message.Dump(slices.get()).ok() || slices->empty()) return {};
  if (slices->size() == 1) {
    const auto& only = slices->front();
    return {slices, {reinterpret_cast<const std::byte*>(only.begin()), only.size()}};
  }
  return buffer::make(message.Length(), [&](std::byte* to) {
    for (const auto& slice : *slices) {
      std::memcpy(to, slice.begin(), slice.size());
      to += slice.size();
    }
  });
}

std::optional<coding> coding_of(const buffer& message) {
  if (message.size() < 2) return std::nullopt;
  const auto first = std::to_integer<unsigned>(message.data()[0]),
             second = std::to_integer<unsigned>(message.data()[1]);
  if (first == 0x1F && second == 0x8B) return coding::gzip;                       // RFC 1952, 2.3.1
  if (first == 0x78 && (first * 256 + second) % 31 == 0) return coding::deflate;  // RFC 1950, 2.2
  return std::nullopt;
}

}  // namespace

expected<buffer> take_message(const grpc::ByteBuffer& received, std::size_t most,
                              const std::shared_ptr<byte_budget>& budget) {
  if (!budget->take(received.Length()))
    return fail(errc::overloaded, "the gRPC door holds as many bytes of requests as it may: try again later");
  auto owner = std::make_shared<counted_bytes>(budget, in_one_run(received));
  const buffer message(owner, owner->bytes.bytes());
  const auto format = coding_of(message);
  if (!format) return message;
  auto inflated = inflate(*format, message.bytes(), most, budget);
  if (!inflated) return fail(inflated.error().code, "the message: " + inflated.error().message);
  return inflated;
}

}  // namespace shoal::gateway::grpc_door
