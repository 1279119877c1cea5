#include "gateway/grpc_door/call.hpp"

namespace shoal::gateway::grpc_door {

expected<taken_bytes> environment::room_for_answer(std::size_t bytes) {
  if (bytes > limits.answer_bytes_total)
    return fail(errc::too_large, "the answer's " + std::to_string(bytes) + " bytes are more than the gRPC door holds");
  while (true) {
    if (auto room = taken_bytes::take(answers, bytes)) return std::move(*room);
    std::vector<std::shared_ptr<call>> present;
    {
      const std::lock_guard lock(mutex);
      present.assign(calls.begin(), calls.end());
    }
    auto since = steady::now() - limits.slow_reader_time;
    call* slowest = nullptr;
    for (const auto& each : present)
      if (const auto begun = each->writes_since(); begun && *begun <= since) {
        since = *begun;
        slowest = each.get();
      }
    if (slowest == nullptr)
      return fail(errc::overloaded,
                  "answers that wait to be read take all the memory there is for them: try again later");
    slowest->cut();
  }
}

}  // namespace shoal::gateway::grpc_door
