#include "services/mesh/import.hpp"

#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/name.hpp"
#include "executor/model.hpp"
#include "gateway/text/text_model.hpp"
#include "protocol/model.hpp"
#include "worker/served_model.hpp"

namespace shoal::services {

namespace fs = std::filesystem;

namespace {

tl::unexpected<error> io_error(const std::string& what, int code) {
  return fail(errc::unavailable, what + ": " + std::strerror(code));
}

expected<void> sync(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return io_error("cannot open " + path.string(), errno);
  const int synced = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  if (synced != 0) return io_error("cannot sync " + path.string(), code);
  return {};
}

std::uint64_t next_version(const fs::path& model) {
  std::uint64_t highest = 0;
  std::error_code ignored;  // no directory yet: version 1
  for (const auto& entry : fs::directory_iterator(model, ignored)) {
    const auto text = entry.path().filename().string();
    std::uint64_t version = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (failed == std::errc{} && end == text.data() + text.size()) highest = std::max(highest, version);
  }
  return highest + 1;
}

/// A folder beside its final place, hidden from whoever scans, removed unless it was given its name.
class incoming_folder {
 public:
  explicit incoming_folder(const fs::path& beside) : beside_(beside) {
    auto pattern = (beside / ".incoming-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  incoming_folder(const incoming_folder&) = delete;
  incoming_folder& operator=(const incoming_folder&) = delete;
  ~incoming_folder() {
    std::error_code ignored;  // what cannot be removed is hidden and does no harm
    if (path_.empty()) return;
    fs::remove_all(path_, ignored);
    fs::remove(beside_, ignored);  // only if this import made it: it is not empty otherwise
  }
  [[nodiscard]] const fs::path& path() const { return path_; }
  void release() { path_.clear(); }

 private:
  fs::path beside_;
  fs::path path_;
};

/// An error about the copy, told about the file it was made from.
error about_the_original(error reason, const fs::path& copy, const fs::path& original) {
  const auto at = reason.message.find(copy.string());
  if (at != std::string::npos) reason.message.replace(at, copy.string().size(), original.string());
  return reason;
}

/// What PyTorch's other files (weights, TorchScript) need to become.
error with_way_out(error reason, const fs::path& file) {
  const auto ending = file.extension();
  if (ending == ".pt" || ending == ".pth" || ending == ".bin" || ending == ".onnx" || ending == ".safetensors")
    reason.message +=
        ". Only exported programs can be imported; in Python: torch.export.save(torch.export.export(model, "
        "args), 'model.pt2')";
  return reason;
}

/// Whether the model takes what the tokenizer makes of text: its greatest id, too.
expected<void> check_text(const fs::path& folder, const protocol::model_spec& spec) {
  auto reads = text::tokenizer::read(folder / "tokenizer.json");
  if (!reads) return tl::unexpected(reads.error());
  const auto takes = gateway::text_model_of(spec, *reads);
  if (!takes) return tl::unexpected(takes.error());
  auto sample = (*reads)->encode("the quick brown fox", takes->most_tokens);
  if (!sample) return tl::unexpected(sample.error());
  const auto greatest = (*reads)->vocabulary() - 1;
  if (sample->ids.empty()) return fail(errc::unsupported, "the tokenizer makes no token of a sentence");
  sample->ids.back() = greatest;
  auto model = executor::model::load(folder / "model.pt2");
  if (!model) return tl::unexpected(model.error());
  const auto ran = (*model)->run(gateway::inputs_of(*takes, {&*sample}));
  if (!ran)
    return fail(errc::invalid_argument, "the model does not take the tokenizer's token id " + std::to_string(greatest) +
                                            ", so the two do not belong together: " + ran.error().message);
  return {};
}

}  // namespace

expected<import_result> import_model(const import_request& request) {
  import_result result;
  result.name = request.name.empty() ? request.file.stem().string() : request.name;
  if (const auto good = check_name("a model's", result.name); !good)
    return fail(good.error().code,
                "'" + result.name + "' cannot be a model's name: " + good.error().message + "; give one with --name");
  std::error_code problem;
  if (fs::is_directory(request.file, problem))
    return fail(errc::invalid_argument,
                request.file.string() + " is a directory: name the FILE.pt2 that torch.export.save wrote");
  if (!fs::is_regular_file(request.file, problem))
    return fail(errc::not_found, "there is no file " + request.file.string());
  for (const auto& beside : {request.toml, request.tokenizer})
    if (!beside.empty() && !fs::is_regular_file(beside, problem))
      return fail(errc::not_found, "there is no file " + beside.string());
  const auto model = request.models / result.name;
  fs::create_directories(model, problem);
  if (problem) return fail(errc::unavailable, "cannot make " + model.string() + ": " + problem.message());

  incoming_folder incoming(model);
  if (incoming.path().empty()) return io_error("cannot make a folder in " + model.string(), errno);
  fs::copy_file(request.file, incoming.path() / "model.pt2", problem);
  if (!problem && !request.toml.empty()) fs::copy_file(request.toml, incoming.path() / "model.toml", problem);
  if (!problem && !request.tokenizer.empty())
    fs::copy_file(request.tokenizer, incoming.path() / "tokenizer.json", problem);
  if (problem) return fail(errc::unavailable, "cannot copy into " + model.string() + ": " + problem.message());
  // 0755: a worker may run as another user than the one who imports.
  fs::permissions(incoming.path(), fs::perms(0755), problem);

  const auto loads = worker::served_model::load({incoming.path(), result.name, 1});
  if (!loads)
    return tl::unexpected(
        with_way_out(about_the_original(loads.error(), incoming.path() / "model.pt2", request.file), request.file));
  if (!request.tokenizer.empty())
    if (auto takes = check_text(incoming.path(), (*loads)->spec()); !takes)
      return tl::unexpected(about_the_original(takes.error(), incoming.path() / "tokenizer.json", request.tokenizer));
  if (auto named = executor::name_objects(incoming.path() / "model.pt2"); !named) return tl::unexpected(named.error());
  for (const auto& entry : fs::directory_iterator(incoming.path()))
    if (auto synced = sync(entry.path()); !synced) return tl::unexpected(synced.error());
  if (auto synced = sync(incoming.path()); !synced) return tl::unexpected(synced.error());

  for (;;) {
    result.version = request.version != 0 ? request.version : next_version(model);
    result.folder = model / std::to_string(result.version);
    // Refuses an existing folder unless it is empty, so two imports at a time cannot take the same version.
    if (::rename(incoming.path().c_str(), result.folder.c_str()) == 0) break;
    if (errno != EEXIST && errno != ENOTEMPTY) return io_error("cannot name " + result.folder.string(), errno);
    if (request.version != 0)
      return fail(errc::invalid_argument, "version " + std::to_string(request.version) + " of '" + result.name +
                                              "' exists: leave --version out to take the next free one");
  }
  incoming.release();
  for (const auto& folder : {model, request.models})
    if (auto synced = sync(folder); !synced) return tl::unexpected(synced.error());
  return result;
}

}  // namespace shoal::services
