#include "gateway/grpc_door/call.hpp"

#include <algorithm>
#include <utility>

#include "gateway/grpc_door/message_bytes.hpp"
#include "gateway/grpc_door/status.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::grpc_door {

namespace {

std::optional<time_point> due_of(const grpc::GenericCallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
  return steady::now() + (deadline - std::chrono::system_clock::now());
}

protocol::trace_context trace_of(const grpc::GenericCallbackServerContext& context) {
  const auto& fields = context.client_metadata();
  const auto found = fields.find("traceparent");
  if (found == fields.end()) return {};
  return gateway::trace_of({found->second.data(), found->second.size()});
}

}  // namespace

call* call::begin(environment& shared, grpc::GenericCallbackServerContext& context) {
  auto made = std::make_shared<call>(shared, context);
  const bool health = made->method_ != nullptr && made->method_->is_health();
  bool full = false, too_many = false;
  {
    const std::lock_guard lock(shared.mutex);
    const auto calls = shared.calls.size();
    full = calls >= shared.limits.calls;
    too_many = full && (!health || calls >= shared.limits.calls + shared.limits.health_calls);
    shared.calls.insert(made);
  }
  shared.counters.call_begun();
  {
    const std::lock_guard lock(made->mutex_);
    if (made->method_ == nullptr)
      made->end(
          {errc::unsupported, "there is no method " + context.method().substr(0, 100) +
                                  " here; inference.GRPCInferenceService has those of Open Inference Protocol v2"});
    else if (too_many)
      made->end({errc::overloaded,
                 "the gRPC door has the " + std::to_string(shared.limits.calls) + " calls that it takes at a time"});
    else if (auto admitted = made->admit(); admitted)
      made->admitted_ = std::move(*admitted);
    else
      made->end(admitted.error());
  }
  if (full && !too_many) made->answer_unread();
  made->advance();
  return made.get();
}

call::call(environment& shared, grpc::GenericCallbackServerContext& context)
    : shared_(shared),
      context_(context),
      method_(find_method(context.method())),
      begun_(steady::now()),
      due_(due_of(context)),
      trace_(trace_of(context)) {}

void call::check(time_point now) {
  bool stuck = false;
  {
    const std::lock_guard lock(mutex_);
    if (now < read_expires_ && now < write_expires_) return;
    stuck = now >= write_expires_;
    read_expires_ = write_expires_ = time_point::max();
    const auto& limits = shared_.limits;
    if (!stuck && method_->streams)
      end({errc::deadline_exceeded,
           "the stream was silent for " + std::to_string(limits.stream_idle_time.count()) + " ms: open another"});
    else if (!stuck)
      end({errc::deadline_exceeded,
           "the request did not come in within " + std::to_string(limits.transfer_time.count()) + " ms"});
  }
  if (!stuck) return advance();
  cut();
}

std::optional<time_point> call::writes_since() {
  const std::lock_guard lock(mutex_);
  return write_begun_;
}

void call::cut() {
  {
    const std::lock_guard lock(mutex_);
    write_expires_ = time_point::max();
    write_begun_.reset();
    for (const auto& each : exchanges_) each->held.give_back();
  }
  // There is nobody to tell.
  const std::lock_guard lock(context_mutex_);
  if (!done_) context_.TryCancel();
}

void call::answer_unread() {
  {
    const std::lock_guard lock(mutex_);
    input_ended_ = true;
  }
  handle({});
}

void call::OnReadDone(bool ok) {
  // Until this one has its place, no further request is read.
  if (ok) handle(std::exchange(received_, grpc::ByteBuffer()));
  {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    read_expires_ = time_point::max();
    if (!ok || !method_->streams) input_ended_ = true;
    if (!ok && !method_->streams) end({errc::invalid_argument, "the call has ended without a request"});
  }
  advance();
}

expected<access::doorman::pass> call::admit() const {
  if (shared_.doorman == nullptr) return access::doorman::pass();
  const auto& fields = context_.client_metadata();
  const auto found = fields.find("authorization");
  const auto said =
      found == fields.end() ? std::string_view() : std::string_view(found->second.data(), found->second.size());
  return shared_.doorman->admit(said, method_->takes, steady::now());
}

void call::handle(const grpc::ByteBuffer& received) {
  expected<access::doorman::pass> pass = admitted_ ? *std::exchange(admitted_, std::nullopt) : admit();
  if (!pass) {
    const std::lock_guard lock(mutex_);
    return end(pass.error());
  }
  auto message = take_message(received, shared_.limits.message_bytes, shared_.held);
  if (!message) {
    const std::lock_guard lock(mutex_);
    return end(message.error());
  }
  auto left = protocol::microseconds(0);
  if (due_)
    left =
        std::max(protocol::microseconds(1), std::chrono::duration_cast<protocol::microseconds>(*due_ - steady::now()));
  auto each = std::make_shared<exchange>();
  each->pass = std::move(*pass);
  {
    const std::lock_guard lock(mutex_);
    exchanges_.push_back(each);
  }
  const auto ticket = method_->handle({shared_.behind, *message, left, trace_},
                                      [self = shared_from_this(), each](expected<grpc::ByteBuffer> answer) {
                                        self->on_answer(*each, std::move(answer));
                                      });
  if (ticket == 0) return;
  bool gone = false;
  {
    const std::lock_guard lock(mutex_);
    each->ticket = ticket;
    gone = cancelled_;
  }
  if (gone) shared_.behind.cancel(ticket);
}

