// `shoal bench`: load on a server, and what became of it.
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "services/mesh/bench/report.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace {

/// A line on a terminal that is written over, and taken away before anything else is.
class live_line {
 public:
  void show(const std::string& text) {
    if (!on_terminal_) return;
    std::cerr << "\r\033[K" << text << std::flush;
    shown_ = true;
  }
  void hide() {
    if (std::exchange(shown_, false)) std::cerr << "\r\033[K" << std::flush;
  }

 private:
  const bool on_terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
};

expected<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return fail(errc::invalid_argument, path + ": cannot be written");
  return {};
}

/// Found out before the load, not after it; and without a file that would be left if the load never begins.
expected<void> can_write(const std::string& path) {
  std::error_code wrong;
  const auto folder = std::filesystem::path(path).parent_path();
  const bool can = std::filesystem::exists(path, wrong)
                       ? !std::filesystem::is_directory(path, wrong) && ::access(path.c_str(), W_OK) == 0
                       : ::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0;
  if (!can) return fail(errc::invalid_argument, path + ": cannot be written");
  return {};
}

expected<void> check_reports(const bench_arguments& given) {
  if (given.html == "-")
    return fail(errc::invalid_argument, "--html -: name a file; only --json can go to standard output");
  for (const auto& path : {given.json, given.html})
    if (!path.empty() && path != "-")
      if (auto can = can_write(path); !can) return can;
  return {};
}

expected<void> write_reports(const bench::measured& all, const bench_arguments& given) {
  if (given.json == "-") print_json(bench::to_json(all));
  if (!given.json.empty() && given.json != "-") {
    const auto text = bench::to_json(all).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    if (auto written = write_file(given.json, text); !written) return written;
  }
  if (given.html.empty()) return {};
  return write_file(given.html, bench::to_html(all));
}

expected<void> verdict(const bench::measured& all) {
  if (all.plan.search && all.highest == 0) return fail(errc::internal, "the search found no rate that is borne");
  for (const auto& step : all.steps)
    if (step.total().ok > 0 || step.interrupted) return {};
  return fail(errc::internal, "no request was answered");
}

}  // namespace

void declare_bench(CLI::App& verb, bench_arguments& given) {
  auto& to = given.typed;
  verb.add_option("--at", to.at.endpoint,
                  "tcp:// or ipc:// (native), http://HOST:PORT or grpc://HOST:PORT (Open Inference)")
      ->envname("SHOAL_AT")
      ->capture_default_str();
  verb.add_option("--key", to.at.key, "native: a client's key file (`shoal keys new`)")->envname("SHOAL_KEY");
  verb.add_option("--token", to.at.token, "http, grpc: sent as a bearer token")->envname("SHOAL_TOKEN");
  verb.add_option("--model", to.models,
                  "NAME[/VERSION][:WEIGHT][@critical|standard|batch]; several are mixed by weight")
      ->required();
  verb.add_option("--rate", to.rates, "requests per second; several, or FROM:TO:COUNT, are run one after another");
  verb.add_option("--arrivals", to.arrivals, "poisson, constant, or a FILE: seconds per line, or CSV with TIMESTAMP")
      ->capture_default_str();
  verb.add_option("--closed", to.closed, "closed loop with this many in flight instead: the saturated rate");
  verb.add_option("--search", to.search, "find the highest rate with e.g. 'p99<200ms' and less than 1% failures");
  verb.add_option("--duration", to.duration, "seconds that are counted, of each rate")->capture_default_str();
  verb.add_option("--warmup", to.warmup, "seconds before that: sent, not counted")->capture_default_str();
  verb.add_option("--drain", to.drain, "seconds to wait for outstanding answers at the end")->capture_default_str();
  verb.add_option("--seed", to.seed, "of arrivals, mix and order")->capture_default_str();
  verb.add_option("--requests", to.requests.file, "FILE of JSON lines: {\"input\": [[1, 2]], ...}");
  verb.add_option("--shape", to.requests.shapes, "NAME=DIMxDIM: the shape of an input of ones");
  verb.add_option("--lengths", to.requests.lengths, "FILE of integers: sizes of the free dimensions but the first");
  verb.add_option("--deadline", to.deadline_ms, "milliseconds that a request may take, told to the server (none)");
  verb.add_flag("--check", to.at.check, "an answer fails if its outputs are not as many or as large as they say");
  verb.add_flag("--json-tensors", to.at.json_tensors, "over HTTP: tensors as JSON, for servers without binary ones");
  verb.add_option("--connections", to.at.connections, "at most: 512 over HTTP; channels over gRPC: 4")
      ->check(CLI::Range(1, 65535));
  verb.add_option("--timeout", to.timeout, "seconds for the server to answer a first request")->capture_default_str();
  verb.add_option("--json", given.json, "FILE, or - for standard output instead of the table");
  verb.add_option("--html", given.html, "FILE: the report with charts, in one file");
}

int run_bench(const bench_arguments& given) {
  const bool as_json = given.json == "-";
  signals ending;
  prctl(PR_SET_TIMERSLACK, 1UL);  // ns: this thread, and those it starts, wake when a request is due, not 50 us later
  auto plan = bench::read_plan(given.typed);
  if (!plan) return report_error(plan.error(), as_json);
  if (auto can = check_reports(given); !can) return report_error(can.error(), as_json);

  live_line live;
  bench::observer seen;
  seen.watched.stop = [&] { return ending.wait(milliseconds(0)) != 0; };
  seen.watched.tell = [&](const bench::progress& now) { live.show(bench::progress_line(now)); };
  if (!as_json) {
    seen.begun = [&](const bench::measured& all) {
      std::cout << bench::table_title(all) << "\n" << bench::table_header(all) << std::flush;
    };
    seen.step = [&](const bench::measured& all) {
      live.hide();
      std::cout << bench::table_rows(all, all.steps.size() - 1) << std::flush;
    };
  }
  const auto all = bench::measure(std::move(*plan), seen);
  live.hide();
  if (!all) return report_error(with_next_step(all.error()), as_json);
  if (!as_json && all->plan.search) std::cout << bench::search_verdict(*all);
  if (auto written = write_reports(*all, given); !written) return report_error(written.error(), false);
  if (auto good = verdict(*all); !good) return report_error(good.error(), false);
  return success;
}

}  // namespace shoal::services
