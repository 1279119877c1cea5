#include "core/compression.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <vector>

#include <zlib.h>

#include "core/bounded_bytes.hpp"

namespace shoal {

namespace {

constexpr int window_bits = 15;
constexpr int level = Z_BEST_SPEED;
constexpr int default_memory = 8;
constexpr std::size_t sample_size = std::size_t{64} << 10;

/// What zlib wants to hear: 16 more than the window means gzip.
int window_of(coding format) { return format == coding::gzip ? window_bits + 16 : window_bits; }

/// zlib counts in 32 bits.
uInt piece(std::size_t bytes) {
  return static_cast<uInt>(std::min<std::size_t>(bytes, std::numeric_limits<uInt>::max()));
}

/// zlib takes what it reads for writable, and does not write to it.
Bytef* to_zlib(const std::byte* bytes) { return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes)); }

class inflater {
 public:
  explicit inflater(coding format) {
    if (inflateInit2(&stream_, window_of(format)) != Z_OK) throw std::bad_alloc();
  }
  ~inflater() { inflateEnd(&stream_); }
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;

  /// Reads from and writes to the fronts of the spans, which it moves on. Z_OK, Z_STREAM_END, or an error.
  int run(std::span<const std::byte>& from, std::span<std::byte>& to) {
    stream_.next_in = to_zlib(from.data());
    stream_.avail_in = piece(from.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = piece(to.size());
    const auto in = stream_.avail_in, out = stream_.avail_out;
    const int result = ::inflate(&stream_, Z_NO_FLUSH);
    from = from.subspan(in - stream_.avail_in);
    to = to.subspan(out - stream_.avail_out);
    return result;
  }

 private:
  z_stream stream_{};
};

class deflater {
 public:
  explicit deflater(coding format) {
    if (deflateInit2(&stream_, level, Z_DEFLATED, window_of(format), default_memory, Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  ~deflater() { deflateEnd(&stream_); }
  deflater(const deflater&) = delete;
  deflater& operator=(const deflater&) = delete;

  std::size_t bound(std::size_t bytes) { return deflateBound(&stream_, bytes); }

  /// `to` has room for all that can come.
  std::size_t run(std::span<const std::byte> from, std::span<std::byte> to, bool last) {
    std::size_t written = 0;
    stream_.next_in = to_zlib(from.data());
    auto left = from.size();
    do {
      stream_.avail_in = piece(left);
      left -= stream_.avail_in;
      stream_.next_out = reinterpret_cast<Bytef*>(to.data() + written);
      stream_.avail_out = piece(to.size() - written);
      const auto room = stream_.avail_out;
      ::deflate(&stream_, last && left == 0 ? Z_FINISH : Z_NO_FLUSH);
      left += stream_.avail_in;
      written += room - stream_.avail_out;
    } while (left != 0);
    return written;
  }

 private:
  z_stream stream_{};
};

}  // namespace

std::string_view name_of(coding format) noexcept { return format == coding::gzip ? "gzip" : "deflate"; }

expected<buffer> inflate(coding format, std::span<const std::byte> compressed, std::size_t most,
                         const std::shared_ptr<byte_budget>& budget) {
  const auto damaged = [&](const char* how) {
    return fail(errc::invalid_argument, "the bytes are no " + std::string(name_of(format)) + ": they are " + how);
  };
  inflater stream(format);
  bounded_bytes bytes(budget, most, std::nullopt);
  auto from = compressed;
  for (;;) {
    auto room = bytes.room();
    std::byte beyond;
    const bool full = room.empty();
    if (full && bytes.exhausted())
      return fail(errc::overloaded, "other requests take all the memory there is for them: try again later");
    auto to = full ? std::span(&beyond, 1) : room;  // the end may still be to read
    const auto offered = to.size();
    const auto before = from.size();
    const int result = stream.run(from, to);
    const auto written = offered - to.size();
    if (full && written != 0)
      return fail(errc::too_large, "the bytes are more than the limit of " + std::to_string(most) + " once inflated");
    bytes.commit(written);
    if (result == Z_STREAM_END) break;
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    if (result != Z_OK && result != Z_BUF_ERROR) return damaged("damaged");
    if (written == 0 && from.size() == before) return damaged("cut off");  // nothing is left to go on with
  }
  if (!from.empty()) return damaged("followed by something else");
  return bytes.take();
}

buffer deflate(coding format, std::span<const buffer> parts) {
  std::size_t size = 0;
  for (const auto& part : parts) size += part.size();
  deflater stream(format);
  const auto room = stream.bound(size);
  std::size_t written = 0;
  const auto whole = buffer::make(room, [&](std::byte* to) {
    for (std::size_t i = 0; i < parts.size(); ++i)
      written += stream.run(parts[i].bytes(), {to + written, room - written}, i + 1 == parts.size());
  });
  // What is smaller by much does not keep the room for what it was made of.
  const auto used = whole.slice(0, written);
  return written < room / 2 ? buffer::copy(used.bytes()) : used;
}

std::optional<buffer> deflate_if_it_pays(coding format, std::span<const buffer> parts) {
  std::vector<buffer> sample;
  std::size_t size = 0, whole = 0;
  for (const auto& part : parts) {
    const auto some = std::min(part.size(), sample_size - size);
    sample.push_back(part.slice(0, some));
    size += some;
    whole += part.size();
  }
  if (size == 0) return std::nullopt;
  auto packed = deflate(format, sample);
  if (packed.size() * 10 > size * 9) return std::nullopt;
  if (size == whole) return packed;
  return deflate(format, parts);
}

}  // namespace shoal
