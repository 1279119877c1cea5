#include "gateway/model_tally.hpp"

#include <algorithm>
#include <set>

namespace shoal::gateway {

using namespace protocol;

namespace {

struct shown_figure {
  const char* name;
  const char* help;
  const char* outcome;  ///< a label of it; empty: none
};
constexpr const char* requests_help = "Requests of a model by what became of them";
constexpr std::array<shown_figure, 7> table{{
    {"shoal_gateway_model_requests_total", requests_help, "ok"},
    {"shoal_gateway_model_requests_total", requests_help, "error"},
    {"shoal_gateway_model_rows_total", "Rows of a model's answered requests", ""},
    {"shoal_gateway_model_executions_total", "Executions of a model, as its answered requests add up", ""},
    {"shoal_gateway_model_queue_seconds_total",
     "Time of a model's answered requests in schedulers, and at workers behind other batches", ""},
    {"shoal_gateway_model_compute_seconds_total", "Time of the batches that a model's answered requests were in", ""},
    {"shoal_gateway_model_seconds_total", "Time of a model's answered requests from arrival to outcome", ""},
}};
enum figure_index : std::size_t { ok, failed, rows_of, executions, queue, compute_seconds, seconds };

metrics::labels labels_of(const model_tally::model_key& model, const shown_figure& figure) {
  metrics::labels all{{"model", model.first}, {"version", std::to_string(model.second)}};
  if (*figure.outcome != '\0') all.emplace("outcome", figure.outcome);
  return all;
}

double in_seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

void add_to(duration_sum& all, const duration_sum& more) {
  all.count += more.count;
  all.total += more.total;
}

}  // namespace

model_tally::entry& model_tally::entry_of(const model_key& model) {
  const auto [found, is_new] = entries_.try_emplace(model);
  auto& entry = found->second;
  if (!is_new) return entry;
  entry.sums.model = model.first;
  entry.sums.version = model.second;
  if (entries_.size() <= most_shown)
    for (std::size_t f = 0; f < table.size(); ++f)
      entry.shown[f] = &figures_.counter(table[f].name, table[f].help, labels_of(model, table[f]));
  return entry;
}

void model_tally::add(const model_key& model, std::uint32_t rows, const outcome& ended, std::chrono::nanoseconds whole,
                      std::chrono::milliseconds clock) {
  auto& entry = entry_of(model);
  auto& sums = entry.sums;
  const auto show = [&](figure_index which, double by) {
    if (entry.shown[which] != nullptr) entry.shown[which]->Increment(by);
  };
  sums.last_inference = clock;
  if (!ended.result) {
    sums.fail.add(whole);
    return show(failed, 1);
  }
  const double part = ended.batch_rows > 0 ? std::min(1.0, static_cast<double>(rows) / ended.batch_rows) : 1.0;
  sums.rows += rows;
  sums.executions += part;
  sums.success.add(whole);
  sums.queue.add(ended.queue_time);
  sums.compute_input.add(ended.input_time);
  sums.compute_output.add(ended.output_time);
  sums.compute_infer.add(std::max(microseconds::zero(), ended.compute_time - ended.input_time - ended.output_time));
  show(ok, 1);
  show(rows_of, rows);
  show(executions, part);
  show(queue, in_seconds(ended.queue_time));
  show(compute_seconds, in_seconds(ended.compute_time));
  show(seconds, in_seconds(whole));
}

void model_tally::keep(const catalogue& known) {
  std::set<model_key> listed;
  for (const auto& spec : known.models) listed.emplace(spec.name, spec.version);
  std::erase_if(entries_, [&](const auto& each) {
    if (listed.contains(each.first)) return false;
    for (std::size_t f = 0; f < table.size(); ++f)
      if (each.second.shown[f] != nullptr) figures_.remove(table[f].name, table[f].help, *each.second.shown[f]);
    return true;
  });
}

std::vector<model_statistics> model_tally::all() const {
  std::vector<model_statistics> told;
  for (const auto& [model, entry] : entries_) told.push_back(entry.sums);
  return told;
}

void merge(std::vector<model_statistics>& all, const std::vector<model_statistics>& more) {
  for (const auto& each : more) {
    const auto same = std::find_if(all.begin(), all.end(), [&](const model_statistics& known) {
      return known.model == each.model && known.version == each.version;
    });
    if (same == all.end()) {
      all.push_back(each);
      continue;
    }
    same->last_inference = std::max(same->last_inference, each.last_inference);
    same->rows += each.rows;
    same->executions += each.executions;
    add_to(same->success, each.success);
    add_to(same->fail, each.fail);
    add_to(same->queue, each.queue);
    add_to(same->compute_input, each.compute_input);
    add_to(same->compute_infer, each.compute_infer);
    add_to(same->compute_output, each.compute_output);
  }
}

}  // namespace shoal::gateway
