#include "executor/archive.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "executor/crc32.hpp"

namespace shoal::executor {

namespace {

// Signatures and fixed sizes of zip's structures.
constexpr std::uint32_t local_signature = 0x04034b50;
constexpr std::uint32_t central_signature = 0x02014b50;
constexpr std::uint32_t end_signature = 0x06054b50;
constexpr std::uint32_t end64_signature = 0x06064b50;
constexpr std::uint32_t locator64_signature = 0x07064b50;
constexpr std::uint64_t local_size = 30;
constexpr std::uint64_t central_size = 46;
constexpr std::uint64_t end_size = 22;
constexpr std::uint64_t end64_size = 56;
constexpr std::uint64_t locator64_size = 20;
constexpr std::uint64_t longest_comment = 0xFFFF;
constexpr std::size_t longest_name = 512;

template <class Number>
std::optional<Number> number_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(Number)) return std::nullopt;
  Number value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

tl::unexpected<error> corrupt(std::string what) {
  return fail(errc::corrupt, "the archive is truncated or corrupt: " + std::move(what) + "; export the model again");
}

/// Printable, relative, without empty, "." or ".." components: a name that could be a path inside a folder.
bool is_plain_path(std::string_view name) {
  if (name.empty() || name.size() > longest_name) return false;
  if (std::any_of(name.begin(), name.end(), [](char c) { return c < 0x20 || c == 0x7F || c == '\\' || c == ':'; }))
    return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const auto end = std::min(name.find('/', begin), name.size());
    const auto part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

/// Replaces the fields that a central entry keeps in its zip64 extra field (APPNOTE §4.5.3), in their fixed order.
bool widen(std::span<const std::byte> extra, const std::vector<std::uint64_t*>& saturated) {
  for (std::uint64_t at = 0; at + 4 <= extra.size();) {
    const auto tag = *number_at<std::uint16_t>(extra, at);
    const auto size = *number_at<std::uint16_t>(extra, at + 2);
    at += 4;
    if (size > extra.size() - at) return false;
    if (tag == 1) {
      const auto field = extra.subspan(at, size);
      std::uint64_t next = 0;
      for (auto* value : saturated) {
        const auto wide = number_at<std::uint64_t>(field, next);
        if (!wide) return false;
        *value = *wide;
        next += 8;
      }
      return true;
    }
    at += size;
  }
  return saturated.empty();
}

}  // namespace

expected<std::shared_ptr<const archive>> archive::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO of that name must not hang the worker.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return fail(errc::not_found, "cannot open the model archive " + path.string() + ": " + std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = regular ? static_cast<std::size_t>(status.st_size) : 0;
  void* mapped = size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  const int mapping_error = errno;
  ::close(file);
  if (!regular) return fail(errc::not_found, "the model archive " + path.string() + " is not a regular file");
  if (size == 0) return corrupt(path.string() + " is empty");
  if (mapped == MAP_FAILED)
    return fail(errc::internal, "cannot map the model archive " + path.string() + ": " + std::strerror(mapping_error));

  std::shared_ptr<archive> opened(new archive({static_cast<const std::byte*>(mapped), size}));
  if (auto read = opened->read_directory(); !read) return tl::unexpected(read.error());
  return opened;
}

archive::~archive() { ::munmap(const_cast<std::byte*>(file_.data()), file_.size()); }

expected<void> archive::read_directory() {
  if (file_.size() < end_size) return corrupt("it has no central directory");
  std::optional<std::uint64_t> end;
  const auto first = file_.size() - std::min<std::uint64_t>(file_.size(), end_size + longest_comment);
  for (auto at = file_.size() - end_size + 1; at-- > first && !end;) {
    const auto comment = *number_at<std::uint16_t>(file_, at + 20);
    if (*number_at<std::uint32_t>(file_, at) == end_signature && at + end_size + comment == file_.size()) end = at;
  }
  if (!end) return corrupt("it has no central directory");

  std::uint64_t count = *number_at<std::uint16_t>(file_, *end + 10);
  std::uint64_t size = *number_at<std::uint32_t>(file_, *end + 12);
  std::uint64_t begin = *number_at<std::uint32_t>(file_, *end + 16);
  auto limit = *end;
  if (limit >= locator64_size && number_at<std::uint32_t>(file_, limit - locator64_size) == locator64_signature) {
    const auto wide = *number_at<std::uint64_t>(file_, limit - locator64_size + 8);
    limit -= locator64_size;
    if (wide > limit || limit - wide < end64_size || number_at<std::uint32_t>(file_, wide) != end64_signature)
      return corrupt("its zip64 end record is not where it says");
    count = *number_at<std::uint64_t>(file_, wide + 32);
    size = *number_at<std::uint64_t>(file_, wide + 40);
    begin = *number_at<std::uint64_t>(file_, wide + 48);
    limit = wide;
  }
  if (begin > limit || size > limit - begin || count > size / central_size)
    return corrupt("its central directory does not lie within the file");
  if (auto read = read_entries(begin, size, count); !read) return read;
  return check_overlaps();
}

expected<void> archive::read_entries(std::uint64_t begin, std::uint64_t size, std::uint64_t count) {
  const auto directory = file_.subspan(begin, size);
  std::string root;
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto where = "entry " + std::to_string(i) + " of the central directory";
    if (size - at < central_size || number_at<std::uint32_t>(directory, at) != central_signature)
      return corrupt(where + " is damaged");
    const auto flags = *number_at<std::uint16_t>(directory, at + 8);
    const auto method = *number_at<std::uint16_t>(directory, at + 10);
    const std::uint64_t name_size = *number_at<std::uint16_t>(directory, at + 28);
    const std::uint64_t extra_size = *number_at<std::uint16_t>(directory, at + 30);
    const std::uint64_t comment_size = *number_at<std::uint16_t>(directory, at + 32);
    if (size - at - central_size < name_size + extra_size + comment_size) return corrupt(where + " is cut off");
    const auto name = text_of(directory.subspan(at + central_size, name_size));
    if (!is_plain_path(name)) return corrupt(where + " has a name that is not a plain relative path");

    entry found;
    found.crc = *number_at<std::uint32_t>(directory, at + 16);
    std::uint64_t stored = *number_at<std::uint32_t>(directory, at + 20);
    found.size = *number_at<std::uint32_t>(directory, at + 24);
    found.header = *number_at<std::uint32_t>(directory, at + 42);
    constexpr std::uint64_t saturated = 0xFFFFFFFF;
    std::vector<std::uint64_t*> wide;
    for (auto* field : {&found.size, &stored, &found.header})
      if (*field == saturated) wide.push_back(field);
    const auto extra = directory.subspan(at + central_size + name_size, extra_size);
    if (!widen(extra, wide)) return corrupt(where + " has a damaged zip64 field");
    if ((flags & 1) != 0 || method != 0 || stored != found.size)
      return corrupt("the record " + std::string(name) + " is compressed or encrypted, which PyTorch never writes");
    if (auto located = locate(found, name, begin); !located) return located;

    const auto slash = name.find('/');
    if (slash == std::string_view::npos) return corrupt("the record " + std::string(name) + " has no root folder");
    if (i == 0) root = name.substr(0, slash + 1);
    if (!name.starts_with(root)) return corrupt("its records do not share one root folder");
    if (!entries_.emplace(name.substr(root.size()), found).second)
      return corrupt("the record " + std::string(name) + " is there twice");
    at += central_size + name_size + extra_size + comment_size;
  }
  return {};
}

