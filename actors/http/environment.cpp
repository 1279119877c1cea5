#include "http/connection.hpp"

namespace shoal::http {

namespace {

/// Answers up to this are not counted: health, errors and metrics go out when others take all the room for answers.
constexpr std::size_t uncounted_answer = std::size_t{64} << 10;

}  // namespace

environment::environment(options wanted_, handler handle_)
    : wanted(std::move(wanted_)),
      handle(std::move(handle_)),
      bodies(std::make_shared<byte_budget>(wanted.limits.body_bytes_total)),
      answers(std::make_shared<byte_budget>(wanted.limits.answer_bytes_total)),
      counters(wanted.registry, wanted.name) {}

boost::asio::thread_pool& environment::coder() {
  if (!coder_) coder_.emplace(1);
  return *coder_;
}

expected<taken_bytes> environment::room_for_answer(std::size_t bytes) {
  if (bytes <= uncounted_answer) return taken_bytes();
  if (bytes > wanted.limits.answer_bytes_total)
    return fail(errc::too_large, "the answer's " + std::to_string(bytes) + " bytes are more than this server holds");
  while (true) {
    if (auto room = taken_bytes::take(answers, bytes)) return std::move(*room);
    auto since = steady::now() - wanted.limits.slow_reader_time;
    std::shared_ptr<connection> slowest;
    for (const auto& each : connections)
      if (const auto begun = each->writes_since(); begun && *begun <= since) {
        since = *begun;
        slowest = each;
      }
    if (!slowest)
      return fail(errc::overloaded,
                  "answers that wait to be read take all the memory there is for them: try again later");
    slowest->close();
  }
}

}  // namespace shoal::http
