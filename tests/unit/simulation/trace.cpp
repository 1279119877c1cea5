#include "unit/simulation/trace.hpp"

#include <algorithm>
#include <cstdlib>

#include <spdlog/fmt/fmt.h>

namespace shoal::test {

using namespace protocol;

namespace {

const char* setting() { return std::getenv("SHOAL_TRACE"); }

constexpr const char* message_names[] = {"infer",     "cancel",   "outcome",   "batch",    "offer",   "completion",
                                         "fetch",     "payload",  "catalogue", "describe", "inquire", "report",
                                         "acquire",   "leased",   "store",     "stored",   "release", "manage",
                                         "managed",   "recall",   "want",      "withdraw", "started", "follows",
                                         "plan_news", "sampling", "sample",    "breach"};
static_assert(std::size(message_names) == std::variant_size_v<message>);

std::string text_of(const outcome& told) {
  return told.result ? fmt::format("outcome (attempt {}): answer by version {}", told.attempt, told.version)
                     : fmt::format("outcome (attempt {}): {}: {}", told.attempt, name_of(told.result.error().code),
                                   told.result.error().message);
}

}  // namespace

bool traces() { return setting() != nullptr; }

void tracer::note(std::optional<place_id> place, const std::string& what, std::uint64_t number) {
  std::set<std::uint64_t> numbers;
  if (number != 0) numbers.insert(number);
  lines_.push_back({fmt::format("{:.6f} {}: {}{}", time_.seconds(), place ? names_[*place] : "network",
                                number != 0 ? fmt::format("request {} ", number) : "", what),
                    std::move(numbers)});
}

std::uint64_t tracer::number_of(const request_key& key) const {
  const auto found = numbers_.find(key);
  return found == numbers_.end() ? 0 : found->second;
}

std::string tracer::keys(const std::vector<request_key>& these, std::set<std::uint64_t>& numbers) const {
  std::string text;
  for (const auto& key : these) {
    const auto number = number_of(key);
    numbers.insert(number);
    text += fmt::format(" {}", number);
  }
  return text;
}

void tracer::heard(place_id from, place_id to, const link_event& what) {
  line added;
  std::string text;
  if (const auto* up = std::get_if<peer_up>(&what)) {
    text = fmt::format("is up as peer {}", up->peer);
  } else if (const auto* down = std::get_if<peer_down>(&what)) {
    text = fmt::format("peer {} is down: {}", down->peer, down->reason.message);
  } else {
    const auto& told = std::get<delivery>(what);
    text = text_of(from, to, told.body, added.numbers);
    added.is_detail = added.numbers.empty() || *added.numbers.rbegin() == 0;
  }
  added.text = fmt::format("{:.6f} {} <- {}: {}", time_.seconds(), names_[to], names_[from], text);
  lines_.push_back(std::move(added));
}

std::string tracer::text_of(place_id from, place_id to, const message& body, std::set<std::uint64_t>& numbers) {
  const std::string name = message_names[body.index()];
  if (const auto* request = std::get_if<infer>(&body)) {
    const auto number = request->trace.trace_low;
    numbers.insert(number);
    wires_[{from, {to, request->id}}] = number;
    numbers_[{instances_[from], request->id}] = number;
    return fmt::format("infer {} as {} (attempt {}): {} version {}, {} us left{}", number, request->id,
                       request->attempt, request->model, request->version, request->time_left.count(),
                       request->payload_held ? ", payload held" : "");
  }
  if (const auto* told = std::get_if<outcome>(&body)) {
    auto number = number_of({instances_[to], told->id});
    if (const auto found = wires_.find({to, {from, told->id}}); found != wires_.end()) number = found->second;
    numbers.insert(number);
    return fmt::format("{} {}", number, test::text_of(*told));
  }
  if (const auto* order = std::get_if<cancel>(&body)) {
    auto number = number_of(order->key);
    if (const auto found = wires_.find({from, {to, order->key.id}}); found != wires_.end()) number = found->second;
    numbers.insert(number);
    return fmt::format("cancel {}", number);
  }
  if (const auto* given = std::get_if<batch>(&body)) {
    auto text = fmt::format("batch {} against offer {}:", given->id, given->offer);
    for (const auto& member : given->members) {
      numbers.insert(number_of(member.key));
      text += fmt::format(" {} (attempt {})", number_of(member.key), member.request.attempt);
    }
    return text;
  }
  if (const auto* over = std::get_if<completion>(&body))
    return fmt::format("completion of batch {}{}, offer {}; finished{}; returned{}", over->batch,
                       over->batch_over ? "" : " (goes on)", over->offer, keys(over->finished, numbers),
                       keys(over->returned, numbers));
  if (const auto* asked = std::get_if<fetch>(&body)) {
    const auto number = number_of({instances_[to], asked->id});
    numbers.insert(number);
    return fmt::format("fetch {}", number);
  }
  if (const auto* given = std::get_if<payload>(&body)) {
    const auto number = number_of({instances_[from], given->id});
    numbers.insert(number);
    return fmt::format("payload of {}{}", number, given->inputs ? "" : ": none");
  }
  if (const auto* lease = std::get_if<offer>(&body))
    return fmt::format("offer {}, busy {} us", lease->id, lease->busy.count());
  if (const auto* taken = std::get_if<withdraw>(&body)) return fmt::format("withdraw offer {}", taken->offer);
  if (const auto* back = std::get_if<recall>(&body)) return fmt::format("recall batch {}", back->batch);
  if (const auto* begun = std::get_if<started>(&body)) return fmt::format("started batch {}", begun->batch);
  if (const auto* all = std::get_if<catalogue>(&body)) {
    std::string text = "catalogue:";
    for (const auto& spec : all->models)
      text += fmt::format(" {}/{} {}", spec.name, spec.version,
                          spec.state == model_state::ready     ? "ready"
                          : spec.state == model_state::loading ? "loading"
                                                               : "failed");
    return text;
  }
  return name;
}

std::vector<std::string> tracer::lines(const std::set<std::uint64_t>& which) const {
  const bool all = std::string_view(setting() != nullptr ? setting() : "") == "all";
  std::vector<std::string> chosen;
  for (const auto& each : lines_) {
    const bool is_of = std::any_of(each.numbers.begin(), each.numbers.end(),
                                   [&](std::uint64_t number) { return which.contains(number); });
    if (all || is_of || (each.numbers.empty() && !each.is_detail)) chosen.push_back(each.text);
  }
  return chosen;
}

}  // namespace shoal::test
