// What a link counts, among the figures of its service (shoal_link_…). What it counts by peer stays with it: peers come
// and go without end.
#pragma once

#include <map>
#include <string>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "link/zmq_link.hpp"

namespace shoal::services {

class link_figures {
 public:
  explicit link_figures(metrics& figures) : figures_(figures) {}

  /// Of the link, at most once a second. On the link's thread.
  void publish(const link::zmq_link& of, time_point now);

 private:
  struct series {
    prometheus::Counter* counter = nullptr;
    double told = 0;
  };
  metrics& figures_;
  std::map<std::string, series> series_;  ///< by the link's names
  time_point again_{};
};

}  // namespace shoal::services
