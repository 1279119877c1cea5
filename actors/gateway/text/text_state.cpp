#include "gateway/text/text_state.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "gateway/admission.hpp"

namespace shoal::gateway {

using namespace protocol;

namespace {

constexpr std::size_t counts_place = std::numeric_limits<std::size_t>::max();
constexpr milliseconds after_overload{20};

/// Rows of lengths from `shortest` on share a part up to this length: filling up costs at most an eighth, or a few
/// tokens.
constexpr std::size_t longest_beside(std::size_t shortest) { return shortest + shortest / 8 + 2; }

/// Of an output whose dimensions but the first are fixed; what cannot be computed is more than any answer may have.
std::size_t row_bytes(const tensor_spec& output) {
  shape dims;
  for (std::size_t d = 1; d < output.dims.size(); ++d) dims.push_back(output.dims[d].min);
  return static_cast<std::size_t>(byte_size(output.type, dims).value_or(std::uint64_t{1} << 60));
}

}  // namespace

text_state::text_state(text_options options, std::shared_ptr<board> board, port to, metrics& figures)
    : options_(std::move(options)),
      board_(std::move(board)),
      to_(std::move(to)),
      shelf_(options_.models),
      texts_(figures.counter("shoal_gateway_texts_total", "Texts that were read")),
      tokens_(figures.counter("shoal_gateway_text_tokens_total", "Token ids that they became")),
      bytes_(figures.counter("shoal_gateway_text_bytes_total", "Bytes of text that were read")),
      reading_(figures.seconds("shoal_gateway_text_reading_seconds", "Reading text, a turn")) {}

// --- events ---------------------------------------------------------------------------------------------------------

template <class Work>
void text_state::guarded(request_id id, Work&& work) {
  try {
    work();
  } catch (const std::exception& wrong) {
    if (jobs_.contains(id))
      fail_job(id, {errc::too_large, std::string("the texts could not be computed together: ") + wrong.what() +
                                         "; send fewer at a time"});
  }
}

void text_state::on(text_order& order, time_point) {
  const auto id = order.ticket;
  guarded(id, [&] {
    auto& made = jobs_[id];
    made.order = std::move(order);
    if (auto begun = begin(made); !begun) return fail_job(id, begun.error());
    ask_for_turn(id, made);
  });
}

expected<void> text_state::begin(job& made) {
  ++made.begun;
  const auto& request = made.order.request;
  auto list = read_text(request);
  if (!list) return tl::unexpected(list.error());
  made.list = *std::move(list);
  const auto models = board_->models.load();
  shelf_.keep(*models);
  const auto spec = find_model(*models, request.model, made.order.any_version ? 0 : request.version);
  if (!spec) return tl::unexpected(spec.error());
  auto model = shelf_.find(**spec);
  if (!model) return tl::unexpected(model.error());
  made.model = *std::move(model);
  made.version = (*spec)->version;
  if (!made.model->reads && !made.list.are_ids)
    return fail(errc::unsupported,
                "model '" + (*spec)->name +
                    "' takes no text here: there is no tokenizer.json beside it in the model directory of this gateway "
                    "(import it with `shoal import --tokenizer tokenizer.json`, and set gateway.models)");
  if (auto found = find_outputs(made); !found) return found;
  return reserve(made);
}

/// Which outputs are wanted, in their order.
expected<void> text_state::find_outputs(job& made) {
  const auto& outputs = made.model->outputs;
  const auto& wanted = made.order.request.outputs;
  if (wanted.empty()) {
    made.places = outputs;
    made.places.push_back(counts_place);
  }
  for (const auto& name : wanted) {
    const auto found = std::find_if(outputs.begin(), outputs.end(),
                                    [&](std::size_t o) { return made.model->spec.outputs[o].name == name; });
    if (found == outputs.end() && name != token_counts_output)
      return fail(errc::invalid_argument,
                  "there is no output '" + name.substr(0, 80) + "' with one row of fixed size for each text");
    made.places.push_back(found == outputs.end() ? counts_place : *found);
  }
  return {};
}

/// Room for the answer, whose size is known beforehand.
expected<void> text_state::reserve(job& made) {
  std::size_t row = sizeof(std::int64_t);
  for (const auto place : made.places)
    if (place != counts_place) row += row_bytes(made.model->spec.outputs[place]);
  const auto count = made.list.elements.size();
  if (row > options_.most_answer_bytes / count)
    return fail(errc::too_large, "the answer would be larger than " + std::to_string(options_.most_answer_bytes >> 20) +
                                     " MiB: send fewer texts at a time");
  if (answer_bytes_ + row * count > options_.most_answer_bytes) {
    error full{errc::overloaded, "the answers of the texts under way take all room there is: try again shortly"};
    full.retry_after = milliseconds(100);
    return tl::unexpected(std::move(full));
  }
  made.answer_bytes = row * count;
  answer_bytes_ += made.answer_bytes;
  made.encodings.resize(count);
  made.counts.resize(count);
  return {};
}

/// With the version that took over.
expected<void> text_state::begin_again(request_id id, job& from) {
  constexpr int most_begun = 8;
  if (from.begun >= most_begun)
    return fail(errc::unavailable, "versions of the model change faster than it is computed");
  for (const auto& [number, each] : from.parts)
    if (each.ticket != 0) to_.withdraw(each.ticket);
  answer_bytes_ -= from.answer_bytes;
  if (from.again) --resting_;
  job fresh;
  fresh.order = std::move(from.order);
  fresh.begun = from.begun;
  fresh.has_turn = from.has_turn;
  fresh.next_part = from.next_part;  // answers to the parts before are nobody's
  from = std::move(fresh);
  if (auto begun = begin(from); !begun) return begun;
  ask_for_turn(id, from);
  return {};
}

void text_state::ask_for_turn(request_id id, job& of) {
  const bool can = of.read < of.list.elements.size() && of.waiting.empty() && of.in_flight < options_.rows_in_flight;
  if (!can || std::exchange(of.has_turn, true)) return;
  turns_.push_back(id);
}

/// Parts that wait are handed in, which may end the request; then the next text may be read.
void text_state::go_on(request_id id, time_point now) {
  if (const auto found = jobs_.find(id); found != jobs_.end()) hand_in(id, found->second, now);
  if (const auto still = jobs_.find(id); still != jobs_.end()) ask_for_turn(id, still->second);
}

void text_state::on(const withdrawal& gone, time_point) {
  if (jobs_.contains(gone.ticket)) fail_job(gone.ticket, {errc::cancelled, "the client took the request back"});
}

void text_state::on(text_part& part, time_point now) {
  guarded(part.job, [&] { take_part(part, now); });
}

void text_state::take_part(text_part& part, time_point now) {
  const auto found = jobs_.find(part.job);
  if (found == jobs_.end()) return;  // it is over; this part was taken back
  auto& of = found->second;
  const auto known = of.parts.find(part.part);
  if (known == of.parts.end()) return;
  known->second.ticket = 0;
  of.in_flight -= known->second.rows.size();
  if (!part.result.result) return take_failure(part, of, now);
  if (auto taken = take(of, known->second, *part.result.result); !taken) return fail_job(part.job, taken.error());
  of.plan = part.result.plan;
  of.version = part.result.version;
  of.parts.erase(known);
  if (of.answered == of.list.elements.size()) return finish(part.job, put_together(of));
  go_on(part.job, now);
}

void text_state::take_failure(const text_part& part, job& of, time_point now) {
  const auto& reason = part.result.result.error();
  if (reason.code == errc::not_found && of.order.any_version) {
    if (auto begun = begin_again(part.job, of); !begun) fail_job(part.job, begun.error());
    return;
  }
  const auto again = now + std::max(after_overload, reason.retry_after);
  if (reason.code != errc::overloaded || again >= of.order.deadline) return fail_job(part.job, reason);
  of.waiting.push_back(part.part);
  if (!of.again) ++resting_;
  of.again = again;
}

outcome text_state::put_together(job& of) const {
  outcome whole;
  whole.model = of.order.request.model;
  whole.version = of.version;
  whole.plan = of.plan;
  std::vector<tensor> results;
  for (std::size_t i = 0; i < of.places.size(); ++i) {
    const auto count = static_cast<std::int64_t>(of.counts.size());
    if (of.places[i] == counts_place) {
      results.push_back(
          {std::string(token_counts_output), dtype::int64, {count}, buffer::copy(std::as_bytes(std::span(of.counts)))});
      continue;
    }
    auto& made = of.results[i];
    const auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(of.bytes[i]));
    made.data = buffer(bytes, *bytes);
    results.push_back(std::move(made));
  }
  whole.result = std::move(results);
  return whole;
}

