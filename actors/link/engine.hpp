// The link's poll thread: owner of every socket. It reads, tells events, lets the service's actor run, writes what that
// sent, and waits; so an answer given in place goes out in the round in which its question came.
//
// Order matters in three places. A connection's last messages are read before its loss is told. Losses are taken in
// before a HELLO is registered, so that a reused descriptor cannot kill the newcomer. An account is closed before
// `peer_down` is told, so that `send` fails from then on.
#pragma once

#include <algorithm>
#include <list>
#include <random>
#include <unordered_map>
#include <unordered_set>

#include "link/ipc_guard.hpp"
#include "link/peer.hpp"
#include "link/resolver.hpp"

namespace shoal::link {

class engine {
 public:
  engine(const options& own, hello self, counters& counts, outbox& out, poller& wait);
  ~engine();

  expected<void> bind();
  /// As bound, with the ports that were given.
  [[nodiscard]] const std::vector<std::string>& endpoints() const noexcept { return endpoints_; }

  /// Until `stop`. `after_poll` returns true if it has more to do.
  void run(protocol::event_sink sink, std::function<bool()> after_poll);

  // On the poll thread only, by outbox::post.
  void connect(protocol::service_kind kind, const std::string& endpoint);
  void stop() { stopping_ = true; }

 private:
  // engine.cpp: rounds
  line& router_for(const std::string& address);
  void round();
  void wait();
  void read(line& from, dialer* by);
  void take_losses();
  void apply_losses();
  void write();
  void tick(time_point now);
  void drop_revoked();
  void finish_writing();
  void say_goodbye();
  void stop_listening();
  void forget(line& wire);
  void due_by(time_point when) { tick_due_ = std::min(tick_due_, when); }

  // dialing.cpp
  void dial(dialer& to);
  void greet(dialer& to);
  void hang_up(dialer& from, error reason);
  void on_lost(dialer& by);
  void add_dialer(protocol::service_kind kind, const std::string& endpoint);
  void resolved(protocol::service_kind kind, const std::string& target, const std::vector<std::string>& endpoints);
  void log(log_level level, const std::string& sentence) const {
    if (options_.log) options_.log(level, "link: " + sentence);
  }
  void complain(dialer& about, const std::string& sentence);

  // arrivals.cpp: what came
  void arrived(line& from, dialer* by, std::span<frame> frames);
  /// How a connection that reached us is known.
  struct origin {
    std::string_view route;
    int source = -1;
    std::string_view key;
  };
  void from_stranger(line& from, dialer* by, const origin& whence, const expected<envelope>& said);
  void on_control(peer& from, control body);
  void on_hello(line& from, const origin& whence, const hello& said);
  /// Whether the key allows to be what is said. Over inproc there is none, and none is needed.
  expected<void> check_role(const line& from, const origin& whence, const hello& said) const;
  void on_welcome(dialer& by, const hello& said);
  void on_refused(dialer& by, const error& reason);
  void on_message(peer& from, protocol::message body);
  void tell(peer& from, protocol::message body);
  void on_bulk(peer& from, bulk head);
  void on_piece(peer& from, const piece& part);
  void lost_body(peer& from, protocol::message body, const error& why);
  bool admit(peer& from, const protocol::infer& request, std::uint64_t bytes);
  peer& up(line& wire, const hello& said, dialer* by, const origin& whence);
  void down(protocol::peer_id id, error reason);

  // departures.cpp: what goes
  void deliver(parcel next);
  void answer(peer& to, protocol::message body);
  void say(peer& to, const control& body);
  void post(peer& to, peer::letter what);
  void refuse(line& to, std::string_view route, error reason);
  void flush(peer& to);
  sent put(peer& to, std::span<const std::byte> head, std::span<const buffer> tensors);
  sent put(line& to);

  const options& options_;
  const hello self_;
  counters& counters_;
  outbox& outbox_;
  poller& poller_;
  std::shared_ptr<context> context_;
  std::mt19937_64 random_;
  protocol::event_sink sink_;
  std::function<bool()> after_poll_;

  std::uint64_t next_token_ = 0;
  protocol::peer_id next_peer_ = 1;
  std::vector<std::unique_ptr<line>> routers_;  ///< one, or with an identity one for tcp and one for the rest
  std::vector<std::string> endpoints_;
  std::shared_ptr<const access::access_list> access_;  ///< as last looked at; null: no identity, or a client's
  std::shared_ptr<void> admission_;                    ///< what the context's gatekeeper asks of us
  std::vector<ipc_guard> guards_;                      ///< of the ipc ones
  std::list<dialer> dialers_;
  std::unordered_map<std::string, std::vector<std::string>> targets_;  ///< names to resolve -> their endpoints
  std::unordered_map<protocol::peer_id, std::unique_ptr<peer>> peers_;
  /// Of different routers the same route may mean different peers.
  static std::string place_of(const line& router, std::string_view route) {
    return std::string(1, static_cast<char>(router.token)).append(route);
  }
  std::unordered_map<std::string, peer*> routes_;  ///< by place
  std::unordered_map<int, peer*> sources_;
  std::vector<std::pair<protocol::peer_id, error>> losses_;  ///< noticed, not yet told
  std::unordered_set<protocol::instance_id> complained_;     ///< of whose version was told in the log

  std::vector<frame> frames_, outgoing_;
  std::vector<buffer> buffers_;
  std::vector<parcel> parcels_;
  std::vector<outbox::command> commands_;
  std::unordered_set<protocol::peer_id> behind_;  ///< peers with letters or pieces that wait for room
  time_point tick_due_{}, heartbeat_due_{}, last_tick_{};
  std::uint64_t heartbeats_ = 0;
  bool skipped_ = false;
  bool stopping_ = false;
  bool busy_ = false;
  std::unique_ptr<resolver> resolver_;
};

}  // namespace shoal::link
