#include "fuzz/read_grpc.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "gateway/grpc_door/log.hpp"
#include "gateway/grpc_door/message_bytes.hpp"
#include "gateway/grpc_door/methods.hpp"
#include "unit/support/fake_front.hpp"

namespace shoal::test {

namespace {

/// The identity, for what the door has really checked.
std::optional<protocol::outcome> checked_echo(const protocol::infer& request) {
  for (const auto& input : request.inputs) {
    const auto size = byte_size(input.type, input.dims);
    if (!size || *size != input.data.size()) throw std::logic_error("an input is not as long as its shape says");
  }
  return echo(request);
}

}  // namespace

expected<void> read_grpc(std::span<const std::byte> input) {
  gateway::grpc_door::log_as_we_do();
  const auto end = std::find(input.begin(), input.end(), std::byte{0});
  const auto name_length = static_cast<std::size_t>(end - input.begin());
  const std::string path = "/inference.GRPCInferenceService/" + std::string(reinterpret_cast<const char*>(input.data()),
                                                                            std::min<std::size_t>(name_length, 64));
  const auto* method = gateway::grpc_door::find_method(path);
  if (method == nullptr) return fail(errc::not_found, "no such method");
  const auto rest = input.subspan(std::min(name_length + 1, input.size()));
  const grpc::Slice slice(rest.data(), rest.size());
  auto budget = std::make_shared<byte_budget>(std::size_t{8} << 20);
  const auto message = gateway::grpc_door::take_message({&slice, 1}, std::size_t{1} << 20, budget);
  if (!message) return tl::unexpected(message.error());
  fake_front front({{identity_model()}}, checked_echo);
  int answers = 0;
  expected<void> result;
  method->handle({front, *message, protocol::microseconds(0), {}}, [&](expected<grpc::ByteBuffer> answer) {
    ++answers;
    if (!answer) result = tl::unexpected(answer.error());
  });
  if (answers != 1) throw std::logic_error("answered " + std::to_string(answers) + " times");
  return result;
}

}  // namespace shoal::test
