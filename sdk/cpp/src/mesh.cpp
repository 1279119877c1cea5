#include <utility>

#include "flow.hpp"
#include "session.hpp"
#include "shoal/client.hpp"
#include "translate.hpp"

namespace shoal::client {

namespace {

error in_a_callback() {
  return {errc::invalid_argument, "a blocking call in a callback would wait for itself: use infer_async", false, {}, 0};
}

template <class To, class From>
expected<To> answered(From&& from) {
  if (!from) return tl::unexpected(detail::to_user(from.error()));
  return detail::to_user(*from);
}

expected<std::vector<worker_answer>> manage(link::client& over, protocol::life_verb verb, std::string name,
                                            std::uint64_t version, bool replace, std::chrono::milliseconds within) {
  protocol::manage body;
  body.verb = verb;
  body.model = std::move(name);
  body.version = version;
  body.replace = replace;
  return answered<std::vector<worker_answer>>(over.manage(std::move(body), within));
}

}  // namespace

mesh::mesh(std::shared_ptr<detail::session> made) : session_(std::move(made)) {}
mesh::mesh(mesh&&) noexcept = default;
mesh& mesh::operator=(mesh&&) noexcept = default;
mesh::~mesh() = default;

expected<mesh> connect(std::vector<std::string> endpoints, const options& with) {
  auto opened = detail::session::open(endpoints, with);
  if (!opened) return tl::unexpected(std::move(opened.error()));
  return mesh(std::move(*opened));
}

expected<result> mesh::infer(request what, const call& how) {
  if (session_->client().on_own_thread()) return tl::unexpected(in_a_callback());
  return infer_async(std::move(what), how).get();
}

std::future<expected<result>> mesh::infer_async(request what, const call& how) {
  // Shared: std::function wants to be able to copy it.
  const auto promise = std::make_shared<std::promise<expected<result>>>();
  auto future = promise->get_future();
  done tell = [promise](expected<result> came) { promise->set_value(std::move(came)); };
  if (!session_->submit(what, how, tell, session_->when_full())) tell(tl::unexpected(detail::window_is_full()));
  return future;
}

void mesh::infer_async(request what, done on_result, const call& how) {
  if (session_->submit(what, how, on_result, session_->when_full())) return;
  session_->client().post([tell = std::move(on_result)] { tell(tl::unexpected(detail::window_is_full())); });
}

mapping mesh::map_source(source from, const call& how, std::size_t window) {
  return mapping(std::make_unique<detail::flow>(session_, std::move(from), how, window, true));
}

streaming mesh::stream_source(source from, const call& how, std::size_t window) {
  return streaming(std::make_unique<detail::flow>(session_, std::move(from), how, window, false));
}

expected<std::vector<model>> mesh::models(std::chrono::milliseconds within) {
  return answered<std::vector<model>>(session_->client().describe(within));
}

expected<std::vector<service>> mesh::status(std::chrono::milliseconds within) {
  return answered<std::vector<service>>(session_->client().inquire(within));
}

expected<std::vector<worker_answer>> mesh::load(std::string name, std::uint64_t version, bool replace,
                                                std::chrono::milliseconds within) {
  return manage(session_->client(), protocol::life_verb::load, std::move(name), version, replace, within);
}

expected<std::vector<worker_answer>> mesh::unload(std::string name, std::uint64_t version,
                                                  std::chrono::milliseconds within) {
  return manage(session_->client(), protocol::life_verb::unload, std::move(name), version, false, within);
}

bool mesh::connected() const { return session_->client().connected(); }

std::vector<figure> mesh::figures() const {
  std::vector<figure> all;
  for (const auto& each : session_->client().figures()) all.push_back(detail::to_user(each));
  return all;
}

const char* version() noexcept { return SHOAL_CLIENT_VERSION; }

}  // namespace shoal::client