// --- reading --------------------------------------------------------------------------------------------------------

bool text_state::turn(time_point now) {
  if (turns_.empty()) return false;
  const auto id = turns_.front();
  turns_.pop_front();
  if (const auto found = jobs_.find(id); found != jobs_.end()) {
    found->second.has_turn = false;
    guarded(id, [&] { read_turn(id, found->second, now); });
  }
  return !turns_.empty();
}

void text_state::read_turn(request_id id, job& next, time_point now) {
  if (now >= next.order.deadline)
    return fail_job(id, {errc::deadline_exceeded, "the deadline was over before the text was read"});
  const auto begin = steady::now();
  const auto first = next.read;
  if (auto done = read_some(next); !done) return fail_job(id, done.error());
  reading_.Observe(std::chrono::duration<double>(steady::now() - begin).count());
  cut(next, first);
  go_on(id, now);
}

expected<text::encoding> text_state::encode(const job& of, std::size_t place) const {
  const auto element = of.list.elements[place];
  const auto most = of.model->most_tokens;
  if (!of.list.are_ids) return of.model->reads->encode(element, most);
  if (element.size() % sizeof(std::int64_t) != 0)
    return fail(errc::invalid_argument,
                "its " + std::to_string(element.size()) + " bytes are no whole number of 64-bit token ids");
  text::encoding made;
  made.whole = element.size() / sizeof(std::int64_t);
  made.ids.resize(std::min(made.whole, most));
  if (!made.ids.empty()) std::memcpy(made.ids.data(), element.data(), made.ids.size() * sizeof(std::int64_t));
  const auto beyond = of.model->reads ? of.model->reads->vocabulary() : std::numeric_limits<std::int64_t>::max();
  for (const auto id : made.ids)
    if (id < 0 || id >= beyond)
      return fail(errc::invalid_argument, "it has the token id " + std::to_string(id) +
                                              ", and the model's go from 0 to " + std::to_string(beyond - 1));
  made.types.assign(made.ids.size(), 0);
  return made;
}

