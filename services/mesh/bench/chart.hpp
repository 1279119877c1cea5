// Line charts as SVG: axes with ticks and units, a legend, nothing else. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace shoal::services::bench {

struct axis {
  std::string label;  ///< with the unit
  bool logarithmic = false;
  /// Where ticks are and what they say; empty: round numbers.
  std::vector<std::pair<double, std::string>> ticks;
};

struct series {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< on a logarithmic axis only those above 0 are drawn
  bool dashed = false;
};

struct chart {
  std::string title;
  axis x, y;
  std::vector<series> lines;
};

/// An <svg> element; a sentence instead if there is no point to draw. A linear axis begins at 0.
std::string to_svg(const chart& drawn);

/// Text inside of HTML and SVG, attributes included.
std::string escaped(const std::string& text);

}  // namespace shoal::services::bench
