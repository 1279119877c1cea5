#include "services/mesh/bench/chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "services/mesh/bench/format.hpp"

namespace shoal::services::bench {

namespace {

// In the units of the viewBox.
constexpr double width = 720, height = 360, left = 70, right = 16, top = 34, bottom = 48, legend_line = 18;
constexpr std::size_t legend_columns = 3;
constexpr std::array colors{"#1f6fb4", "#d95f02", "#1b9e77", "#7b52ab", "#c2185b", "#6b8e23", "#a6761d", "#555555"};
/// A marker that tells its values when pointed at, for lines of few points.
constexpr std::size_t most_markers = 60;
constexpr double most_ticks = 8;

/// One dimension of the plane: from values to the units of the viewBox.
class scale {
 public:
  scale(const axis& of, double low, double high, double begin, double end)
      : log_(of.logarithmic), low_(low), high_(high), begin_(begin), end_(end) {
    if (!log_) {
      low_ = std::min(0.0, low_);
      if (high_ <= low_) high_ = low_ + 1;
      return;
    }
    if (high_ < low_ * 1.5) high_ = low_ * 1.5;
  }

  [[nodiscard]] bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }
  [[nodiscard]] double operator()(double value) const {
    const auto part = log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return begin_ + part * (end_ - begin_);
  }

  [[nodiscard]] std::vector<std::pair<double, std::string>> ticks(const axis& of) const {
    std::vector<std::pair<double, std::string>> all;
    const auto add = [&](double value) {
      if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9)) all.emplace_back(value, format("%g", value));
    };
    if (!of.ticks.empty()) {
      for (const auto& tick : of.ticks)
        if (tick.first >= low_ && tick.first <= high_) all.push_back(tick);
    } else if (log_) {
      const auto last = static_cast<int>(std::floor(std::log10(high_)));
      for (auto power = static_cast<int>(std::floor(std::log10(low_))); power <= last; ++power)
        for (const double digit : {1.0, 2.0, 5.0}) add(digit * std::pow(10.0, power));
    } else {
      const auto raw = (high_ - low_) / most_ticks;
      const auto power = std::pow(10.0, std::floor(std::log10(raw)));
      double step = 10 * power;
      for (const double digit : {5.0, 2.0, 1.0})
        if (digit * power >= raw) step = digit * power;
      for (double i = std::ceil(low_ / step); i * step <= high_ * (1 + 1e-9); ++i) add(i * step);
    }
    return all;
  }

 private:
  bool log_;
  double low_, high_, begin_, end_;
};

std::string text_at(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more) + escaped(text) + "</text>\n";
}

std::string axes(const chart& drawn, const scale& x, const scale& y) {
  std::string svg = text_at(left, 20, "start", drawn.title, " class=\"title\"");
  for (const auto& [value, label] : x.ticks(drawn.x)) {
    svg += format("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x(value), x(value), top,
                  height - bottom);
    svg += text_at(x(value), height - bottom + 16, "middle", label);
  }
  for (const auto& [value, label] : y.ticks(drawn.y)) {
    svg += format("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, width - right,
                  y(value), y(value));
    svg += text_at(left - 6, y(value) + 4, "end", label);
  }
  svg += format("<path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", left, top, height - bottom, width - right);
  svg += text_at((left + width - right) / 2, height - 10, "middle", drawn.x.label);
  const auto middle = (top + height - bottom) / 2;
  svg += text_at(14, middle, "middle", drawn.y.label, format(" transform=\"rotate(-90 14 %.1f)\"", middle).c_str());
  return svg;
}

std::string line(const series& each, const chart& drawn, const scale& x, const scale& y, const char* color) {
  std::string path, markers;
  for (const auto& [px, py] : each.points) {
    if (!x.shows(px) || !y.shows(py)) continue;
    path += format("%s%.1f %.1f", path.empty() ? "M" : "L", x(px), y(py));
    if (each.points.size() <= most_markers)
      markers +=
          format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"><title>", x(px), y(py), color) +
          escaped(each.name + ": " + drawn.y.label + format(" %.4g at ", py) + drawn.x.label + format(" %.4g", px)) +
          "</title></circle>\n";
  }
  if (path.empty()) return {};
  return format("<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\"%s d=\"", color,
                each.dashed ? " stroke-dasharray=\"5 4\"" : "") +
         path + "\"/>\n" + markers;
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '&': safe += "&amp;"; break;
      case '"': safe += "&quot;"; break;
      case '\'': safe += "&#39;"; break;
      default: safe += c;
    }
  }
  return safe;
}

std::string to_svg(const chart& drawn) {
  double low_x = std::numeric_limits<double>::infinity(), low_y = low_x, high_x = -low_x, high_y = -low_x;
  for (const auto& each : drawn.lines)
    for (const auto& [px, py] : each.points) {
      if ((drawn.x.logarithmic && px <= 0) || (drawn.y.logarithmic && py <= 0)) continue;
      low_x = std::min(low_x, px);
      high_x = std::max(high_x, px);
      low_y = std::min(low_y, py);
      high_y = std::max(high_y, py);
    }
  if (high_x < low_x) return "<p>" + escaped(drawn.title) + ": nothing was measured</p>\n";
  const scale x(drawn.x, low_x, high_x, left, width - right);
  const scale y(drawn.y, low_y, high_y * (drawn.y.logarithmic ? 1.1 : 1.05), height - bottom, top);
  const auto full = height + legend_line * std::ceil(static_cast<double>(drawn.lines.size()) / legend_columns);
  auto svg = format("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", width, full) + escaped(drawn.title) +
             "\">\n" + axes(drawn, x, y);
  for (std::size_t i = 0; i < drawn.lines.size(); ++i) {
    const auto* color = colors[i % colors.size()];
    svg += line(drawn.lines[i], drawn, x, y, color);
    const auto at_x = left + static_cast<double>(i % legend_columns) * (width - left - right) / legend_columns;
    const auto at_y = height + legend_line * std::floor(static_cast<double>(i) / legend_columns) + 8;
    svg += format("<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" fill=\"%s\"/>\n", at_x, at_y - 6, color);
    svg += text_at(at_x + 20, at_y, "start", drawn.lines[i].name);
  }
  return svg + "</svg>\n";
}

}  // namespace shoal::services::bench
