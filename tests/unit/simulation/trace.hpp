// What happened in a simulated run, line by line, for people: asked for with SHOAL_TRACE=1 (of the requests about which
// something is wrong, and all faults) or SHOAL_TRACE=all.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "protocol/link.hpp"
#include "unit/simulation/network.hpp"

namespace shoal::test {

/// SHOAL_TRACE is set.
bool traces();

class tracer {
 public:
  explicit tracer(timeline& time) : time_(time) {}

  void name(place_id place, std::string name) { names_[place] = std::move(name); }
  void is(place_id place, protocol::instance_id instance) { instances_[place] = instance; }
  void note(std::optional<place_id> place, const std::string& what, std::uint64_t number = 0);
  void heard(place_id from, place_id to, const protocol::link_event& what);

  /// Those of `which` and those of none.
  [[nodiscard]] std::vector<std::string> lines(const std::set<std::uint64_t>& which) const;

 private:
  struct line {
    std::string text;
    std::set<std::uint64_t> numbers;  ///< of requests; empty: it is about no request
    bool is_detail = false;           ///< of no request, and of no fault
  };
  [[nodiscard]] std::uint64_t number_of(const protocol::request_key& key) const;
  std::string text_of(place_id from, place_id to, const protocol::message& body, std::set<std::uint64_t>& numbers);
  std::string keys(const std::vector<protocol::request_key>& these, std::set<std::uint64_t>& numbers) const;

  timeline& time_;
  std::map<place_id, std::string> names_;
  std::map<place_id, protocol::instance_id> instances_;
  std::map<protocol::request_key, std::uint64_t> numbers_;  ///< at gateways
  std::map<std::pair<place_id, std::pair<place_id, protocol::request_id>>, std::uint64_t>
      wires_;  ///< of clients' tries
  std::vector<line> lines_;
};

}  // namespace shoal::test
