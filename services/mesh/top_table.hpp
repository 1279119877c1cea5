// What `shoal top` shows: differences between two looks at a mesh. Pure; the looking is in top.cpp.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/clock.hpp"
#include "protocol/messages.hpp"

namespace shoal::services {

/// One look.
struct mesh_view {
  time_point taken{};
  protocol::catalogue models;
  protocol::report report;
};

/// One model version between two looks. Means are over what ended between them; zero if nothing did.
struct model_row {
  std::string name;
  std::uint64_t version = 0;
  std::string state;
  double requests_s = 0;  ///< answered, per second
  double failures_s = 0;
  double queued = 0;  ///< waiting in schedulers now
  double batch = 0;   ///< rows of an execution
  double latency_ms = 0;
  double queue_ms = 0;
  double compute_ms = 0;
};

/// One service now.
struct service_row {
  std::string service;
  std::string instance;
  std::string up;    ///< how long
  std::string does;  ///< its own figures in a few words
};

struct top_view {
  double seconds = 0;  ///< between the looks
  std::vector<model_row> models;
  std::vector<service_row> services;
};

/// A service that was started again between the looks counts from its new start.
top_view compare(const mesh_view& before, const mesh_view& now, std::chrono::system_clock::time_point clock);

/// Lines for a terminal, none wider than `columns`.
std::string to_table(const top_view& view, const std::string& title, std::size_t columns);
nlohmann::ordered_json to_json(const top_view& view);

}  // namespace shoal::services
