#include "link/bulk.hpp"

#include <algorithm>
#include <cstring>

namespace shoal::link {

void bulk_sender::skip_empty(transfer& current) {
  const auto& tensors = current.whole.tensors;
  while (current.tensor < tensors.size() && current.offset == tensors[current.tensor].size()) {
    ++current.tensor;
    current.offset = 0;
  }
}

void bulk_sender::add(std::uint64_t number, std::uint64_t bytes, encoded whole) {
  transfers_.push_back({number, bytes, std::move(whole)});
  skip_empty(transfers_.back());
}

std::optional<bulk_sender::step> bulk_sender::next() const {
  if (transfers_.empty()) return std::nullopt;
  const auto& current = transfers_.front();
  if (!current.head_written) return step{current.number, &current.whole.head, {}};
  if (under_way_ == window) return std::nullopt;
  const auto& data = current.whole.tensors[current.tensor];
  const auto size = std::min<std::uint64_t>(piece_size, data.size() - current.offset);
  return step{
      current.number,
      nullptr,
      {current.number, static_cast<std::uint16_t>(current.tensor), current.offset, data.slice(current.offset, size)}};
}

std::optional<std::uint64_t> bulk_sender::written() {
  auto& current = transfers_.front();
  if (!current.head_written) {
    current.head_written = true;
  } else {
    current.offset +=
        std::min<std::uint64_t>(piece_size, current.whole.tensors[current.tensor].size() - current.offset);
    ++under_way_;
    skip_empty(current);
  }
  if (current.tensor < current.whole.tensors.size()) return std::nullopt;
  const auto bytes = current.bytes;
  transfers_.pop_front();
  return bytes;
}

bool bulk_sender::taken() {
  if (under_way_ == 0) return false;
  --under_way_;
  return true;
}

void bulk_receiver::skip_empty(incoming& current) {
  while (current.part < current.head.parts.size() && current.offset == current.head.parts[current.part].size) {
    ++current.part;
    current.offset = 0;
  }
}

bulk_receiver::refusal bulk_receiver::begin(bulk head) {
  if (head.bytes > max_bytes_ - bytes_) return refusal::too_large;
  // Transfers without a byte would wait for ever; honest senders never make one.
  if (head.bytes == 0) return refusal::too_large;
  if (transfers_.contains(head.transfer)) return refusal::duplicate;
  incoming fresh;
  for (const auto& part : head.parts) {
    // Written to piece by piece; nobody else holds this buffer until it is full.
    std::byte* to = nullptr;
    fresh.data.push_back(buffer::make(part.size, [&](std::byte* bytes) { to = bytes; }));
    fresh.to.push_back(to);
  }
  bytes_ += head.bytes;
  const auto number = head.transfer;
  fresh.head = std::move(head);
  skip_empty(fresh);
  transfers_.emplace(number, std::move(fresh));
  return refusal::none;
}

bulk_receiver::result bulk_receiver::take(const piece& part) {
  auto found = transfers_.find(part.transfer);
  if (found == transfers_.end()) return result::unknown;
  auto& current = found->second;
  const auto size = current.head.parts[current.part].size;
  const bool fits = part.tensor == current.part && part.offset == current.offset &&
                    part.bytes.size() == std::min<std::uint64_t>(piece_size, size - current.offset);
  if (fits) {
    std::memcpy(current.to[current.part] + current.offset, part.bytes.data(), part.bytes.size());
    current.offset += part.bytes.size();
    skip_empty(current);
    if (current.part < current.head.parts.size()) return result::partial;
    attach(current.head, std::move(current.data));
  }
  bytes_ -= current.head.bytes;
  finished_ = std::move(current.head.body);
  transfers_.erase(found);
  return fits ? result::complete : result::broken;
}

protocol::message bulk_receiver::finished() { return std::move(finished_); }

}  // namespace shoal::link
