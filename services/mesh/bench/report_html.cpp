// The report as one HTML file: figures and charts, drawn here, without scripts and without the network.
#include <algorithm>
#include <cmath>

#include "services/mesh/bench/chart.hpp"
#include "services/mesh/bench/format.hpp"
#include "services/mesh/bench/report.hpp"

namespace shoal::services::bench {

namespace {

constexpr const char* style =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2em .7em;text-align:right;"
    "border-bottom:1px solid #ddd}td:nth-child(2),th:nth-child(2){text-align:left}.scroll{overflow-x:auto}"
    "svg{width:100%;height:auto;margin:1em 0}svg text{font:12px system-ui,sans-serif;fill:#333}"
    "svg .title{font-weight:600;font-size:14px}.grid{stroke:#e4e4e4}.axis{stroke:#555;fill:none}"
    "pre{white-space:pre-wrap}.warning{color:#a40000}";

double ms(std::uint64_t us) { return static_cast<double>(us) / 1000; }

std::string rate_text(const result& ran) {
  return ran.closed > 0 ? format("%zu in flight", ran.closed) : format("%.5g/s", ran.rate);
}

/// Points at 40 places per decade of 1/(1-p), as far as there are values.
series percentile_curve(const std::string& name, const histogram& latency) {
  series curve{name, {}, false};
  if (latency.count() == 0) return curve;
  const auto last = static_cast<double>(latency.count());
  for (int i = 0; std::pow(10.0, i / 40.0) < last; ++i) {
    const auto x = std::pow(10.0, i / 40.0);
    curve.points.emplace_back(x, ms(latency.percentile(100 * (1 - 1 / x))));
  }
  curve.points.emplace_back(last, ms(latency.max()));
  return curve;
}

std::string percentiles(const measured& all) {
  chart drawn{"Latency by percentile",
              {"percentile (logarithmic in 1/(1-p))",
               true,
               {{1, "0%"}, {2, "50%"}, {10, "90%"}, {100, "99%"}, {1e3, "99.9%"}, {1e4, "99.99%"}, {1e5, "99.999%"}}},
              {"latency, ms", true, {}},
              {}};
  for (const auto& ran : all.steps) drawn.lines.push_back(percentile_curve(rate_text(ran), ran.total().latency));
  auto svg = to_svg(drawn);
  if (all.steps.size() > 1) return svg;
  const auto& ran = all.steps.front();
  drawn.title = "Latency (from when it was due) and service time (from when it was sent)";
  drawn.lines.clear();
  for (std::size_t i = 0; i < ran.streams.size(); ++i) {
    const auto name = all.plan.streams[i].text();
    drawn.lines.push_back(percentile_curve(name, ran.streams[i].latency));
    drawn.lines.push_back(percentile_curve(name + ", service time", ran.streams[i].service));
    drawn.lines.back().dashed = true;
  }
  return svg + to_svg(drawn);
}

std::string over_rates(const measured& all) {
  if (all.steps.size() < 2 || all.plan.closed > 0) return {};
  std::vector<const result*> sorted;
  for (const auto& ran : all.steps) sorted.push_back(&ran);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->rate < b->rate; });
  const axis offered{"offered rate, requests/s", false, {}};
  chart latency{"Latency against the offered rate", offered, {"latency, ms", true, {}}, {{"p50", {}}, {"p99", {}}}};
  chart answered{"Throughput against the offered rate",
                 offered,
                 {"answers/s", false, {}},
                 {{"throughput", {}}, {"goodput", {}}, {"as offered", {}, true}}};
  for (const auto* ran : sorted) {
    const auto total = ran->total();
    if (total.ok > 0) {
      latency.lines[0].points.emplace_back(ran->rate, ms(total.latency.percentile(50)));
      latency.lines[1].points.emplace_back(ran->rate, ms(total.latency.percentile(99)));
    }
    answered.lines[0].points.emplace_back(ran->rate, ran->throughput);
    if (all.plan.deadline.count() > 0 && ran->seconds > 0)
      answered.lines[1].points.emplace_back(ran->rate, static_cast<double>(total.in_time) / ran->seconds);
    answered.lines[2].points.emplace_back(ran->rate, ran->rate);
  }
  if (answered.lines[1].points.empty()) answered.lines.erase(answered.lines.begin() + 1);
  return to_svg(latency) + to_svg(answered);
}

