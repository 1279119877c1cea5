// `shoal top`.
#include <ctime>
#include <iostream>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "link/client.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/top_table.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace {

/// A terminal's second screen, without a cursor, for as long as this lives; the first one is as it was afterwards.
class screen {
 public:
  screen() { std::cout << "\x1b[?1049h\x1b[?25l" << std::flush; }
  ~screen() { std::cout << "\x1b[?25h\x1b[?1049l" << std::flush; }
  screen(const screen&) = delete;
  screen& operator=(const screen&) = delete;

  static void show(const std::string& text) { std::cout << "\x1b[H" + lines_cleared(text) + "\x1b[J" << std::flush; }
  static std::size_t columns() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 120;
  }

 private:
  /// What an earlier, longer line left is cleared to its end.
  static std::string lines_cleared(const std::string& text) {
    std::string cleared;
    for (const char c : text) cleared += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
    return cleared;
  }
};

std::string clock_text() {
  const auto now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%H:%M:%S", &local);
  return text.data();
}

expected<mesh_view> look(link::client& client, milliseconds timeout) {
  mesh_view view;
  auto report = client.inquire(timeout);
  if (!report) return tl::unexpected(report.error());
  auto models = client.describe(timeout);
  if (!models) return tl::unexpected(models.error());
  view.taken = steady::now();
  view.report = std::move(*report);
  view.models = std::move(*models);
  return view;
}

}  // namespace

expected<void> show_top(const client_arguments& arguments, const top_arguments& wanted, signals& ending) {
  auto client = reach(arguments);
  if (!client) return tl::unexpected(client.error());
  const milliseconds interval(static_cast<std::int64_t>(std::clamp(wanted.interval, 0.1, 3600.0) * 1000));
  const bool live = !wanted.once && !arguments.json && ::isatty(STDOUT_FILENO) == 1;
  auto before = look(**client, arguments.timeout());
  if (!before) return tl::unexpected(before.error());
  std::optional<screen> terminal;
  if (live) terminal.emplace();
  while (ending.wait(interval) == 0) {
    auto now = look(**client, arguments.timeout());
    if (!now && !live) return tl::unexpected(now.error());
    const auto title = "shoal top  " + arguments.endpoint + "  " + clock_text();
    if (!now) {
      screen::show(title + "\n\n" + now.error().message + "\nwaiting for it; Ctrl-C ends\n");
      continue;
    }
    const auto view = compare(*before, *now, std::chrono::system_clock::now());
    if (live)
      screen::show(to_table(view, title, screen::columns()));
    else if (arguments.json)
      print_json(to_json(view));
    else
      std::cout << to_table(view, title, std::string::npos);
    std::cout.flush();
    if (wanted.once || (!live && !arguments.json)) return {};
    before = std::move(now);
  }
  return {};
}

}  // namespace shoal::services
