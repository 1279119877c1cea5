#include "services/host/access_settings.hpp"

#include <algorithm>
#include <array>

#include <spdlog/spdlog.h>

#include "link/curve.hpp"

namespace shoal::services {

namespace {

constexpr std::array<std::string_view, 11> addresses{
    "gateway.http",   "gateway.grpc", "gateway.listen", "gateway.metrics",  "scheduler.listen", "scheduler.metrics",
    "worker.metrics", "cache.listen", "cache.metrics",  "precision.listen", "precision.metrics"};

constexpr const char* role_place = "{role}";

}  // namespace

bool is_loopback(const std::string& address) {
  if (address.empty() || address.starts_with("ipc://") || address.starts_with("inproc://")) return true;
  auto host = address.starts_with("tcp://") ? address.substr(6) : address;
  host = host.substr(0, host.rfind(':'));
  return host == "localhost" || host == "[::1]" || host == "::1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

void access_settings::declare(config& keys) {
  keys.key("access", "key", &key,
           "this service's secret key (`shoal keys new`), {role} standing for its role: with one, all its links but "
           "inproc are encrypted, and it talks to those of access.allowed only; empty: links in the clear")
      .key("access", "allowed", &allowed,
           "the access list (`shoal keys`): keys and tokens with their roles; read again when it changes")
      .key("access", "clear", &clear,
           "addresses that may be off loopback in the clear, by the names of their keys, such as gateway.http");
}

expected<std::shared_ptr<access::access_book>> access_settings::book() const {
  if (allowed.empty()) return std::shared_ptr<access::access_book>();
  return access::access_book::open(
      allowed, [](const std::string& why) { spdlog::error("who may do what stays as it was: {}", why); });
}

expected<void> access_settings::check(const listening& where) const {
  const bool is_link = where.key.ends_with(".listen");
  const auto refuse = [&](const std::string& address, const std::string& why, const std::string& what) {
    return fail(errc::permission_denied, where.key + " = " + address + why + ": " + what +
                                             ", or name it: access.clear = [\"" + where.key + "\"]");
  };
  for (const auto& address : where.addresses) {
    // What has a list asks everybody, also those of this machine: a link in the clear would be a way around the doors.
    if (is_link && key.empty() && !allowed.empty() && address.starts_with("tcp://"))
      return refuse(address, " would let in everybody beside those of access.allowed",
                    "set access.key, or listen at ipc://");
    if (is_loopback(address) || (is_link && !key.empty())) continue;
    if (is_link)
      return refuse(address, " would be reached from other machines in the clear", "set access.key and access.allowed");
    if (where.key.ends_with(".metrics"))
      return refuse(address, " would be reached from other machines in the clear", "listen on loopback");
    if (!where.secured)
      return refuse(address, " would be reached from other machines in the clear",
                    "set gateway.certificate and gateway.certificate_key");
    if (allowed.empty())
      return refuse(address, " would be reached from other machines by everybody", "set access.allowed");
  }
  return {};
}

expected<std::shared_ptr<const access::identity>> access_settings::enter(access::role as,
                                                                         std::initializer_list<listening> where) const {
  for (const auto& name : clear)
    if (std::find(addresses.begin(), addresses.end(), name) == addresses.end())
      return fail(errc::invalid_argument,
                  "access.clear: '" + name + "' is not the key of an address, such as gateway.http or worker.metrics");
  for (const auto& each : where)
    if (std::find(clear.begin(), clear.end(), each.key) == clear.end())
      if (auto guarded = check(each); !guarded) return tl::unexpected(guarded.error());
  if (key.empty()) return std::shared_ptr<const access::identity>();
  if (allowed.empty())
    return fail(errc::invalid_argument, "access.key needs access.allowed: the list of those this service lets in");
  auto file = key;
  if (const auto at = file.find(role_place); at != std::string::npos)
    file.replace(at, std::string_view(role_place).size(), access::name_of(as));
  auto own = access::key_file::read(file);
  if (!own) return tl::unexpected(own.error());
  if (own->is_open_to_all) spdlog::warn("everybody on this machine can read the secret key in {}: chmod 600 it", file);
  if (own->role != as)
    return fail(errc::invalid_argument, "access.key: " + file + " is the key of a " + std::string(name_of(own->role)) +
                                            ", not of a " + std::string(name_of(as)));
  const auto half = link::public_half_of(own->secret_key);
  if (!half || *half != own->public_key)
    return fail(errc::invalid_argument, "access.key: the halves of the key in " + file + " do not belong together");
  auto list = book();
  if (!list) return tl::unexpected(list.error());
  return std::make_shared<const access::identity>(access::identity{std::move(*own), std::move(*list)});
}

}  // namespace shoal::services