void call::on_answer(exchange& of, expected<grpc::ByteBuffer> answer) {
  taken_bytes held;
  if (answer && !method_->is_health()) {
    auto room = shared_.room_for_answer(answer->Length());
    if (room)
      held = std::move(*room);
    else
      answer = tl::unexpected(room.error());
  }
  {
    const std::lock_guard lock(mutex_);
    if (finished_) return;  // cancelled meanwhile
    if (answer) {
      of.answer = std::move(*answer);
      of.held = std::move(held);
    } else {
      end(answer.error());
    }
  }
  advance();
}

void call::OnWriteDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    write_expires_ = time_point::max();
    write_begun_.reset();
    exchanges_.pop_front();
    if (reading_ && exchanges_.empty()) read_expires_ = steady::now() + shared_.limits.stream_idle_time;
    if (!ok) end(grpc::Status(grpc::StatusCode::CANCELLED, "the client has gone"));
  }
  advance();
}

void call::OnCancel() {
  std::vector<protocol::request_id> tickets;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    end(grpc::Status(grpc::StatusCode::CANCELLED, "the client has gone, or its deadline is over"));
    for (const auto& each : exchanges_)
      if (!each->answer && each->ticket != 0) tickets.push_back(each->ticket);
  }
  for (const auto ticket : tickets) shared_.behind.cancel(ticket);
  advance();
}

void call::OnDone() {
  {
    const std::lock_guard lock(context_mutex_);
    done_ = true;
  }
  {
    const std::lock_guard lock(mutex_);
    write_begun_.reset();
    for (const auto& each : exchanges_) {
      each->answer.reset();
      each->held.give_back();
      each->pass.reset();
    }
    admitted_.reset();
  }
  shared_.counters.call_ended(steady::now() - begun_, cancelled_ ? grpc::StatusCode::CANCELLED : ends_->error_code());
  std::shared_ptr<call> self = shared_from_this();  // outlives its place in the set
  const std::lock_guard lock(shared_.mutex);
  shared_.calls.erase(self);
}

void call::end(grpc::Status status) {
  if (!ends_) ends_ = std::move(status);
}

void call::end(const error& failure) {
  if (ends_) return;
  ends_ = to_status(failure);
  pushback_ = failure.retry_after;
}

void call::advance() {
  std::unique_lock lock(mutex_);
  if (acting_) return;
  acting_ = true;
  for (auto next = next_step(); next != step::none; next = next_step()) {
    lock.unlock();
    take(next);
    lock.lock();
  }
  acting_ = false;
}

call::step call::next_step() {
  if (finished_) return step::none;
  if (ends_ && (!writing_ || cancelled_)) {
    finished_ = true;
    for (const auto& each : exchanges_) each->pass.reset();
    return step::finish;
  }
  if (ends_) return step::none;
  const auto transfer_ends = [&] { return steady::now() + shared_.limits.transfer_time; };
  if (!writing_ && !exchanges_.empty() && exchanges_.front()->answer) {
    writing_ = true;
    exchanges_.front()->pass.reset();  // whoever has read this answer may ask again
    outgoing_ = &*exchanges_.front()->answer;
    write_expires_ = transfer_ends();
    write_begun_ = steady::now();
    if (method_->streams) return step::write;
    ends_ = grpc::Status::OK;
    finished_ = true;
    return step::write_and_finish;
  }
  if (!reading_ && !input_ended_ && exchanges_.size() < (method_->streams ? shared_.limits.stream_window : 1)) {
    reading_ = true;
    if (!method_->streams)
      read_expires_ = transfer_ends();
    else if (exchanges_.empty())
      read_expires_ = steady::now() + shared_.limits.stream_idle_time;
    return step::read;
  }
  if (method_->streams && input_ended_ && exchanges_.empty()) {
    ends_ = grpc::Status::OK;
    finished_ = true;
    return step::finish;
  }
  return step::none;
}

void call::take(step next) {
  switch (next) {
    case step::read: return StartRead(&received_);
    case step::write: return StartWrite(outgoing_);
    case step::write_and_finish: return StartWriteAndFinish(outgoing_, grpc::WriteOptions(), *ends_);
    case step::finish:
      if (pushback_ > milliseconds(0)) context_.AddTrailingMetadata(pushback_field, std::to_string(pushback_.count()));
      return Finish(*ends_);
    case step::none: break;
  }
}

}  // namespace shoal::gateway::grpc_door
