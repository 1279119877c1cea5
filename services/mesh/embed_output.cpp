#include "services/mesh/embed_output.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>

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
  if (!has_failed_) static_cast<void>(keep());  // what is not noted is computed again
  std::fclose(file_);
}

tl::unexpected<error> embed_output::cannot_write() {
  has_failed_ = true;
  return fail(errc::unavailable, "cannot write " + partial_.string() + ": " + std::strerror(errno));
}

expected<std::unique_ptr<embed_output>> embed_output::open(const fs::path& out, const embedding_job& job) {
  if (out.extension() != ".npy" && out.extension() != ".jsonl")
    return fail(errc::invalid_argument, out.string() + ": the output must end in .npy or .jsonl");
  std::error_code problem;
  if (fs::exists(out, problem))
    return fail(errc::invalid_argument, out.string() + " is there already: remove it, or give another with --out");
  auto made = std::unique_ptr<embed_output>(new embed_output(out, job));
  // The lock is the file's, before anything in it is changed.
  made->file_ = std::fopen(made->partial_.c_str(), "a+b");
  if (made->file_ == nullptr) return made->cannot_write();
  made->has_failed_ = true;  // nothing is worth a note yet
  if (::flock(::fileno(made->file_), LOCK_EX | LOCK_NB) != 0)
    return fail(errc::invalid_argument, "another `shoal embed` writes " + out.string() + " at this moment");
  const bool is_there = fs::exists(made->note_, problem);
  const bool goes_on = is_there && made->resume();
  if (is_there && !goes_on)
    std::cerr << made->note_.string() << " is of another input, model version or --truncate: beginning again\n";
  if (!goes_on) {
    made->done_ = made->width_ = made->bytes_ = 0;
    if (::ftruncate(::fileno(made->file_), 0) != 0) return made->cannot_write();
    if (made->is_npy_)
      if (auto begun = made->write(made->header()); !begun) return tl::unexpected(begun.error());
  }
  made->has_failed_ = false;
  return made;
}

expected<void> embed_output::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) return cannot_write();
  bytes_ += bytes.size();
  return {};
}

/// Whether there is work to go on with: what the note says is safe stays, what lies behind it goes.
bool embed_output::resume() {
  std::ifstream file(note_);
  const auto note = json::parse(file, nullptr, false);
  const auto number = [&](const char* key) {
    return note.contains(key) && note[key].is_number_unsigned() ? note[key].get<std::uint64_t>() : 0;
  };
  if (!note.is_object() || !note.contains("job") || note["job"] != describe(job_)) return false;
  bytes_ = number("bytes");
  done_ = number("done");
  width_ = number("width");
  std::error_code problem;
  const auto there = fs::file_size(partial_, problem);
  if (problem || there < bytes_ || done_ > job_.rows || (done_ > 0 && width_ == 0)) return false;
  if (is_npy_ && bytes_ != header_bytes + done_ * width_ * sizeof(float)) return false;
  if (!is_npy_ && bytes_ > 0) {
    char last = 0;
    if (::pread(::fileno(file_), &last, 1, static_cast<off_t>(bytes_ - 1)) != 1 || last != '\n') return false;
  }
  return ::ftruncate(::fileno(file_), static_cast<off_t>(bytes_)) == 0;
}

expected<void> embed_output::add(std::span<const float> values, std::size_t width) {
  if (width_ == 0) width_ = width;
  if (width == 0 || width != width_)
    return fail(errc::invalid_argument, "the model gives vectors of " + std::to_string(width) + " now, and of " +
                                            std::to_string(width_) + " before: remove " + partial_.string());
  if (is_npy_) {
    const auto bytes = std::as_bytes(values);
    if (auto written = write({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); !written) return written;
  } else {
    std::string lines;
    char number[32];
    for (std::size_t at = 0; at < values.size(); at += width) {
      lines += "{\"index\":" + std::to_string(done_ + at / width) + ",\"embedding\":[";
      for (std::size_t i = 0; i < width; ++i) {
        if (i > 0) lines += ',';
        const auto end = std::to_chars(number, number + sizeof number, values[at + i]).ptr;
        // JSON has no word for the others.
        std::isfinite(values[at + i]) ? lines.append(number, end) : lines.append("null");
      }
      lines += "]}\n";
    }
    if (auto written = write(lines); !written) return written;
  }
  done_ += values.size() / width;
  if (steady::now() - kept_at_ < keep_every) return {};
  return keep();
}

/// To the disk, then the note that it is there.
expected<void> embed_output::keep() {
  kept_at_ = steady::now();
  if (std::fflush(file_) != 0 || ::fdatasync(::fileno(file_)) != 0) return cannot_write();
  const json note{{"job", describe(job_)}, {"done", done_}, {"width", width_}, {"bytes", bytes_}};
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
  if (std::fflush(file_) != 0) return cannot_write();
  if (is_npy_) {
    // The file is open to append; its beginning is written past that.
    const auto first = header();
    const int again = ::open(partial_.c_str(), O_WRONLY | O_CLOEXEC);
    const bool is_written =
        again >= 0 && ::pwrite(again, first.data(), first.size(), 0) == static_cast<ssize_t>(first.size());
    if (again >= 0) ::close(again);
    if (!is_written) return cannot_write();
  }
  if (::fsync(::fileno(file_)) != 0) return cannot_write();
  std::fclose(std::exchange(file_, nullptr));
  std::error_code problem;
  fs::rename(partial_, out_, problem);
  if (problem) return fail(errc::unavailable, "cannot name " + out_.string() + ": " + problem.message());
  fs::remove(note_, problem);  // one that stays is of a file that is there no more, and ignored
  return {};
}

}  // namespace shoal::services
