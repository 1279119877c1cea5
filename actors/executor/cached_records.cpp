#include "executor/cached_records.hpp"

#include <spdlog/spdlog.h>

namespace shoal::executor {

cached_records cached_records::acquire(object_source& source, const std::filesystem::path& path,
                                       const std::shared_ptr<const archive>& from,
                                       const std::vector<stored_tensor>& stored) {
  cached_records made;
  const auto file = manifest_path(path);
  if (auto known = read_manifest(file, *from)) {
    made.manifest_ = *std::move(known);
  } else {
    auto fresh = make_manifest(*from, stored);
    if (!fresh) return made;  // the archive is damaged: mapping the weights says where
    made.manifest_ = *std::move(fresh);
    if (auto written = write_manifest(file, made.manifest_, *from); !written)
      spdlog::info("{}; weights are hashed at every load", written.error().message);
  }
  std::vector<protocol::object_key> keys;
  std::vector<std::string_view> records;
  for (const auto& [record, key] : made.manifest_) {
    const auto described = from->describe(record);
    if (!described || described->size == 0) continue;
    keys.push_back(key);
    records.push_back(record);
  }
  auto answers = source.acquire(keys);
  for (std::size_t i = 0; i < records.size() && i < answers.size(); ++i) {
    auto& answer = answers[i];
    if (answer.bytes && answer.bytes->size() == from->describe(records[i])->size)
      made.found_.emplace(records[i], *std::move(answer.bytes));
    else if (answer.is_wanted)
      made.wanted_.push_back(records[i]);
  }
  return made;
}

const buffer* cached_records::find(std::string_view record) const {
  const auto found = found_.find(record);
  return found == found_.end() ? nullptr : &found->second;
}

const protocol::object_key* cached_records::key_of(std::string_view record) const {
  const auto found = manifest_.find(record);
  return found == manifest_.end() ? nullptr : &found->second;
}

void cached_records::publish(object_source& source, const std::shared_ptr<const archive>& from) const {
  for (const auto record : wanted_)
    if (const auto bytes = from->record(record)) source.publish(manifest_.find(record)->second, buffer(from, *bytes));
}

}  // namespace shoal::executor
