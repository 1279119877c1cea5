#include "access/access_book.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <sys/stat.h>

namespace shoal::access {

namespace {
constexpr milliseconds look_every{500};
constexpr std::uint64_t longest_file = std::uint64_t{16} << 20;
}  // namespace

expected<std::shared_ptr<access_book>> access_book::open(const std::string& file, complaint complain) {
  std::shared_ptr<access_book> made(new access_book(file, std::move(complain)));
  if (auto first = made->read(); !first) return tl::unexpected(first.error());
  made->look_again_ = steady::now() + look_every;
  return made;
}

std::shared_ptr<const access_list> access_book::current() {
  const std::lock_guard lock(mutex_);
  const auto now = steady::now();
  if (now < look_again_) return list_;
  look_again_ = now + look_every;
  const auto done = read();
  const auto wrong = done ? std::string() : done.error().message;
  if (!wrong.empty() && wrong != complained_of_ && complain_) complain_(wrong);
  complained_of_ = wrong;
  return list_;
}

expected<void> access_book::read() {
  struct stat there {};
  if (::stat(file_.c_str(), &there) != 0)
    return fail(errc::not_found, "the access list " + file_ + " cannot be read: " + std::strerror(errno));
  const stamp now{there.st_dev, there.st_ino, static_cast<std::uint64_t>(there.st_size),
                  std::int64_t{there.st_ctim.tv_sec} * 1'000'000'000 + there.st_ctim.tv_nsec};
  if (list_ && now == seen_) return {};
  if (now.size > longest_file) return fail(errc::too_large, "the access list " + file_ + " is longer than 16 MiB");
  std::ifstream in(file_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return fail(errc::not_found, "the access list " + file_ + " cannot be read");
  auto list = access_list::parse(text, file_);
  if (!list) return tl::unexpected(list.error());
  list_ = std::make_shared<const access_list>(std::move(*list));
  seen_ = now;
  return {};
}

}  // namespace shoal::access
