#include "unit/executor/archive_writer.hpp"

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "executor/crc32.hpp"

namespace shoal::test {

namespace {

template <class Number>
void put(std::string& to, Number value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class Number>
Number get(const std::string& from, std::size_t at) {
  Number value{};
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

}  // namespace

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

records read_records(const std::filesystem::path& archive) {
  const auto file = read_file(archive);
  const auto end = file.rfind("PK\x05\x06");
  const auto count = get<std::uint16_t>(file, end + 10);
  std::size_t at = get<std::uint32_t>(file, end + 16);
  records result;
  for (int i = 0; i < count; ++i) {
    const auto size = get<std::uint32_t>(file, at + 24);
    const auto name_size = get<std::uint16_t>(file, at + 28);
    const std::size_t header = get<std::uint32_t>(file, at + 42);
    const auto name = file.substr(at + 46, name_size);
    const auto data = header + 30 + get<std::uint16_t>(file, header + 26) + get<std::uint16_t>(file, header + 28);
    result[name.substr(name.find('/') + 1)] = file.substr(data, size);
    at += 46 + name_size + get<std::uint16_t>(file, at + 30) + get<std::uint16_t>(file, at + 32);
  }
  return result;
}

std::string zip(const records& contents) {
  std::string file;
  std::string directory;
  for (const auto& [short_name, data] : contents) {
    const auto& bytes = data;  // clang 14 captures no structured binding
    const auto name = "model/" + short_name;
    const auto crc = executor::crc32(std::as_bytes(std::span(bytes)));
    const auto header = static_cast<std::uint32_t>(file.size());
    const auto padding = static_cast<std::uint16_t>(64 - (header + 30 + name.size()) % 64);
    const auto common = [&](std::string& to) {
      put<std::uint16_t>(to, 0);  // needed version
      put<std::uint16_t>(to, 0);  // flags
      put<std::uint16_t>(to, 0);  // stored
      put<std::uint32_t>(to, 0);  // time
      put(to, crc);
      put(to, static_cast<std::uint32_t>(bytes.size()));
      put(to, static_cast<std::uint32_t>(bytes.size()));
      put(to, static_cast<std::uint16_t>(name.size()));
    };
    file += "PK\x03\x04";
    common(file);
    put(file, padding);
    file += name + std::string(padding, '\0') + bytes;
    directory += "PK\x01\x02";
    put<std::uint16_t>(directory, 0);  // made by
    common(directory);
    directory += std::string(2 + 2 + 2 + 2 + 4, '\0');
    put(directory, header);
    directory += name;
  }
  const auto begin = static_cast<std::uint32_t>(file.size());
  file += directory + "PK\x05\x06" + std::string(4, '\0');
  put(file, static_cast<std::uint16_t>(contents.size()));
  put(file, static_cast<std::uint16_t>(contents.size()));
  put(file, static_cast<std::uint32_t>(directory.size()));
  put(file, begin);
  put<std::uint16_t>(file, 0);
  return file;
}

scratch_file::scratch_file(const std::string& bytes) {
  std::string pattern = std::filesystem::temp_directory_path() / "shoal-executor-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  path_ = folder_ / "model.pt2";
  std::ofstream(path_, std::ios::binary) << bytes;
}

scratch_file::~scratch_file() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string with_json(const std::filesystem::path& archive, const std::string& record,
                      const std::function<void(nlohmann::json&)>& change) {
  auto contents = read_records(archive);
  auto parsed = nlohmann::json::parse(contents.at(record));
  change(parsed);
  contents[record] = parsed.dump();
  return zip(contents);
}

}  // namespace shoal::test
