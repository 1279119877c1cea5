#include "http/certificate.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "http/server.hpp"

namespace shoal::http {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

namespace {

constexpr milliseconds look_every{1000};

/// Zero: it is not there.
std::int64_t changed_ns(const std::string& file) {
  struct stat there {};
  if (::stat(file.c_str(), &there) != 0) return 0;
  return std::int64_t{there.st_ctim.tv_sec} * 1'000'000'000 + there.st_ctim.tv_nsec;
}

}  // namespace

expected<std::shared_ptr<certificate>> certificate::open(const std::string& chain_file, const std::string& key_file) {
  std::shared_ptr<certificate> made(new certificate(chain_file, key_file));
  if (auto first = made->read(); !first) return tl::unexpected(first.error());
  return made;
}

expected<void> certificate::read() {
  const auto changed = std::max(changed_ns(chain_file_), changed_ns(key_file_));
  if (context_ && changed == seen_) return {};
  auto fresh = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code ec;
  const auto wrong = [&](const char* what, const std::string& file) {
    return fail(errc::invalid_argument, std::string("the ") + what + " " + file + " cannot be used: " + ec.message());
  };
  fresh->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1, ec);
  if (!ec) fresh->use_certificate_chain_file(chain_file_, ec);
  if (ec) return wrong("certificate", chain_file_);
  fresh->use_private_key_file(key_file_, ssl::context::pem, ec);
  if (ec) return wrong("certificate's key", key_file_);
  context_ = std::move(fresh);
  seen_ = changed;
  return {};
}

expected<void> check_certificate(const std::string& chain_file, const std::string& key_file) {
  auto opened = certificate::open(chain_file, key_file);
  if (!opened) return tl::unexpected(opened.error());
  return {};
}

std::shared_ptr<ssl::context> certificate::current(time_point now) {
  if (now < look_again_) return context_;
  look_again_ = now + look_every;
  const auto done = read();
  const auto complaint = done ? std::string() : done.error().message;
  if (!complaint.empty() && complaint != complaint_) spdlog::error("http: the old certificate stays: {}", complaint);
  complaint_ = complaint;
  return context_;
}

}  // namespace shoal::http
