#include "link/poller.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <system_error>

namespace shoal::link {

namespace {
constexpr std::uint64_t wake_token = std::numeric_limits<std::uint64_t>::max();

[[noreturn]] void give_up(const char* what) { throw std::system_error(errno, std::generic_category(), what); }
}  // namespace

poller::poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || event_ < 0) give_up("cannot make the link's poll descriptors");
  add(event_, wake_token);
}

poller::~poller() {
  close(event_);
  close(epoll_);
}

void poller::add(int descriptor, std::uint64_t token) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = token;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) give_up("cannot poll a socket");
}

void poller::remove(int descriptor) { epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr); }

const std::vector<std::uint64_t>& poller::wait(std::optional<time_point> until) {
  ready_.clear();
  int timeout = 0;
  if (until) {
    // Rounded up: a wait that ends a moment early would end in another one.
    const auto left = std::chrono::ceil<milliseconds>(*until - steady::now()).count();
    timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }
  std::array<epoll_event, 64> events;
  const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
  for (int i = 0; i < n; ++i) {
    if (events[i].data.u64 != wake_token) {
      ready_.push_back(events[i].data.u64);
      continue;
    }
    std::uint64_t count = 0;
    // It may fail only if nothing is there to be read, which is as well.
    [[maybe_unused]] const auto size = read(event_, &count, sizeof count);
  }
  return ready_;
}

void poller::wake() noexcept {
  const std::uint64_t one = 1;
  // It may fail only if the counter is full, and then the poll thread is being woken already.
  [[maybe_unused]] const auto size = write(event_, &one, sizeof one);
}

}  // namespace shoal::link
