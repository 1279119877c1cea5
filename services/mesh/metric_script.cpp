#include "services/mesh/metric_script.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "executor/model.hpp"
#include "services/mesh/outputs_text.hpp"

extern char** environ;

namespace shoal::services {

namespace fs = std::filesystem;
using executor::precision_plan;

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_printed = 1 << 20;

/// A file of our own that goes when this does.
class temporary_file {
 public:
  temporary_file() {
    auto name = (fs::temp_directory_path() / "shoal-tune.XXXXXX").string();
    const int made = ::mkostemp(name.data(), O_CLOEXEC);
    if (made < 0) return;
    ::close(made);
    path_ = name;
  }
  ~temporary_file() {
    std::error_code ignored;  // it may be gone already
    if (!path_.empty()) fs::remove(path_, ignored);
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

expected<void> write_outputs(const fs::path& archive, const executor::device& on, const precision_plan& plan,
                             const std::vector<std::vector<tensor>>& requests, const fs::path& to) {
  auto model = executor::model::load(archive, {}, nullptr, on, &plan);
  if (!model) return tl::unexpected(model.error());
  std::ofstream file(to);
  for (const auto& request : requests) {
    const auto outputs = (*model)->run(request);
    if (!outputs) return tl::unexpected(outputs.error());
    file << outputs_text(*outputs) << "\n";
  }
  file.close();
  if (!file) return fail(errc::unavailable, "cannot write " + to.string());
  return {};
}

}  // namespace

expected<double> score_of(const std::string& script, const fs::path& outputs, double seconds) {
  const auto until = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errc::internal, std::string("pipe2: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  // A group of its own, so that what the script starts ends with it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  auto program = fs::path(script).has_parent_path() ? script : "./" + script;
  auto argument = outputs.string();
  char* arguments[] = {program.data(), argument.data(), nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, program.c_str(), &actions, &attributes, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  std::string printed;
  bool is_late = false;
  while (failed == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    pollfd readable{ends[0], POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&readable, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0 && left > 60'000) continue;
    is_late = ready == 0;
    char piece[4096];
    const auto got = is_late ? 0 : ::read(ends[0], piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    printed.append(piece, static_cast<std::size_t>(got));
    // Only the last line counts.
    if (printed.size() > 2 * most_printed) printed.erase(0, printed.size() - most_printed);
  }
  ::close(ends[0]);
  if (failed != 0)
    return fail(errc::invalid_argument, "the script " + script + " cannot be run: " + std::strerror(failed));
  if (is_late) ::kill(-child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (is_late)
    return fail(errc::invalid_argument, "the script " + script + " took longer than " +
                                            std::to_string(std::lround(seconds)) +
                                            " s and was ended: give it more with --metric-seconds");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(errc::invalid_argument, "the script " + script + " failed: see what it said above");
  while (!printed.empty() && std::isspace(static_cast<unsigned char>(printed.back())) != 0) printed.pop_back();
  const auto line = printed.substr(printed.rfind('\n') == std::string::npos ? 0 : printed.rfind('\n') + 1);
  try {
    std::size_t used = 0;
    const double score = std::stod(line, &used);
    if (used == line.size() && std::isfinite(score)) return score;
  } catch (const std::exception&) {  // said below
  }
  return fail(errc::invalid_argument,
              "the script " + script + " printed no number as its last line, but \"" + line.substr(0, 80) + "\"");
}

expected<void> choose_by_score(precision::planning_result& found, const fs::path& archive, const executor::device& on,
                               const std::vector<std::vector<tensor>>& requests, const scoring& by) {
  const double most_loss = by.most_loss;
  const temporary_file outputs;
  if (outputs.path().empty()) return fail(errc::unavailable, "cannot write into the folder for temporary files");
  const auto score = [&](const precision_plan& plan) -> expected<double> {
    if (auto written = write_outputs(archive, on, plan, requests, outputs.path()); !written)
      return tl::unexpected(written.error());
    return score_of(by.script, outputs.path(), by.seconds);
  };
  auto plain = found.plan;
  plain.nodes.clear();
  plain.speedup = 1;
  plain.error = 0;
  const auto wanted = score(plain);
  if (!wanted) return tl::unexpected(wanted.error());
  auto candidates = found.curve;
  candidates.push_back(found.plan);
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.speedup > b.speedup; });
  char text[200];
  for (const auto& candidate : candidates) {
    if (candidate.is_fp32()) continue;
    const auto reached = score(candidate);
    if (!reached) return tl::unexpected(reached.error());
    if (!(*reached >= *wanted - most_loss)) continue;
    found.plan = candidate;
    std::snprintf(text, sizeof text, "%.2f times as fast as fp32 with a score of %.5g (fp32: %.5g, at most %.5g less)",
                  candidate.speedup, *reached, *wanted, most_loss);
    found.verdict = text;
    return {};
  }
  found.plan = plain;
  std::snprintf(text, sizeof text, "fp32: no faster plan keeps the score of %.5g within %.5g", *wanted, most_loss);
  found.verdict = text;
  return {};
}

}  // namespace shoal::services