expected<void> text_state::read_some(job& from) {
  std::size_t bytes = 0;
  const auto first = from.read;
  const auto& model = *from.model;
  const auto most = std::to_string(model.most_tokens);
  while (from.read < from.list.elements.size() && bytes < options_.bytes_per_turn &&
         from.read - first < options_.texts_per_turn) {
    const auto place = from.read;
    // The SDKs put a place in the whole list instead of that number.
    const auto wrong = [&](errc code, const std::string& what) {
      return fail(code, "text " + std::to_string(place) + ": " + what);
    };
    auto made = encode(from, place);
    if (!made) return wrong(made.error().code, made.error().message);
    const auto count = std::to_string(made->whole) + " tokens, and model '" + model.spec.name + "' takes ";
    if (made->ids.empty()) return wrong(errc::invalid_argument, "it has no token: leave it out");
    if (made->whole > model.most_tokens && !from.list.truncates)
      return wrong(errc::invalid_argument,
                   "it has " + count + most + ": shorten it, or set truncate to have its end cut off");
    if (made->ids.size() < model.least_tokens && !model.pads && !model.mask)
      return wrong(errc::invalid_argument, "it has " + count + "no less than " + std::to_string(model.least_tokens));
    from.counts[place] = static_cast<std::int64_t>(made->ids.size());
    tokens_.Increment(static_cast<double>(made->ids.size()));
    from.encodings[place] = *std::move(made);
    bytes += from.list.elements[place].size() + 1;
    ++from.read;
  }
  texts_.Increment(static_cast<double>(from.read - first));
  bytes_.Increment(static_cast<double>(bytes));
  return {};
}

/// Parts of what was read since `first`: rows of like length.
void text_state::cut(job& from, std::size_t first) {
  std::vector<std::size_t> order(from.read - first);
  std::iota(order.begin(), order.end(), first);
  const auto length = [&](std::size_t place) { return from.encodings[place].ids.size(); };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return length(a) < length(b); });
  // Few texts are spread over the workers; many fill their batches.
  const bool is_long = from.list.elements.size() >= options_.rows_in_flight;
  const auto most = is_long ? from.model->most_rows : std::min(options_.rows_of_a_part, from.model->most_rows);
  for (std::size_t i = 0; i < order.size();) {
    const auto shortest = std::max(length(order[i]), from.model->least_tokens);
    const auto longest = from.model->pads ? longest_beside(shortest) : shortest;
    part made;
    while (i < order.size() && made.rows.size() < most && length(order[i]) <= longest) made.rows.push_back(order[i++]);
    from.parts.emplace(from.next_part, std::move(made));
    from.waiting.push_back(from.next_part++);
  }
}

