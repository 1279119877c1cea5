// The mind that reads text for a gateway: each text request becomes requests of token ids, a few rows each, and their
// answers one answer. Rows of like length go together, so that little is filled up; those requests are ordinary ones,
// which the scheduler joins with others and spreads over workers.
//
// Owned by the text actor (text_actor.hpp), which hands in events and the time and calls `turn` while there is work.
// A request takes turns with the others after each `bytes_per_turn`, and has `rows_in_flight` rows with the workers at
// a time. The first part that fails ends the whole request, but for an overloaded mesh, which is asked again until the
// deadline, and for a version that was unloaded: the one that took over computes all of it, so that no list is of two
// versions.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "gateway/board.hpp"
#include "gateway/text/text_request.hpp"
#include "gateway/text/tokenizer_shelf.hpp"
#include "protocol/actors.hpp"

namespace shoal::gateway {

struct text_options {
  std::filesystem::path models;  ///< the model directory; empty: token ids alone
  std::size_t bytes_per_turn = std::size_t{256} << 10;
  std::size_t texts_per_turn = most_texts;  ///< sorted by their lengths together
  std::size_t rows_in_flight = 256;         ///< of one text request
  std::size_t rows_of_a_part = 8;           ///< joined before the scheduler sees them; of a list that fills
                                            ///< the workers anyway, as many as a batch has
  std::size_t most_answer_bytes = std::size_t{1} << 30;  ///< of all text requests that are under way
};

class text_state {
 public:
  /// How it speaks to the gateway's actor; must not block.
  struct port {
    std::function<void(protocol::request_id ticket, std::uint32_t part, protocol::request_id job, protocol::infer)>
        submit;
    std::function<void(protocol::request_id ticket)> withdraw;  ///< of a part
    std::function<void(protocol::text_done)> done;
  };

  text_state(text_options options, std::shared_ptr<board> board, port to, metrics& figures);

  void on(protocol::text_order& order, time_point now);
  void on(const protocol::withdrawal& gone, time_point now);
  void on(protocol::text_part& part, time_point now);

  /// Reads some text of the request whose turn it is. True: there is more to be read now.
  bool turn(time_point now);
  /// When parts that the mesh was too busy for are handed in again.
  [[nodiscard]] std::optional<time_point> next_wake() const;
  void on_wake(time_point now);

 private:
  using request_id = protocol::request_id;

  struct part {
    std::vector<std::size_t> rows;  ///< places in the request's list
    request_id ticket = 0;          ///< 0: not with the gateway
  };
  struct job {
    protocol::text_order order;
    text_list list;
    std::shared_ptr<const text_model> model;
    std::vector<text::encoding> encodings;  ///< of those that were read; emptied once answered
    std::vector<std::int64_t> counts;
    std::size_t read = 0;      ///< texts
    std::size_t answered = 0;  ///< rows
    std::size_t in_flight = 0;
    std::unordered_map<std::uint32_t, part> parts;  ///< not answered yet
    std::deque<std::uint32_t> waiting;              ///< of these, those that are not with the gateway
    std::uint32_t next_part = 0;
    std::vector<tensor> results;  ///< as the first answer described them; without bytes
    std::vector<std::vector<std::byte>> bytes;
    std::vector<std::size_t> places;  ///< of the outputs wanted, in spec.outputs; `counts_place`: token counts
    std::string plan;
    std::uint64_t version = 0;
    std::size_t answer_bytes = 0;     ///< of the budget
    int begun = 0;                    ///< how often: another version may take over
    bool has_turn = false;            ///< it is in turns_
    std::optional<time_point> again;  ///< when `waiting` is handed in again, after an overload
  };

  expected<void> begin(job& made);
  expected<void> find_outputs(job& made);
  expected<void> reserve(job& made);
  expected<void> begin_again(request_id id, job& from);
  void ask_for_turn(request_id id, job& of);
  void go_on(request_id id, time_point now);
  void take_part(protocol::text_part& part, time_point now);
  void take_failure(const protocol::text_part& part, job& of, time_point now);
  [[nodiscard]] protocol::outcome put_together(job& of) const;
  void read_turn(request_id id, job& next, time_point now);
  /// Does `work` for that request; what is thrown there (memory that is not there) ends the request alone.
  template <class Work>
  void guarded(request_id id, Work&& work);
  expected<text::encoding> encode(const job& of, std::size_t place) const;
  expected<void> read_some(job& from);
  void cut(job& from, std::size_t first);
  void hand_in(request_id id, job& from, time_point now);
  expected<void> take(job& into, const part& done, std::vector<tensor>& outputs);
  void finish(request_id id, protocol::outcome outcome);
  void fail_job(request_id id, error reason);

  text_options options_;
  std::shared_ptr<board> board_;
  port to_;
  tokenizer_shelf shelf_;
  std::unordered_map<request_id, job> jobs_;
  std::deque<request_id> turns_;  ///< those with text that can be read now
  std::size_t answer_bytes_ = 0;  ///< that the answers under way take
  std::size_t resting_ = 0;       ///< jobs with `again`

  prometheus::Counter& texts_;
  prometheus::Counter& tokens_;
  prometheus::Counter& bytes_;
  prometheus::Histogram& reading_;
};

}  // namespace shoal::gateway
