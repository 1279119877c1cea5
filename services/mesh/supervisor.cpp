#include "services/mesh/supervisor.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <iostream>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "core/back_off.hpp"
#include "services/host/program.hpp"

namespace shoal::services {

namespace {

constexpr std::array stop_order{"gateway", "worker", "precision", "cache", "scheduler"};
constexpr milliseconds first_wait{100};
constexpr milliseconds longest_wait{5000};
constexpr milliseconds long_enough{2000};
/// Until the first sign of life: libraries are read from a disk, a GPU wakes up.
constexpr milliseconds time_to_come_up{60000};
constexpr unsigned tries = 5;

double seconds(steady::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

supervisor::supervisor(process_plan plan) : plan_(std::move(plan)) {
  for (const auto& one : plan_.services) children_.emplace_back().plan = one;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

supervisor::~supervisor() { ::close(signals_); }

expected<void> supervisor::run() {
  std::vector<std::string> gateways;
  for (const auto& one : plan_.services)
    if (one.service == "gateway") gateways.push_back(one.endpoint);
  start_due(steady::now());
  readiness_.emplace(gateways, plan_.models);
  while (!stopping_ || phase_ < stop_order.size()) {
    wait();
    const auto now = steady::now();
    look_for_frozen(now);
    if (stopping_)
      go_on_stopping(now);
    else
      start_due(now);
  }
  remove_files();
  if (problem_) return tl::unexpected(*problem_);
  return {};
}

void supervisor::wait() {
  std::vector<pollfd> all{{signals_, POLLIN, 0}};
  std::vector<child*> running;
  for (auto& one : children_) {
    if (!one.process.runs()) continue;
    running.push_back(&one);
    all.push_back({one.process.end_descriptor(), POLLIN, 0});
    all.push_back({one.process.life_descriptor(), POLLIN, 0});  // negative ones are passed over
  }
  const bool awaits_readiness = readiness_ && !ready_found_;
  if (awaits_readiness) all.push_back({readiness_->descriptor(), POLLIN, 0});
  int timeout = -1;
  if (const auto due = next_due()) {
    const auto left = std::chrono::ceil<milliseconds>(*due - steady::now()).count();
    timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
  }
  if (::poll(all.data(), all.size(), timeout) < 0) return;
  const auto now = steady::now();
  for (std::size_t i = 0; i < running.size(); ++i) {
    auto& one = *running[i];
    // Its last word before its end, and before its silence is judged: this process may have been the one that slept.
    if (all[2 + 2 * i].revents != 0 && one.process.heard()) {
      one.heard = now;
      one.has_come_up = true;
    }
    if (all[1 + 2 * i].revents != 0) on_end(one);
  }
  if (all[0].revents != 0) on_signal();
  if (awaits_readiness && all.back().revents != 0) ready_found_ = true;
  if (ready_found_ && !ready_printed_ && !stopping_) on_ready();
}

std::optional<time_point> supervisor::next_due() const {
  std::optional<time_point> due;
  const auto by = [&](time_point when) { due = due ? std::min(*due, when) : when; };
  for (const auto& one : children_) {
    if (!one.process.runs() && !stopping_) by(one.due);
    if (one.process.runs() && plan_.watchdog.count() > 0 && !(stopping_ && one.process.life_descriptor() < 0))
      by(one.heard + silence_allowed(one));
  }
  if (stopping_ && phase_begun_) by(phase_ends_);
  return due;
}

milliseconds supervisor::silence_allowed(const child& one) const {
  return one.has_come_up ? plan_.watchdog : std::max(plan_.watchdog, time_to_come_up);
}

void supervisor::start_due(time_point now) {
  bool any = false;
  for (auto& one : children_) {
    if (one.process.runs() || now < one.due) continue;
    one.started = one.heard = now;
    one.has_come_up = false;
    if (auto started = one.process.start(one.plan.command, one.plan.name()); !started) {
      spdlog::error("cannot start {}: {}", one.plan.name(), started.error().message);
      one.due = now + longest_wait;
      continue;
    }
    any = true;
  }
  if (any) write_status();
}

void supervisor::look_for_frozen(time_point now) {
  if (plan_.watchdog.count() == 0) return;
  for (auto& one : children_) {
    if (!one.process.runs() || now - one.heard < silence_allowed(one)) continue;
    if (stopping_ && one.process.life_descriptor() < 0)
      continue;  // it has closed its doors: the time to stop is its own
    spdlog::error("{} (process {}) gave no sign of life for {:.1f} s: it is killed", one.plan.name(), one.process.id(),
                  seconds(now - one.heard));
    one.process.signal(SIGKILL);
    one.heard = now;
  }
}

void supervisor::on_end(child& one) {
  const auto pid = one.process.id();
  const auto status = one.process.collect();
  if (stopping_) {
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      spdlog::warn("{} (process {}) ended with {}", one.plan.name(), pid, text_of_status(status));
    return;
  }
  const auto now = steady::now();
  const auto lived = now - one.started;
  const auto name = one.plan.name();
  one.failures = lived >= long_enough ? 0 : one.failures + 1;
  if (!ready_printed_ && !one.has_come_up && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    if (WEXITSTATUS(status) == usage) return give_up(name + " refuses its configuration (the reason is above)");
    if (WEXITSTATUS(status) == 127)
      return give_up("cannot run " + one.plan.command.front() + ": install it beside shoal");
    if (one.failures >= tries) return give_up(name + " does not start (the reason is above)");
  }
  auto wait = milliseconds(0);
  if (one.failures > 0) wait = doubled(first_wait, one.failures - 1, longest_wait);
  one.due = now + wait;
  ++one.restarts;
  spdlog::warn("{} (process {}) ended with {} after {:.1f} s: it is started again{}", name, pid, text_of_status(status),
               seconds(lived), wait.count() == 0 ? "" : " in " + std::to_string(wait.count()) + " ms");
}

void supervisor::give_up(std::string why) {
  if (!problem_) problem_ = error{errc::unavailable, std::move(why)};
  begin_to_stop();
}

void supervisor::on_ready() {
  const auto& found = readiness_->found();
  if (!found) {
    ready_printed_ = true;  // it never will be
    return give_up(found.error().message);
  }
  if (!std::all_of(children_.begin(), children_.end(), [](const child& one) { return one.has_come_up; })) return;
  ready_printed_ = true;
  std::cout << "ready";
  if (!plan_.http.empty()) std::cout << " http=" << plan_.http;
  if (!plan_.grpc.empty()) std::cout << " grpc=" << plan_.grpc;
  for (const auto& one : plan_.services) {
    if (one.service != "gateway") continue;
    for (const auto& door : one.doors) std::cout << " native=" << door;
    std::cout << " native=" << one.endpoint;
  }
  std::cout << " models=" << *found << std::endl;
}

void supervisor::on_signal() {
  signalfd_siginfo what{};
  while (::read(signals_, &what, sizeof what) == sizeof what) {
    if (!stopping_) {
      spdlog::info("draining");
      begin_to_stop();
      continue;
    }
    spdlog::warn("killed by a second signal");
    if (!problem_) problem_ = error{errc::unavailable, "the mesh was killed before it had ended in order"};
    for (auto& one : children_) one.process.signal(SIGKILL);
  }
}

void supervisor::begin_to_stop() {
  if (stopping_) return;
  stopping_ = true;
  phase_ = 0;
  phase_begun_ = false;
}

void supervisor::go_on_stopping(time_point now) {
  for (; phase_ < stop_order.size(); ++phase_, phase_begun_ = false) {
    bool any = false;
    auto longest = milliseconds(0);
    for (auto& one : children_) {
      if (one.plan.service != stop_order[phase_] || !one.process.runs()) continue;
      any = true;
      longest = std::max(longest, one.plan.stop_time);
      if (!phase_begun_) one.process.signal(SIGTERM);
      if (phase_begun_ && now >= phase_ends_) {
        spdlog::error("{} (process {}) does not end: it is killed", one.plan.name(), one.process.id());
        one.process.signal(SIGKILL);
      }
    }
    if (any) {
      if (!phase_begun_ || now >= phase_ends_) phase_ends_ = now + longest;
      phase_begun_ = true;
      return;
    }
  }
}

/// What tools find the services by; it is there whole or not at all.
void supervisor::write_status() const {
  nlohmann::ordered_json all{
      {"pid", ::getpid()}, {"http", plan_.http}, {"grpc", plan_.grpc}, {"services", nlohmann::ordered_json::array()}};
  for (const auto& one : children_)
    all["services"].push_back({{"service", one.plan.service},
                               {"number", one.plan.number},
                               {"pid", one.process.id()},
                               {"endpoint", one.plan.endpoint},
                               {"doors", one.plan.doors},
                               {"restarts", one.restarts}});
  const auto path = plan_.run + "/mesh.json";
  const auto fresh = path + ".new";
  std::ofstream(fresh) << all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  if (::rename(fresh.c_str(), path.c_str()) != 0) spdlog::warn("cannot write {}", path);
}

/// Sockets and locks of services that were killed are still there.
void supervisor::remove_files() const {
  for (const auto& one : plan_.services) {
    if (one.endpoint.empty()) continue;
    const auto path = one.endpoint.substr(6);
    ::unlink(path.c_str());
    ::unlink((path + ".lock").c_str());
  }
  for (const char* name : {"/mesh.json", "/mesh.lock"}) ::unlink((plan_.run + name).c_str());
}

}  // namespace shoal::services