std::string over_time(const result& ran) {
  const axis time{"time since counting began, s", false, {}};
  chart latency{"Latency over time, offered " + rate_text(ran) + " (answers by the second they came in)",
                time,
                {"latency, ms", true, {}},
                {{"p50", {}}, {"p99", {}}}};
  chart answers{
      "Requests over time", time, {"requests/s", false, {}}, {{"sent", {}, true}, {"answered", {}}, {"failed", {}}}};
  for (std::size_t i = 0; i < ran.seconds_list.size(); ++i) {
    const auto& each = ran.seconds_list[i];
    const auto at = static_cast<double>(i) + 0.5;
    if (each.ok > 0) {
      latency.lines[0].points.emplace_back(at, ms(each.p50));
      latency.lines[1].points.emplace_back(at, ms(each.p99));
    }
    answers.lines[0].points.emplace_back(at, each.sent);
    answers.lines[1].points.emplace_back(at, each.ok);
    answers.lines[2].points.emplace_back(at, each.failed);
  }
  return to_svg(latency) + to_svg(answers);
}

std::string table(const measured& all) {
  std::string html =
      "<div class=\"scroll\"><table>\n<tr><th>offered</th><th>model</th><th>sent</th><th>ok</th><th>refused</th>"
      "<th>failed</th><th>no outcome</th><th>answers/s</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th>"
      "<th>p99.9 ms</th><th>max ms</th></tr>\n";
  const auto row = [&](const result& ran, const std::string& model, const tally& count) {
    html += "<tr><td>" + rate_text(ran) + "</td><td>" + escaped(model) + "</td>";
    for (const auto number :
         {count.sent, count.ok, count.refused(), count.failed() - count.refused(), count.no_outcome})
      html += "<td>" + std::to_string(number) + "</td>";
    html += format("<td>%.1f</td>", ran.per_second(count.answered));
    for (const auto p : {50.0, 90.0, 99.0, 99.9, 100.0})
      html += "<td>" + ms_text(static_cast<double>(count.latency.percentile(p))) + "</td>";
    html += "</tr>\n";
  };
  for (const auto& ran : all.steps) {
    for (std::size_t i = 0; i < ran.streams.size() && ran.streams.size() > 1; ++i)
      row(ran, all.plan.streams[i].text(), ran.streams[i]);
    row(ran, ran.streams.size() > 1 ? "all" : all.plan.streams.front().text(), ran.total());
  }
  return html + "</table></div>\n";
}

std::string warnings(const measured& all) {
  std::string html;
  for (const auto& ran : all.steps)
    if (ran.generator_was_late())
      html += "<p class=\"warning\">At " + rate_text(ran) + " the load generator itself was late by " +
              ms_text(static_cast<double>(ran.lag.percentile(99))) +
              " ms (p99): these figures are the generator's, not the server's.</p>\n";
  return html;
}

}  // namespace

std::string to_html(const measured& all) {
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shoal bench: ";
  html += escaped(all.plan.at.endpoint) + "</title>\n<meta name=\"viewport\" content=\"width=device-width\"><style>" +
          style + "</style></head><body>\n<h1>shoal bench</h1>\n<pre>" + escaped(table_title(all)) + "</pre>\n";
  if (all.plan.search) html += "<p>" + escaped(search_verdict(all)) + "</p>\n";
  html += warnings(all) + table(all);
  if (all.steps.empty()) return html + "</body></html>\n";
  html += over_rates(all) + percentiles(all);
  for (const auto& ran : all.steps) {
    if (all.steps.size() > 1) html += "<details><summary>over time, offered " + rate_text(ran) + "</summary>\n";
    html += over_time(ran);
    if (all.steps.size() > 1) html += "</details>\n";
  }
  return html + "</body></html>\n";
}

}  // namespace shoal::services::bench
