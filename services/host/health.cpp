#include "services/host/health.hpp"

#include <optional>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace shoal::services {

namespace asio = boost::asio;
namespace beast = boost::beast;

expected<void> ask_readiness(const std::string& address, milliseconds within) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size())
    return fail(errc::invalid_argument, "'" + address + "' is not HOST:PORT, the address of a service's metrics");
  const auto host = address.substr(0, colon);
  asio::io_context loop;
  beast::tcp_stream stream(loop);
  stream.expires_after(within);
  beast::error_code problem;
  std::optional<unsigned> status;
  beast::http::request<beast::http::empty_body> asked(beast::http::verb::get, "/health/ready", 11);
  asked.set(beast::http::field::host, host);
  beast::flat_buffer read;
  beast::http::response<beast::http::string_body> answer;
  asio::ip::tcp::resolver resolver(loop);
  const auto targets = resolver.resolve(host, address.substr(colon + 1), problem);
  if (problem) return fail(errc::unavailable, address + " is not known: " + problem.message());
  stream.async_connect(targets, [&](beast::error_code failed, const auto&) {
    if ((problem = failed)) return;
    beast::http::async_write(stream, asked, [&](beast::error_code unsent, std::size_t) {
      if ((problem = unsent)) return;
      beast::http::async_read(stream, read, answer, [&](beast::error_code unread, std::size_t) {
        if (!(problem = unread)) status = answer.result_int();
      });
    });
  });
  loop.run();
  if (!status) return fail(errc::unavailable, address + " does not answer: " + problem.message());
  if (*status != 200) return fail(errc::unavailable, address + " is not ready: " + answer.body());
  return {};
}

}  // namespace shoal::services
