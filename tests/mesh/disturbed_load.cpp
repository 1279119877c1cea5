#include "mesh/disturbed_load.hpp"

#include <cmath>
#include <stdexcept>

namespace shoal::test {

using namespace std::chrono_literals;

namespace {

client::request sentence(std::mt19937_64& random) {
  const auto length = static_cast<std::int64_t>(5 + random() % 40);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(length)), ones(tokens.size(), 1), zeros(tokens.size(), 0);
  for (auto& token : tokens) token = static_cast<std::int64_t>(1000 + random() % 20000);
  tokens.front() = 101;
  tokens.back() = 102;
  return {"minilm",
          {client::tensor("input_ids", {1, length}, std::move(tokens)),
           client::tensor("attention_mask", {1, length}, std::move(ones)),
           client::tensor("token_type_ids", {1, length}, std::move(zeros))}};
}

}  // namespace

std::vector<reference> references(client::mesh& mesh, std::size_t sentences) {
  std::mt19937_64 random(20261125);
  std::vector<client::request> requests;
  std::vector<float> values(64);
  for (auto& value : values) value = static_cast<float>(random() % 1000) / 7;
  requests.push_back({"identity", {client::tensor("x", {2, 32}, std::move(values))}});
  auto models = mesh.models();
  if (!models) throw std::runtime_error(models.error().message);
  for (const auto& model : *models)
    if (model.name == "minilm")
      for (std::size_t i = 0; i < sentences; ++i) {
        auto request = sentence(random);
        std::erase_if(request.inputs, [&](const client::tensor& input) {
          for (const auto& taken : model.inputs)
            if (taken.name == input.name()) return false;
          return true;
        });
        requests.push_back(std::move(request));
      }
  std::vector<reference> all;
  for (auto& request : requests) {
    auto answer = mesh.infer(request, {.deadline = 20s});
    if (!answer) throw std::runtime_error(answer.error().message);
    all.push_back({std::move(request), std::move(*answer)});
  }
  return all;
}

bool is_equal(const client::result& answer, const client::result& wanted) {
  if (answer.outputs.size() != wanted.outputs.size()) return false;
  for (std::size_t i = 0; i < wanted.outputs.size(); ++i) {
    const auto given = answer.outputs[i].values<float>();
    const auto known = wanted.outputs[i].values<float>();
    if (!given || !known || answer.outputs[i].dims() != wanted.outputs[i].dims()) return false;
    for (std::size_t e = 0; e < known->size(); ++e)
      if (!(std::abs((*given)[e] - (*known)[e]) <= 1e-4F)) return false;
  }
  return true;
}

disturbed_load::disturbed_load(client::mesh& mesh, std::vector<reference> known, pace wanted)
    : mesh_(mesh), known_(std::move(known)), pace_(wanted), thread_([this] { run(); }) {}

disturbed_load::~disturbed_load() {
  ends_ = true;
  if (thread_.joinable()) thread_.join();
}

/// Most are small and each is its own, so that an answer to another request is seen; some are real work, and some have
/// a payload that stays at the gateway until a worker fetches it, or travels in pieces.
reference disturbed_load::draw(std::mt19937_64& random) const {
  constexpr std::int64_t small = 32;
  constexpr std::int64_t fetched = 32 << 10;         // 256 KiB
  constexpr std::int64_t in_pieces = (5 << 20) / 8;  // 5 MiB
  if (const auto which = random() % pace_.one_sentence_in == 0 ? random() % known_.size() : 0; which != 0)
    return known_[which];
  auto columns = small;
  if (pace_.one_large_in != 0 && random() % pace_.one_large_in == 0) columns = random() % 8 == 0 ? in_pieces : fetched;
  std::vector<float> values(static_cast<std::size_t>(2 * columns));
  const auto first = random() % 1'000'000;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(first + i % 1009);
  auto made = known_.front();
  made.request.inputs = {client::tensor("x", {2, columns}, std::vector<float>(values))};
  made.answer.outputs = {client::tensor("y", {2, columns}, std::move(values))};
  return made;
}

void disturbed_load::run() {
  std::mt19937_64 random(pace_.seed);
  auto next = steady::now();
  while (!ends_) {
    std::this_thread::sleep_until(next);
    next += pace_.between;
    auto what = draw(random);
    const auto spread = static_cast<std::uint64_t>((pace_.longest - pace_.shortest).count());
    send(std::move(what), pace_.shortest + milliseconds(spread == 0 ? 0 : random() % spread));
  }
}

void disturbed_load::burst(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    send(known_.at(known_.size() > 1 ? 1 + i % (known_.size() - 1) : 0), pace_.longest);
}

void disturbed_load::send(reference what, milliseconds deadline) {
  std::size_t number = 0;
  {
    const std::lock_guard lock(ledger_->mutex);
    number = ledger_->all.size();
    ledger_->all.push_back({steady::now(), deadline});
  }
  mesh_.infer_async(
      std::move(what.request),
      [ledger = ledger_, number, answer = std::move(what.answer)](const client::expected<client::result>& came) {
        const auto now = steady::now();
        const bool right = came && is_equal(*came, answer);
        const std::lock_guard lock(ledger->mutex);
        auto& record = ledger->all[number];
        if (++record.outcomes > 1) return;
        record.ended = now;
        record.is_right = right;
        if (came) return;
        record.failure = static_cast<errc>(came.error().code);
        record.said = came.error().message;
      },
      {.deadline = deadline});
}

history disturbed_load::finish() {
  ends_ = true;
  if (thread_.joinable()) thread_.join();
  const auto is_open = [&] {
    const std::lock_guard lock(ledger_->mutex);
    for (const auto& each : ledger_->all)
      if (each.outcomes == 0 && steady::now() < each.sent + each.deadline + 1s) return true;
    return false;
  };
  while (is_open()) std::this_thread::sleep_for(10ms);
  return so_far();
}

history disturbed_load::so_far() const {
  const std::lock_guard lock(ledger_->mutex);
  return ledger_->all;
}

}  // namespace shoal::test
