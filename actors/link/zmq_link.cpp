#include "link/zmq_link.hpp"

#include <random>
#include <thread>

#include "link/engine.hpp"

namespace shoal::link {

using namespace shoal::protocol;

namespace {

options completed(options own) {
  if (own.instance == 0) {
    std::random_device device;
    own.instance = (static_cast<std::uint64_t>(device()) << 32) | device() | 1;
  }
  if (own.epoch == 0)
    own.epoch = static_cast<std::uint64_t>(
        std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
  return own;
}

hello introduce(const options& own) {
  hello self;
  self.service = own.service;
  self.instance = own.instance;
  self.epoch = own.epoch;
  self.capabilities = own.capabilities;
  self.credit_messages = own.credit_messages;
  self.credit_bytes = own.credit_bytes;
  self.max_message_bytes = own.max_message_bytes;
  return self;
}

void append(std::vector<figure>& to, const traffic& from, const std::string& labels) {
  const auto add = [&](const char* name, const counter& value) {
    to.push_back({"link_" + std::string(name) + labels, static_cast<double>(value.load(std::memory_order_relaxed))});
  };
  add("messages_in", from.messages_in);
  add("bytes_in", from.bytes_in);
  add("messages_out", from.messages_out);
  add("bytes_out", from.bytes_out);
}

}  // namespace

struct zmq_link::parts {
  explicit parts(options with)
      : own(completed(std::move(with))),
        out(own, own.epoch, counts, wait),
        work(own, introduce(own), counts, out, wait) {}

  options own;
  counters counts;
  poller wait;
  outbox out;
  engine work;
  std::vector<std::string> endpoints;
  std::thread thread;
};

zmq_link::zmq_link(options own) : parts_(std::make_unique<parts>(std::move(own))) {}
zmq_link::~zmq_link() { stop(); }

expected<void> zmq_link::bind() {
  auto bound = parts_->work.bind();
  parts_->endpoints = parts_->work.endpoints();
  return bound;
}

const std::vector<std::string>& zmq_link::endpoints() const noexcept { return parts_->endpoints; }

void zmq_link::start(event_sink sink, std::function<bool()> after_poll) {
  parts_->thread = std::thread([parts = parts_.get(), sink = std::move(sink), after_poll = std::move(after_poll)] {
    parts->work.run(sink, after_poll);
  });
}

expected<void> zmq_link::connect(service_kind kind, const std::string& endpoint) {
  if (auto parsed = parse_endpoint(endpoint); !parsed) return tl::unexpected(parsed.error());
  parts_->out.post([work = &parts_->work, kind, endpoint] { work->connect(kind, endpoint); });
  return {};
}

expected<void> zmq_link::send(peer_id to, message body) { return parts_->out.send(to, body); }
void zmq_link::settle(peer_id peer, request_id id) { parts_->out.settle(peer, id); }
void zmq_link::wake() { parts_->out.wake(); }
void zmq_link::wake_at(time_point when) { parts_->out.wake_at(when); }

void zmq_link::stop() {
  if (!parts_->thread.joinable()) return;
  parts_->out.post([work = &parts_->work] { work->stop(); });
  parts_->thread.join();
}

instance_id zmq_link::instance() const noexcept { return parts_->own.instance; }
std::uint64_t zmq_link::epoch() const noexcept { return parts_->own.epoch; }

std::vector<figure> zmq_link::figures() const {
  const auto& counts = parts_->counts;
  std::vector<figure> all;
  append(all, counts.all, "");
  for (std::size_t i = 0; i < drop_names.size(); ++i)
    all.push_back(
        {"link_dropped{reason=\"" + std::string(drop_names[i]) + "\"}", static_cast<double>(counts.drops[i])});
  const auto put = [&](const char* name, std::uint64_t value) {
    all.push_back({std::string("link_") + name, static_cast<double>(value)});
  };
  put("copies", counts.copies);
  put("peers_up", counts.peers_up);
  put("peers_down", counts.peers_down);
  put("dials", counts.dials);
  put("refused_in", counts.refused_in);
  put("keys_refused", counts.keys_refused);
  put("refused_out", counts.refused_out);
  put("rejected_sends", counts.rejected_sends);
  put("waits", counts.waits);
  const auto standing = parts_->out.standing();
  put("peers", standing.size());
  for (const auto& peer : standing) {
    const auto labels = "{peer=\"" + peer.from->name + "\"}";
    append(all, peer.from->flow, labels);
    all.push_back({"link_credit_messages" + labels, static_cast<double>(peer.credit_messages)});
    all.push_back({"link_credit_bytes" + labels, static_cast<double>(peer.credit_bytes)});
    all.push_back({"link_queued" + labels, static_cast<double>(peer.queued)});
  }
  return all;
}

}  // namespace shoal::link
