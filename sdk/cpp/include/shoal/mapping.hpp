// Many requests, a bounded number of them in flight: `map` gives results in the order of the requests, `stream` as they
// come, each with its index. Both are pulled: requests are drawn from their source, on the caller's thread, only when
// there is room for them, and no more than `window` are in flight or not yet taken. Each request has its own deadline
// and its own result or error; an error ends nothing but its request.
//
// A stop token ends the whole: nothing more is drawn, what is in flight ends with `cancelled`. So does destroying the
// object, and nothing of it is told then. A source that throws ends with one `internal` error. For one thread at a
// time; not in callbacks.
#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <utility>

#include "shoal/inference.hpp"

namespace shoal::client {

/// A function that gives requests until it gives none, or a range of requests.
template <class T>
concept requests = std::is_invocable_r_v<std::optional<request>, T&> ||
                   (std::ranges::input_range<T> && std::convertible_to<std::ranges::range_reference_t<T>, request>);

namespace detail {

template <requests From>
source source_of(From&& from) {
  if constexpr (std::is_invocable_r_v<std::optional<request>, From&>) {
    // Shared, so that what can only be moved may be a source too.
    auto held = std::make_shared<std::decay_t<From>>(std::forward<From>(from));
    return [held]() -> std::optional<request> { return (*held)(); };
  } else {
    struct state {
      std::views::all_t<From> all;
      std::optional<std::ranges::iterator_t<std::views::all_t<From>>> at;
    };
    auto held = std::make_shared<state>(state{std::views::all(std::forward<From>(from)), {}});
    return [held]() -> std::optional<request> {
      if (held->at)
        ++*held->at;
      else
        held->at.emplace(std::ranges::begin(held->all));
      if (*held->at == std::ranges::end(held->all)) return std::nullopt;
      return request(**held->at);
    };
  }
}

class flow;

/// `for (auto& each : pulled)`, over anything with `next()`.
template <class Pulled, class Value>
class pull_iterator {
 public:
  using value_type = Value;
  using difference_type = std::ptrdiff_t;

  pull_iterator() = default;
  explicit pull_iterator(Pulled& from) : from_(&from), now_(from.next()) {}

  Value& operator*() const { return *now_; }
  pull_iterator& operator++() {
    now_ = from_->next();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const { return !now_; }

 private:
  Pulled* from_ = nullptr;
  mutable std::optional<Value> now_;
};

}  // namespace detail

class SHOAL_CLIENT_API mapping {
 public:
  using value = expected<result>;

  explicit mapping(std::unique_ptr<detail::flow> made);
  mapping(mapping&&) noexcept;
  mapping& operator=(mapping&&) noexcept;
  ~mapping();

  /// The outcome of the next request in order; nothing: there are no more.
  std::optional<value> next();

  auto begin() { return detail::pull_iterator<mapping, value>(*this); }
  static std::default_sentinel_t end() { return {}; }

 private:
  std::unique_ptr<detail::flow> flow_;
};

struct indexed {
  std::size_t index = 0;  ///< of the request in its source
  expected<client::result> result;
};

class SHOAL_CLIENT_API streaming {
 public:
  explicit streaming(std::unique_ptr<detail::flow> made);
  streaming(streaming&&) noexcept;
  streaming& operator=(streaming&&) noexcept;
  ~streaming();

  /// The outcome that came first of those not yet taken; nothing: there are no more.
  std::optional<indexed> next();

  auto begin() { return detail::pull_iterator<streaming, indexed>(*this); }
  static std::default_sentinel_t end() { return {}; }

 private:
  std::unique_ptr<detail::flow> flow_;
};

}  // namespace shoal::client
