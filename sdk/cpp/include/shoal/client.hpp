// The C++ client of a Shoal mesh. Needs C++20 and tl::expected; nothing of what the library is made of shows here.
//
// Every request ends in exactly one outcome, at the latest 250 ms after its deadline, whatever its gateway does: a
// timer of the library's own sees to that. When a gateway is lost (its connection at once, a frozen one after three
// silent heartbeats), what was in flight there goes to another one within the retry budget and the deadline: inference
// may run twice, an answer is told once.
//
// A `mesh` may be used from any number of threads. It has one thread of its own, on which callbacks run: they must be
// short and must not block. Blocking calls made there fail instead of waiting for ever. What a callback throws goes no
// further. Destroying a mesh ends what is in flight with `cancelled`, told on the thread that destroys it; nobody may
// be in a call of it then. After fork, the child must not use it.
#pragma once

#include <chrono>
#include <concepts>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "shoal/inference.hpp"
#include "shoal/mapping.hpp"
#include "shoal/models.hpp"
#include "shoal/options.hpp"
#include "shoal/text.hpp"

namespace shoal::client {

namespace detail {
class session;
}

class SHOAL_CLIENT_API mesh {
 public:
  mesh(mesh&&) noexcept;
  mesh& operator=(mesh&&) noexcept;
  ~mesh();

  /// Waits for the outcome.
  expected<result> infer(request what, const call& how = {});
  /// A future that is ready by the deadline. Waits itself only for room (options::wait_for_room).
  std::future<expected<result>> infer_async(request what, const call& how = {});
  /// `on_result` is called once, on the mesh's own thread, perhaps before this returns.
  void infer_async(request what, done on_result, const call& how = {});

  /// Texts as vectors, in order. Waits for all of them; the list goes in several requests, so that all workers have
  /// some. Errors: those of `infer`, with which texts; the first one ends it.
  expected<embeddings> embed(const std::string& model, std::span<const std::string> texts,
                             const embed_options& how = {});

  /// Results in order; see mapping.hpp. An lvalue range must outlive what is returned.
  template <requests From>
  mapping map(From&& from, const call& how = {}, std::size_t window = 64) {
    return map_source(detail::source_of(std::forward<From>(from)), how, window);
  }
  /// Results as they come.
  template <requests From>
  streaming stream(From&& from, const call& how = {}, std::size_t window = 64) {
    return stream_source(detail::source_of(std::forward<From>(from)), how, window);
  }

  /// Every model of the mesh. Errors: deadline_exceeded, unavailable.
  expected<std::vector<model>> models(std::chrono::milliseconds within = std::chrono::seconds(5));
  /// Figures of every service.
  expected<std::vector<service>> status(std::chrono::milliseconds within = std::chrono::seconds(5));
  /// Takes a model into service at every worker. `version` zero: the newest in the models' directory; `replace`: older
  /// versions are unloaded once this one serves. Errors: invalid_argument, not_found, deadline_exceeded, unavailable
  /// (also if the gateway is lost meanwhile: look at `models` before repeating it).
  expected<std::vector<worker_answer>> load(std::string name, std::uint64_t version = 0, bool replace = false,
                                            std::chrono::milliseconds within = std::chrono::seconds(60));
  /// `version` zero: all of them.
  expected<std::vector<worker_answer>> unload(std::string name, std::uint64_t version = 0,
                                              std::chrono::milliseconds within = std::chrono::seconds(60));

  /// Some gateway is reached at this moment.
  [[nodiscard]] bool connected() const;
  /// What this client has done: messages, bytes, retries, what was lost in flight.
  [[nodiscard]] std::vector<figure> figures() const;

 private:
  friend SHOAL_CLIENT_API expected<mesh> connect(std::vector<std::string>, const options&);
  explicit mesh(std::shared_ptr<detail::session> made);
  mapping map_source(source from, const call& how, std::size_t window);
  streaming stream_source(source from, const call& how, std::size_t window);

  std::shared_ptr<detail::session> session_;
};

/// Reaches for the gateways at `endpoints` (tcp://host:port, whose name is resolved again and again; ipc://path), and
/// goes on doing so. Requests go to the one that has the least of ours in flight. Errors: invalid_argument (not an
/// endpoint, an option out of range), unavailable (none answers within connect_within).
SHOAL_CLIENT_API expected<mesh> connect(std::vector<std::string> endpoints, const options& with = {});
template <std::convertible_to<std::string> Endpoint>
expected<mesh> connect(const Endpoint& endpoint, const options& with = {}) {
  return connect(std::vector<std::string>(1, endpoint), with);
}
/// "x.y.z" of the library.
SHOAL_CLIENT_API const char* version() noexcept;

}  // namespace shoal::client
