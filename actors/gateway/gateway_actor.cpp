#include "gateway/gateway_actor.hpp"

#include "protocol/alarm.hpp"

namespace shoal::gateway {

namespace {

struct actor_state {
  std::unique_ptr<gateway_state> mind;
  protocol::alarm alarm;
  std::vector<caf::typed_response_promise<protocol::drained_atom>> drains;
  static inline const char* name = "shoal.gateway";
};

using self_pointer = protocol::gateway_actor::stateful_pointer<actor_state>;

protocol::gateway_actor::behavior_type gateway_actor(self_pointer self, gateway_options options, protocol::link* link,
                                                     std::shared_ptr<board> board, metrics* figures) {
  self->state.mind = std::make_unique<gateway_state>(options, *link, std::move(board), *figures);
  auto after = [self] {
    auto& state = self->state;
    state.alarm.set(self, state.mind->next_wake());
    if (state.drains.empty() || !state.mind->idle()) return;
    for (auto& drain : std::exchange(state.drains, {})) drain.deliver(protocol::drained_atom::value);
  };
  return {
      [self, after](protocol::link_event& event) {
        self->state.mind->on(event, self->clock().now());
        after();
      },
      [self, after](protocol::submission& submission) {
        self->state.mind->submit(submission, self->clock().now());
        after();
      },
      [self, after](protocol::withdrawal& withdrawal) {
        self->state.mind->withdraw(withdrawal.ticket);
        after();
      },
      [self, after](protocol::management& request) {
        self->state.mind->manage_for_door(request, self->clock().now());
        after();
      },
      [self](const protocol::text_reader& given) {
        const auto reads = given.reads;
        self->state.mind->read_text_with(
            {[self, reads](protocol::text_order order) { self->send(reads, std::move(order)); },
             [self, reads](protocol::request_id ticket) { self->send(reads, protocol::withdrawal{ticket}); }});
      },
      [self, after](protocol::text_done& done) {
        self->state.mind->on(done, self->clock().now());
        after();
      },
      [self](const protocol::statistics_question& question) { question.done(self->state.mind->statistics()); },
      [self, after](protocol::wake_atom) {
        const auto now = self->clock().now();
        self->state.alarm.rang(now);
        self->state.mind->on_wake(now);
        after();
      },
      [self, after](protocol::drain_atom) {
        auto promise = self->make_response_promise<protocol::drained_atom>();
        self->state.mind->start_draining();
        self->state.drains.push_back(promise);
        after();
        return promise;
      },
  };
}

class actor_front final : public front {
 public:
  actor_front(run_loop& loop, protocol::gateway_actor actor, std::shared_ptr<board> board)
      : loop_(loop), actor_(std::move(actor)), board_(std::move(board)) {}

  protocol::request_id submit(protocol::infer request, done on_outcome) override {
    const auto ticket = board_->next_id++;
    loop_.send(actor_, protocol::submission{ticket, std::move(request), std::move(on_outcome)});
    return ticket;
  }
  void cancel(protocol::request_id ticket) override { loop_.send(actor_, protocol::withdrawal{ticket}); }
  void manage(protocol::manage request, managed on_answer) override {
    loop_.send(actor_, protocol::management{std::move(request), std::move(on_answer)});
  }
  void statistics(told on_answer) override { loop_.send(actor_, protocol::statistics_question{std::move(on_answer)}); }
  std::shared_ptr<const model_list> models() const override { return board_->models.load(); }
  bool ready() const override { return board_->ready(steady::now()); }

 private:
  run_loop& loop_;
  protocol::gateway_actor actor_;
  std::shared_ptr<board> board_;
};

}  // namespace

protocol::gateway_actor spawn_gateway(caf::actor_system& system, gateway_options options, protocol::link& link,
                                      std::shared_ptr<board> board, metrics& figures) {
  return system.spawn(gateway_actor, options, &link, std::move(board), &figures);
}

std::unique_ptr<front> make_front(run_loop& loop, protocol::gateway_actor actor, std::shared_ptr<board> board) {
  return std::make_unique<actor_front>(loop, std::move(actor), std::move(board));
}

}  // namespace shoal::gateway
