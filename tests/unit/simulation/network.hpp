// The network of a simulated world, as actors/link is one over ZeroMQ and TCP: connections that one side keeps reaching
// for, in order each way, with random delays; between connections everything is reordered. What is modelled of the
// link, since minds rely on it: `peer_up` and `peer_down`, each at its own time on each side, a fresh peer id for each
// connection; link credit with the link's own books (link/credit.hpp); a bound on what waits to be written; three
// silent heartbeats. Not modelled: frames, pieces, schemas; tests/unit/link is about those.
//
// Faults: a connection breaks (what flies is lost); one direction between two places falls silent (what is sent waits,
// as in TCP; long enough, and the other side hangs up); a place is paused, as by SIGSTOP; a process dies, and its
// kernel says so, or its host dies, and nobody says so.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "link/credit.hpp"
#include "protocol/link.hpp"
#include "unit/simulation/timeline.hpp"

namespace shoal::test {

/// Where a process runs; the one that is started there after a crash runs there again.
using place_id = std::size_t;

/// What a process says of itself when it connects.
struct greeting {
  protocol::service_kind service = protocol::service_kind::client;
  protocol::instance_id instance = 0;
  std::uint64_t epoch = 0;
  std::vector<std::string> capabilities;
  std::uint32_t credit_messages = 1024;
  std::uint64_t credit_bytes = 256ull << 20;
};

struct network_options {
  microseconds least_delay{50}, most_delay{150};
  double slow = 0;  ///< part of the messages that take up to a hundred times as long, and hold up those behind them
  double late_breaks = 0;         ///< part of the broken connections that one side hears of up to 3 heartbeats later
  std::size_t max_queued = 8192;  ///< messages that wait to be written to one peer
  std::uint64_t reply_room = 64ull << 10;
};

class network {
 public:
  static constexpr milliseconds heartbeat{1000};
  static constexpr int silent_heartbeats = 3;

  network(timeline& time, network_options options) : time_(time), options_(options) {}
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  /// Called with what a living, unpaused process hears.
  std::function<void(place_id, protocol::link_event)> hear;
  /// Called before that; `from` is the place at the other end.
  std::function<void(place_id from, place_id to, const protocol::link_event&)> seen;
  /// Harm that no network does: to find out whether the checker sees it.
  enum class tampering { none, lose, twice };
  std::function<tampering(place_id from, place_id to, const protocol::message&)> tamper;
  bool forgets_to_settle = false;
  /// From now on no message takes much longer than others.
  void quicken() { options_.slow = 0; }

  place_id add();
  /// A process begins there; `reaches_for` is who it connects to.
  void start(place_id place, greeting said, const std::vector<place_id>& reaches_for);
  /// The port of the process that runs there now.
  [[nodiscard]] std::unique_ptr<protocol::link> port(place_id place);

  enum class end { in_order, killed, power_lost };
  void stop(place_id place, end how);
  void pause(place_id place, time_point until);
  void silence(place_id from, place_id to, time_point until);
  /// Breaks one of the connections; false: there is none.
  bool break_one();

  [[nodiscard]] bool alive(place_id place) const { return places_[place].alive; }
  [[nodiscard]] std::uint64_t life(place_id place) const { return places_[place].life; }
  /// Until when it is paused; the past: it is not.
  [[nodiscard]] time_point paused_until(place_id place) const { return places_[place].paused_until; }
  /// Runs in this life of the process, not while it is paused.
  void later(place_id place, steady::duration wait, std::function<void()> what);

  /// Requests that some living connection still has credit taken for.
  [[nodiscard]] std::uint64_t credit_taken() const;
  [[nodiscard]] std::size_t connections() const;

 private:
  using peer_id = protocol::peer_id;
  struct dialer {
    place_id to = 0;
    unsigned failures = 0;
  };
  struct place {
    bool alive = false;
    std::uint64_t life = 0;
    time_point paused_until{};
    greeting said;
    std::vector<dialer> dialers;
  };
  struct flying {
    time_point arrives;
    protocol::link_event what;
  };
  struct side {
    place_id place = 0;
    std::uint64_t life = 0;
    bool up = false;  ///< its process has heard peer_up and not peer_down
    std::optional<link::credit_book> ours, theirs;
    std::deque<flying> incoming;
    std::optional<time_point> pumped_at;
    bool closing = false;  ///< peer_down is on its way to it
  };
  struct connection {
    side sides[2];  ///< who reached for the other first
    bool broken = false;
  };
  class own_port;

  static peer_id id_of(std::size_t connection, int side) { return 2 * connection + 1 + static_cast<std::size_t>(side); }
  expected<void> send(place_id from, std::uint64_t life, peer_id to, protocol::message body);
  void settle(place_id from, peer_id peer, protocol::request_id id);
  steady::duration delay();
  void dial(place_id from, place_id to);
  void redial(place_id from, place_id to);
  void connect(place_id from, place_id to);
  void open(side& self, const greeting& other);
  void push(std::size_t connection, int to, protocol::link_event what, time_point not_before = {});
  void pump(std::size_t connection, int to);
  void pump_at(std::size_t connection, int to, time_point when);
  void give(std::size_t connection, int to, protocol::link_event what);
  void close(std::size_t connection, int to, bool loses, steady::duration wait, error why);
  void break_connection(std::size_t connection);
  /// Three heartbeats were not heard at `at`.
  void hang_up(std::size_t connection, int at);
  void watch_silence(place_id from, place_id to);
  [[nodiscard]] time_point silent_until(place_id from, place_id to) const;
  [[nodiscard]] bool lives(const side& end) const {
    return places_[end.place].alive && places_[end.place].life == end.life;
  }

  timeline& time_;
  network_options options_;
  std::vector<place> places_;
  std::deque<connection> connections_;
  std::map<std::pair<place_id, place_id>, time_point> silences_;
};

}  // namespace shoal::test
