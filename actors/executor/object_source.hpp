// Where a model's weights may come from instead of its archive: objects that the host shares, mapped read-only. What
// loads a model asks here first and falls back to the archive, so nothing here is ever an error to it.
//
// Called on the thread that loads, which may wait, but not for long. A buffer keeps its object leased until the last
// reference to it is gone.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/buffer.hpp"
#include "protocol/object_key.hpp"

namespace shoal::executor {

class object_source {
 public:
  virtual ~object_source() = default;

  struct found {
    std::optional<buffer> bytes;  ///< mapped and verified
    bool is_wanted = false;       ///< the cache does not have it and would take it: publish it
  };
  /// One answer per key, in order, within a bounded time.
  virtual std::vector<found> acquire(std::span<const protocol::object_key> keys) = 0;

  /// Offers an object to others and returns at once; it is sent in the background, `bytes` are kept until then.
  /// `layout` is empty for a plain object, whose key is that of its bytes; else how it was made of `source`.
  virtual void publish(const protocol::object_key& key, buffer bytes, const protocol::object_key& source = {},
                       std::string_view layout = {}) = 0;

  /// Waits, a bounded time, until what was published so far is kept by a cache or was refused.
  virtual void settle() = 0;
};

}  // namespace shoal::executor
