// What must hold in a simulated world, whatever goes wrong there. Told what clients asked and heard, what workers ran,
// what stores promised; says what was broken, when, and with which request. It knows nothing of how minds work.
//
//   one outcome    each request has one, by its deadline and 250 ms (later only if its client's process was paused)
//   the answer     is the model's, for that input, of the version that the outcome names
//   why not        only what a client can act on: overloaded, unavailable, deadline_exceeded, and what the world allows
//   one at a time  a worker runs one batch
//   kept           objects and profiles that were acknowledged are there after a crash
//   bounded        what queues hold
//   nothing left   in the end no credit, place, lease or request is taken
//
// Calm: no fault is (or was, a while ago) under way. Then every request is answered, and computed once.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "protocol/messages.hpp"
#include "unit/simulation/network.hpp"

namespace shoal::test {

class checker {
 public:
  static constexpr milliseconds grace{250};

  explicit checker(timeline& time) : time_(time) {}

  struct asked {
    place_id owner = 0;  ///< the client, or the gateway whose door it came through
    bool at_door = false;
    std::string model;
    std::uint64_t version = 0;
    tensor input;
    protocol::priority priority = protocol::priority::standard;
    time_point at, due;
    bool is_poison = false;
    bool is_calm = false;
  };
  /// Numbers its requests from 1 on.
  std::uint64_t ask(asked request);
  void end(std::uint64_t number, const protocol::outcome& with);
  /// Its client has died, or its door's gateway: nobody hears of it.
  void abandon_all_of(place_id owner);
  void give_up(std::uint64_t number);
  void run(std::uint64_t number);
  [[nodiscard]] bool is_open(std::uint64_t number) const;
  /// This process was paused: what it owes its clients comes later.
  void excuse(place_id owner, time_point until) { excused_[owner] = std::max(excused_[owner], until); }

  /// Refusals that are right in this world beside those that a retry can help.
  void allow(errc code) { allowed_.insert(code); }
  void fail(const std::string& what);
  /// ... about this request.
  void fail(std::uint64_t number, const std::string& what);

  struct history {
    std::size_t asked = 0, answered = 0, refused = 0, expired = 0, given_up = 0, abandoned = 0;
    std::size_t runs = 0;
    std::map<std::string, std::size_t> answered_of;  ///< by model
    std::map<std::string, std::map<protocol::priority, microseconds>> longest;
    std::map<errc, std::size_t> why;
  };
  [[nodiscard]] const history& seen() const { return seen_; }
  [[nodiscard]] std::size_t open() const { return open_; }
  [[nodiscard]] const asked& request(std::uint64_t number) const { return requests_[number - 1].what; }
  [[nodiscard]] bool has_ended(std::uint64_t number) const { return requests_[number - 1].ended; }
  [[nodiscard]] const std::vector<std::string>& broken() const { return broken_; }
  [[nodiscard]] const std::set<std::uint64_t>& suspects() const { return suspects_; }
  [[nodiscard]] std::uint64_t print() const { return print_; }
  void note(std::uint64_t what) { print_ = (print_ ^ what) * 0x100000001b3; }

 private:
  /// Deadline and grace of this request are over.
  void look_at(std::uint64_t number);

  struct entry {
    asked what;
    bool ended = false, abandoned = false, gave_up = false;
    std::size_t runs = 0;
  };
  timeline& time_;
  std::vector<entry> requests_;
  std::size_t open_ = 0;
  std::map<place_id, time_point> excused_;
  std::set<errc> allowed_{errc::overloaded, errc::unavailable, errc::deadline_exceeded};
  history seen_;
  std::vector<std::string> broken_;
  std::set<std::uint64_t> suspects_;
  std::uint64_t print_ = 0xcbf29ce484222325;
};

}  // namespace shoal::test
