#include "executor/object_manifest.hpp"

#include <fstream>
#include <iterator>

#include "executor/json_access.hpp"
#include "executor/whole_file.hpp"

namespace shoal::executor {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t format = 1;
/// A line of a hundred bytes per record: more than the graph reader takes weights.
constexpr std::uintmax_t largest_manifest = 64ull << 20;

}  // namespace

fs::path manifest_path(const fs::path& archive) { return fs::path(archive).replace_extension(".objects.json"); }

expected<object_manifest> read_manifest(const fs::path& file, const archive& from) {
  const auto where = file.string();
  std::error_code problem;
  const auto size = fs::file_size(file, problem);
  if (problem) return fail(errc::not_found, "there is no " + where);
  if (size > largest_manifest) return fail(errc::corrupt, where + " is larger than any manifest");
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  try {
    const auto whole = parse_json(text, where);
    if (integer_at(whole, "format", where) != format)
      return fail(errc::incompatible, where + " has another format than this version's");
    if (string_at(whole, "archive", where) != to_hex(from.fingerprint()))
      return fail(errc::incompatible, where + " is of another archive than the one beside it");
    object_manifest manifest;
    for (const auto& [record, entry] : object_at(whole, "records", where).items()) {
      const auto key = protocol::parse_object_key(string_at(entry, "sha256", where));
      const auto described = from.describe(record);
      if (!key || !described || integer_at(entry, "size", where) != static_cast<std::int64_t>(described->size))
        return fail(errc::corrupt, where + " does not describe the record " + record);
      manifest.emplace(record, *key);
    }
    return manifest;
  } catch (const refusal& wrong) {
    return tl::unexpected(explained(wrong, "import the model again (shoal import)"));
  }
}

expected<object_manifest> make_manifest(const archive& from, const std::vector<stored_tensor>& stored) {
  object_manifest manifest;
  for (const auto& each : stored) {
    if (manifest.contains(each.record)) continue;
    const auto bytes = from.record(each.record);
    if (!bytes) return tl::unexpected(bytes.error());
    manifest.emplace(each.record, protocol::key_of(*bytes));
  }
  return manifest;
}

expected<void> write_manifest(const fs::path& file, const object_manifest& manifest, const archive& from) {
  json records = json::object();
  for (const auto& [record, key] : manifest) {
    const auto described = from.describe(record);
    if (!described) return tl::unexpected(described.error());
    records[record] = {{"sha256", to_hex(key)}, {"size", described->size}};
  }
  const json whole{{"format", format}, {"archive", to_hex(from.fingerprint())}, {"records", std::move(records)}};
  const auto text = whole.dump(1) + "\n";
  return write_whole(file, text, false);
}

}  // namespace shoal::executor
