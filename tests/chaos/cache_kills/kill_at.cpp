// Preloaded into the cache: kills it (SIGKILL, from within) at an armed point, which is a call that changes what lies
// on the disk or in the memory tier. No line of the cache knows of it.
//
//   SHOAL_KILL_ROOT   folder that holds both tiers; calls elsewhere are none of its business
//   SHOAL_KILL_TALLY  file that is told every such call as it begins, a line "CALL KIND" each
//   SHOAL_KILL_POINT  "CALL KIND WHEN NTH CUT": the process dies at the NTH such call; WHEN is before, half (of the
//   bytes are
//                     written) or after; CUT 1: what no sync has acknowledged goes with it, as in a power cut
//   SHOAL_KILL_LIES   if set, a sync does nothing and says that it has: a control, since then something must be lost
//
// A cut takes back what was appended to a file since its last sync: all that the cache and RocksDB write is appended.
// What was done to names (a file made, renamed, removed) stays, as file systems with a journal keep it in order.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

template <class Call>
Call* next(const char* name) {
  return reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, name));
}

struct point {
  std::string call, kind, when;
  unsigned nth = 0;
  bool cuts = false;
};

struct settings {
  std::string root;
  int tally = -1;
  bool lies = false;
  point armed;
};

const settings& own() {
  static const settings made = [] {
    settings read;
    if (const char* root = std::getenv("SHOAL_KILL_ROOT")) read.root = root;
    read.lies = std::getenv("SHOAL_KILL_LIES") != nullptr;
    if (const char* tally = std::getenv("SHOAL_KILL_TALLY"))
      read.tally = next<int(const char*, int, ...)>("open")(tally, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (const char* text = std::getenv("SHOAL_KILL_POINT"))
      std::istringstream(text) >> read.armed.call >> read.armed.kind >> read.armed.when >> read.armed.nth >>
          read.armed.cuts;
    return read;
  }();
  return made;
}

std::string path_of(int file) {
  char link[32], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const auto size = ::readlink(link, path, sizeof path);
  return size <= 0 ? "" : std::string(path, static_cast<std::size_t>(size));
}

/// What a file is to the cache; empty: not of our business.
std::string_view kind_of(std::string_view path) {
  const auto& root = own().root;
  if (root.empty() || !path.starts_with(root)) return {};
  const auto has = [&](std::string_view part) { return path.find(part) != path.npos; };
  if (has("/extents")) return "extent";
  if (has("/index")) {
    if (path.ends_with(".log")) return "log";
    if (path.ends_with(".sst")) return "table";
    if (path.ends_with(".blob")) return "blob";
    if (has("MANIFEST")) return "manifest";
    if (has("CURRENT") || path.ends_with(".dbtmp")) return "current";
    if (has("OPTIONS")) return "options";
    if (path.ends_with("/LOG") || has("/LOG.")) return {};
    return "index";
  }
  if (has("/.members")) return {};
  return "memory";
}

std::mutex sizes_lock;
std::map<std::string, off_t>& unsynced() {  // appended to since the last sync: the size that is safe
  static auto& made = *new std::map<std::string, off_t>;
  return made;
}

void will_append(const std::string& path, int file) {
  struct stat now {};
  if (::fstat(file, &now) != 0) return;
  const std::lock_guard held(sizes_lock);
  unsynced().try_emplace(path, now.st_size);
}

void is_synced(const std::string& path) {
  const std::lock_guard held(sizes_lock);
  unsynced().erase(path);
}

[[noreturn]] void die() {
  if (own().armed.cuts) {
    // Held for good: no thread writes or syncs meanwhile what we take back.
    sizes_lock.lock();
    for (const auto& [path, size] : unsynced()) static_cast<void>(::truncate(path.c_str(), size));
  }
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// It does not outlive who started it.
[[gnu::constructor]] void end_with_parent() { ::prctl(PR_SET_PDEATHSIG, SIGKILL); }

/// One call under way: counts it, and dies before or after it if that is what was armed.
class passing {
 public:
  passing(std::string_view call, std::string_view path) : kind_(kind_of(path)) {
    if (kind_.empty()) return;
    const auto& [root, tally, lies, armed] = own();
    if (tally >= 0) {
      const auto line = std::string(call) + ' ' + std::string(kind_) + '\n';
      static const auto write = next<ssize_t(int, const void*, size_t)>("write");
      static_cast<void>(write(tally, line.data(), line.size()));
    }
    is_armed_ = armed.nth > 0 && call == armed.call && kind_ == armed.kind && ++count == armed.nth;
    if (is_armed_ && armed.when == "before") die();
  }
  ~passing() {
    if (is_armed_) die();
  }
  passing(const passing&) = delete;
  passing& operator=(const passing&) = delete;

  [[nodiscard]] bool matters() const { return !kind_.empty(); }
  /// Of `size` bytes: how many are to be written.
  [[nodiscard]] std::size_t part_of(std::size_t size) const {
    return is_armed_ && own().armed.when == "half" ? size / 2 : size;
  }

 private:
  static inline std::atomic<unsigned> count = 0;
  std::string_view kind_;
  bool is_armed_ = false;
};

int sync(int (*real)(int), int file) {
  const auto path = path_of(file);
  const passing call("sync", path);
  if (own().lies && call.matters()) return 0;
  const int result = real(file);
  if (result == 0) is_synced(path);
  return result;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  static const auto real = next<int(const char*, int, ...)>("open");
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (!(flags & O_CREAT)) return real(path, flags);
  const passing call("create", path);
  return real(path, flags, mode);
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));

ssize_t write(int file, const void* bytes, size_t size) {
  static const auto real = next<ssize_t(int, const void*, size_t)>("write");
  const auto path = path_of(file);
  const passing call("write", path);
  if (call.matters()) will_append(path, file);
  return real(file, bytes, call.part_of(size));
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t at) {
  static const auto real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  const auto path = path_of(file);
  const passing call("write", path);
  if (call.matters()) will_append(path, file);
  return real(file, bytes, call.part_of(size), at);
}
ssize_t pwrite64(int file, const void* bytes, size_t size, off_t at) __attribute__((alias("pwrite")));

int fdatasync(int file) {
  static const auto real = next<int(int)>("fdatasync");
  return sync(real, file);
}

int fsync(int file) {
  static const auto real = next<int(int)>("fsync");
  return sync(real, file);
}

int rename(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("rename");
  const passing call("rename", to);
  return real(from, to);
}

int unlink(const char* path) {
  static const auto real = next<int(const char*)>("unlink");
  const passing call("remove", path);
  return real(path);
}

int remove(const char* path) {
  static const auto real = next<int(const char*)>("remove");
  const passing call("remove", path);
  return real(path);
}

int ftruncate(int file, off_t size) {
  static const auto real = next<int(int, off_t)>("ftruncate");
  const passing call("truncate", path_of(file));
  return real(file, size);
}
int ftruncate64(int file, off_t size) __attribute__((alias("ftruncate")));

int fallocate(int file, int mode, off_t at, off_t size) {
  static const auto real = next<int(int, int, off_t, off_t)>("fallocate");
  const passing call("allocate", path_of(file));
  return real(file, mode, at, size);
}
int fallocate64(int file, int mode, off_t at, off_t size) __attribute__((alias("fallocate")));

int mkdir(const char* path, mode_t mode) {
  static const auto real = next<int(const char*, mode_t)>("mkdir");
  const passing call("mkdir", path);
  return real(path, mode);
}

}  // extern "C"