expected<void> archive::locate(entry& found, std::string_view name, std::uint64_t directory) const {
  const auto wrong = [&](const char* what) { return corrupt("the record " + std::string(name) + " " + what); };
  if (found.header > directory || directory - found.header < local_size) return wrong("begins outside of the file");
  if (number_at<std::uint32_t>(file_, found.header) != local_signature) return wrong("has a damaged header");
  const std::uint64_t name_size = *number_at<std::uint16_t>(file_, found.header + 26);
  const std::uint64_t extra_size = *number_at<std::uint16_t>(file_, found.header + 28);
  if (*number_at<std::uint16_t>(file_, found.header + 8) != 0) return wrong("has a damaged header");
  const auto room = directory - found.header - local_size;
  if (name_size + extra_size > room || found.size > room - name_size - extra_size)
    return wrong("reaches beyond the records' part of the file");
  if (text_of(file_.subspan(found.header + local_size, name_size)) != name)
    return wrong("is named otherwise in its header");
  found.offset = found.header + local_size + name_size + extra_size;
  return {};
}

expected<void> archive::check_overlaps() const {
  std::vector<const entry*> order;
  order.reserve(entries_.size());
  for (const auto& [name, found] : entries_) order.push_back(&found);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->header < b->header; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i]->header < order[i - 1]->offset + order[i - 1]->size) return corrupt("two of its records overlap");
  return {};
}

bool archive::contains(std::string_view name) const { return entries_.contains(name); }

expected<std::span<const std::byte>> archive::record(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return corrupt("it has no record " + std::string(name));
  const auto bytes = file_.subspan(found->second.offset, found->second.size);
  if (crc32(bytes) != found->second.crc) return corrupt("the checksum of its record " + std::string(name) + " differs");
  return bytes;
}

expected<archive::description> archive::describe(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return corrupt("it has no record " + std::string(name));
  return description{found->second.size, found->second.crc};
}

protocol::object_key archive::fingerprint() const {
  std::vector<std::string> lines;
  lines.reserve(entries_.size());
  for (const auto& [name, found] : entries_)
    lines.push_back(name + ' ' + std::to_string(found.size) + ' ' + std::to_string(found.crc) + '\n');
  std::sort(lines.begin(), lines.end());
  auto text = std::to_string(file_.size()) + '\n';
  for (const auto& line : lines) text += line;
  return protocol::key_of(std::as_bytes(std::span(text)));
}

expected<std::string_view> archive::text(std::string_view name) const {
  return record(name).map([](auto bytes) { return text_of(bytes); });
}

}  // namespace shoal::executor
