#include "executor/whole_file.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shoal::executor {

namespace {

tl::unexpected<error> cannot_write(const std::filesystem::path& file) {
  return fail(errc::unavailable, "cannot write " + file.string() + ": " + std::strerror(errno));
}

}  // namespace

expected<void> write_whole(const std::filesystem::path& file, std::string_view text, bool synced) {
  auto name = file.string() + ".XXXXXX";
  const int written = ::mkostemp(name.data(), O_CLOEXEC);
  if (written < 0) return cannot_write(file);
  const bool is_whole = ::write(written, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                        ::fchmod(written, 0644) == 0 && (!synced || ::fsync(written) == 0);
  const bool is_named = is_whole && ::rename(name.c_str(), file.c_str()) == 0;
  auto result = is_named ? expected<void>{} : expected<void>(cannot_write(file));
  ::close(written);
  if (!is_named) ::unlink(name.c_str());
  return result;
}

}  // namespace shoal::executor
