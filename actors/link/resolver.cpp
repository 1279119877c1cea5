#include "link/resolver.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>

namespace shoal::link {

namespace {

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) return false;
  const auto number = std::stoul(std::string(text));
  return number > 0 && number <= 65535;
}

bool is_address(const std::string& host) {
  in_addr v4{};
  return host.front() == '[' || inet_pton(AF_INET, host.c_str(), &v4) == 1;
}

expected<std::optional<name_and_port>> parse_pattern(const std::string& endpoint) {
  const auto star = endpoint.find('*');
  if (star == std::string::npos) return std::nullopt;
  const auto slash = endpoint.rfind('/');
  if (star + 1 != endpoint.size() || slash <= 6)
    return fail(errc::invalid_argument,
                "'" + endpoint + "' is not a pattern: write ipc://FOLDER/NAME*, with '*' only at the end");
  return name_and_port{endpoint.substr(slash + 1, star - slash - 1), "", endpoint.substr(6, slash - 6)};
}

std::vector<std::string> sockets_in(const std::string& folder, const std::string& beginning) {
  std::vector<std::string> endpoints;
  std::error_code problem;
  for (auto entry = std::filesystem::directory_iterator(folder, problem); !problem && entry != end(entry);
       entry.increment(problem)) {
    if (!entry->path().filename().string().starts_with(beginning)) continue;
    if (std::error_code gone; entry->is_socket(gone)) endpoints.push_back("ipc://" + entry->path().string());
  }
  std::sort(endpoints.begin(), endpoints.end());
  return endpoints;
}

}  // namespace

expected<std::optional<name_and_port>> parse_endpoint(const std::string& endpoint) {
  const auto starts = [&](std::string_view scheme) {
    return endpoint.starts_with(scheme) && endpoint.size() > scheme.size();
  };
  if (starts("inproc://")) return std::nullopt;
  if (starts("ipc://")) return parse_pattern(endpoint);
  const auto colon = endpoint.rfind(':');
  if (!starts("tcp://") || colon <= 6 || !is_port(std::string_view(endpoint).substr(colon + 1)))
    return fail(errc::invalid_argument,
                "'" + endpoint + "' is not an endpoint: write inproc://name, ipc://path or tcp://host:port");
  name_and_port parts{endpoint.substr(6, colon - 6), endpoint.substr(colon + 1)};
  if (is_address(parts.name)) return std::nullopt;
  return parts;
}

resolver::~resolver() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void resolver::watch(name_and_port target, answer tell) {
  {
    std::lock_guard lock(mutex_);
    fresh_.push_back({std::move(target), std::move(tell), {}});
  }
  changed_.notify_one();
}

void resolver::run() {
  std::vector<watched> all;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::move(fresh_.begin(), fresh_.end(), std::back_inserter(all));
    fresh_.clear();
    lock.unlock();
    const auto now = steady::now();
    auto next = now + interval_;
    for (auto& one : all) {
      if (now < one.due) {
        next = std::min(next, one.due);
        continue;
      }
      one.due = now + (one.target.folder.empty() ? interval_ : std::min(interval_, folder_interval));
      next = std::min(next, one.due);
      auto found = look_up(one.target);
      if (found.empty() || found == one.last) continue;
      one.tell(found);
      one.last = std::move(found);
    }
    lock.lock();
    changed_.wait_until(lock, next, [this] { return stopping_ || !fresh_.empty(); });
  }
}

std::vector<std::string> resolver::look_up(const name_and_port& target) {
  if (!target.folder.empty()) return sockets_in(target.folder, target.name);
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(target.name.c_str(), target.port.c_str(), &wanted, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<std::string> endpoints;
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> host{};
    if (getnameinfo(entry->ai_addr, entry->ai_addrlen, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    const std::string address = host.data();
    endpoints.push_back("tcp://" + (entry->ai_family == AF_INET6 ? "[" + address + "]" : address) + ":" + target.port);
  }
  std::sort(endpoints.begin(), endpoints.end());
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end()), endpoints.end());
  return endpoints;
}

}  // namespace shoal::link
