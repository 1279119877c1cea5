#include "services/mesh/embed_output.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "executor/whole_file.hpp"

namespace shoal::services {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Of an .npy file, version 1.0: enough for any shape of ours, and a multiple of 64 as the format asks.
constexpr std::size_t header_bytes = 128;
constexpr std::chrono::seconds keep_every{1};

json describe(const embedding_job& job) {
  return {{"model", job.model},           {"version", job.version},
          {"truncate", job.truncate},     {"input_bytes", job.input_bytes},
          {"input_hash", job.input_hash}, {"rows", job.rows}};
}

}  // namespace

embed_output::embed_output(fs::path out, embedding_job job)
    : out_(std::move(out)), job_(std::move(job)), is_npy_(out_.extension() == ".npy"), kept_at_(steady::now()) {
  partial_ = out_;
  partial_ += ".partial";
  note_ = out_;
  note_ += ".partial.json";
}

embed_output::~embed_output() {
  if (file_ == nullptr) return;
  static_cast<void>(keep());  // what is not noted is computed again
  std::fclose(file_);
}

tl::unexpected<error> embed_output::cannot_write() const {
  return fail(errc::unavailable, "cannot write " + partial_.string() + ": " + std::strerror(errno));
}

expected<std::unique_ptr<embed_output>> embed_output::open(const fs::path& out, const embedding_job& job) {
  if (out.extension() != ".npy" && out.extension() != ".jsonl")
    return fail(errc::invalid_argument, out.string() + ": the output must end in .npy or .jsonl");
  std::error_code problem;
  if (fs::exists(out, problem))
    return fail(errc::invalid_argument, out.string() + " is there already: remove it, or give another with --out");
  auto made = std::unique_ptr<embed_output>(new embed_output(out, job));
  const bool goes_on = made->resume();
  made->file_ = std::fopen(made->partial_.c_str(), goes_on ? "r+b" : "w+b");
  if (made->file_ == nullptr) return made->cannot_write();
  if (!goes_on) {
    made->done_ = made->width_ = 0;
    if (made->is_npy_ && std::fwrite(made->header().data(), 1, header_bytes, made->file_) != header_bytes)
      return made->cannot_write();
  }
  if (std::fseek(made->file_, 0, SEEK_END) != 0) return made->cannot_write();
  return made;
}

/// Whether there is work to go on with: what the note says is safe stays, what lies behind it goes.
bool embed_output::resume() {
  std::ifstream file(note_);
  const auto note = json::parse(file, nullptr, false);
  if (!note.is_object() || note.value("job", json()) != describe(job_)) return false;
  const auto bytes = note.value("bytes", std::uint64_t{0});
  done_ = note.value("done", std::size_t{0});
  width_ = note.value("width", std::size_t{0});
  std::error_code problem;
  const auto there = fs::file_size(partial_, problem);
  if (problem || there < bytes || done_ > job_.rows || (done_ > 0 && width_ == 0)) return false;
  if (is_npy_ && bytes != header_bytes + done_ * width_ * sizeof(float)) return false;
  fs::resize_file(partial_, bytes, problem);
  return !problem;
}

expected<void> embed_output::add(std::span<const float> values, std::size_t width) {
  if (width_ == 0) width_ = width;
  if (width == 0 || width != width_)
    return fail(errc::invalid_argument, "the model gives vectors of " + std::to_string(width) + " now, and of " +
                                            std::to_string(width_) + " before: remove " + partial_.string());
  if (is_npy_) {
    if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) return cannot_write();
  } else {
    std::string lines;
    char number[32];
    for (std::size_t at = 0; at < values.size(); at += width) {
      lines += "{\"index\":" + std::to_string(done_ + at / width) + ",\"embedding\":[";
      for (std::size_t i = 0; i < width; ++i) {
        const auto end = std::to_chars(number, number + sizeof number, values[at + i]).ptr;
        if (i > 0) lines += ',';
        lines.append(number, end);
      }
      lines += "]}\n";
    }
    if (std::fwrite(lines.data(), 1, lines.size(), file_) != lines.size()) return cannot_write();
  }
  done_ += values.size() / width;
  if (steady::now() - kept_at_ < keep_every) return {};
  return keep();
}

/// To the disk, then the note that it is there.
expected<void> embed_output::keep() {
  kept_at_ = steady::now();
  if (std::fflush(file_) != 0 || ::fdatasync(::fileno(file_)) != 0) return cannot_write();
  const auto bytes = std::ftell(file_);
  const json note{{"job", describe(job_)}, {"done", done_}, {"width", width_}, {"bytes", bytes}};
  return executor::write_whole(note_, note.dump() + "\n", true);
}

std::string embed_output::header() const {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(done_) + ", " +
                     std::to_string(width_) + "), }";
  constexpr std::size_t before = 10;  // magic, version, length
  text.resize(header_bytes - before - 1, ' ');
  text += '\n';
  std::string all("\x93NUMPY\x01\x00", 8);
  all += static_cast<char>(text.size() & 0xFF);
  all += static_cast<char>(text.size() >> 8);
  return all + text;
}

expected<void> embed_output::finish() {
  if (is_npy_) {
    const auto first = header();
    if (std::fseek(file_, 0, SEEK_SET) != 0 || std::fwrite(first.data(), 1, first.size(), file_) != first.size())
      return cannot_write();
  }
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) return cannot_write();
  std::fclose(std::exchange(file_, nullptr));
  std::error_code problem;
  fs::rename(partial_, out_, problem);
  if (problem) return fail(errc::unavailable, "cannot name " + out_.string() + ": " + problem.message());
  fs::remove(note_, problem);  // one that stays is of a file that is there no more, and ignored
  return {};
}

}  // namespace shoal::services