// --- parts ----------------------------------------------------------------------------------------------------------

void text_state::hand_in(request_id id, job& from, time_point now) {
  if (from.again && now < *from.again) return;
  if (from.again) --resting_;
  from.again.reset();
  while (!from.waiting.empty()) {
    auto& next = from.parts.at(from.waiting.front());
    if (from.in_flight > 0 && from.in_flight + next.rows.size() > options_.rows_in_flight) return;
    const auto left = std::chrono::duration_cast<microseconds>(from.order.deadline - now);
    if (left.count() <= 0)
      return fail_job(id, {errc::deadline_exceeded, "the deadline was over before all texts were computed"});
    infer request;
    request.model = from.order.request.model;
    request.version = from.model->spec.version;
    request.time_left = left;
    request.priority = from.order.request.priority;
    request.trace = from.order.request.trace;
    std::vector<const text::encoding*> rows;
    for (const auto place : next.rows) rows.push_back(&from.encodings[place]);
    request.inputs = inputs_of(*from.model, rows);
    for (const auto place : from.places)
      if (place != counts_place) request.outputs.push_back(from.model->spec.outputs[place].name);
    if (request.outputs.empty()) request.outputs.push_back(from.model->spec.outputs[from.model->outputs[0]].name);
    next.ticket = board_->next_id++;
    from.in_flight += next.rows.size();
    const auto number = from.waiting.front();
    from.waiting.pop_front();
    to_.submit(next.ticket, number, id, std::move(request));
  }
}

expected<void> text_state::take(job& into, const part& done, std::vector<tensor>& outputs) {
  const auto wrong = [] { return fail(errc::internal, "an answer to a part of the text has not its rows"); };
  if (into.results.empty()) {
    into.results.resize(into.places.size());
    into.bytes.resize(into.places.size());
  }
  std::size_t given = 0;
  for (std::size_t i = 0; i < into.places.size(); ++i) {
    if (into.places[i] == counts_place) continue;
    if (given >= outputs.size()) return wrong();
    auto& output = outputs[given++];
    const auto rows = done.rows.size();
    if (output.dims.empty() || output.dims[0] != static_cast<std::int64_t>(rows) || output.data.size() % rows != 0)
      return wrong();
    const auto width = output.data.size() / rows;
    const auto count = into.list.elements.size();
    auto& whole = into.results[i];
    if (whole.dims.empty()) {
      whole = {output.name, output.type, output.dims, {}};
      whole.dims[0] = static_cast<std::int64_t>(count);
      into.bytes[i].resize(count * width);
    }
    if (into.bytes[i].size() != count * width || output.type != whole.type) return wrong();
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(into.bytes[i].data() + done.rows[row] * width, output.data.data() + row * width, width);
  }
  for (const auto place : done.rows) into.encodings[place] = {};
  into.answered += done.rows.size();
  return {};
}

void text_state::finish(request_id id, outcome outcome) {
  const auto over = jobs_.find(id);
  answer_bytes_ -= over->second.answer_bytes;
  if (over->second.again) --resting_;
  jobs_.erase(over);
  to_.done({id, std::move(outcome)});
}

void text_state::fail_job(request_id id, error reason) {
  auto& failed = jobs_.at(id);
  for (const auto& [number, each] : failed.parts)
    if (each.ticket != 0) to_.withdraw(each.ticket);
  outcome told;
  told.model = failed.order.request.model;
  told.version = failed.version;
  told.result = tl::unexpected(std::move(reason));
  finish(id, std::move(told));
}

std::optional<time_point> text_state::next_wake() const {
  std::optional<time_point> next;
  if (resting_ == 0) return next;
  for (const auto& [id, each] : jobs_)
    if (each.again) next = next ? std::min(*next, *each.again) : *each.again;
  return next;
}

void text_state::on_wake(time_point now) {
  std::vector<request_id> due;
  for (const auto& [id, each] : jobs_)
    if (each.again && *each.again <= now) due.push_back(id);
  for (const auto id : due) guarded(id, [&] { go_on(id, now); });
}

}  // namespace shoal::gateway
