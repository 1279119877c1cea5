// `shoal embed`: a vector for each line of a file, over the native protocol.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstring>
#include <deque>
#include <iostream>
#include <thread>

#include <xxhash.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/client.hpp>

#include "services/mesh/embed_output.hpp"
#include "services/mesh/names.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace fs = std::filesystem;

namespace {

/// A request ends with the line that reaches it: long lines go in smaller batches.
constexpr std::size_t most_batch_bytes = std::size_t{8} << 20;

/// The input, mapped, with the places of its lines.
class line_file {
 public:
  static expected<line_file> open(const std::string& path) {
    // Not waiting for who writes a pipe: it is refused.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return fail(errc::not_found, path + " cannot be read: " + std::strerror(errno));
    line_file made;
    struct stat found {};
    const bool is_file = ::fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode);
    made.size_ = is_file ? static_cast<std::size_t>(found.st_size) : 0;
    if (made.size_ > 0) {
      auto* at = ::mmap(nullptr, made.size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
      if (at != MAP_FAILED)
        made.data_ = {static_cast<const char*>(at),
                      [size = made.size_](const char* mapped) { ::munmap(const_cast<char*>(mapped), size); }};
    }
    ::close(descriptor);
    if (!is_file)
      return fail(errc::invalid_argument, path + " is no regular file: write the texts to one, a text a line");
    if (!made.data_) return fail(errc::invalid_argument, path + ": there is nothing in it; it must have a text a line");
    made.split();
    return made;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint64_t hash() const { return XXH3_64bits(data_.get(), size_); }
  [[nodiscard]] std::size_t lines() const { return starts_.size(); }
  [[nodiscard]] std::string_view line(std::size_t number) const {
    const auto begin = starts_[number];
    const auto end = number + 1 < starts_.size() ? starts_[number + 1] : size_;
    std::string_view text(data_.get() + begin, end - begin);
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
    return text;
  }

 private:
  void split() {
    for (std::size_t at = 0; at < size_;) {
      starts_.push_back(at);
      const auto* end = static_cast<const char*>(std::memchr(data_.get() + at, '\n', size_ - at));
      at = end == nullptr ? size_ : static_cast<std::size_t>(end - data_.get()) + 1;
    }
  }

  std::shared_ptr<const char> data_;
  std::size_t size_ = 0;
  std::vector<std::size_t> starts_;
};

class progress_bar {
 public:
  progress_bar(std::size_t done, std::size_t total, bool shows)
      : begin_(steady::now()), last_(begin_), first_(done), total_(total), shows_(shows) {}

  void operator()(std::size_t done) {
    const auto now = steady::now();
    const bool in_place = ::isatty(STDERR_FILENO) != 0;
    if (!shows_ || (now - last_ < (in_place ? milliseconds(200) : milliseconds(10'000)) && done != total_)) return;
    last_ = now;
    const double seconds = std::max(1e-9, std::chrono::duration<double>(now - begin_).count());
    const double rate = static_cast<double>(done - first_) / seconds;
    char text[160];
    const auto share = static_cast<double>(done) / static_cast<double>(std::max<std::size_t>(total_, 1));
    std::string bar(static_cast<std::size_t>(share * 24), '#');
    bar.resize(24, ' ');
    std::snprintf(text, sizeof text, "[%s] %zu of %zu lines, %.0f/s, %.0f s left", bar.c_str(), done, total_, rate,
                  rate > 0 ? static_cast<double>(total_ - done) / rate : 0.0);
    std::fprintf(stderr, in_place ? "\r\033[K%s%s" : "%s%s", text, !in_place || done == total_ ? "\n" : "");
    std::fflush(stderr);
  }

 private:
  time_point begin_;
  time_point last_;
  std::size_t first_;
  std::size_t total_;
  bool shows_;
};

error from_sdk(const client::error& reason) {
  error made{static_cast<errc>(reason.code), reason.message};
  made.retryable = reason.retryable;
  return made;
}

/// A part's error as one of the lines: "text 3: ..." of those from the 101st line on is line 104's.
error about_lines(std::size_t first, std::size_t count, error reason) {
  constexpr std::string_view begin = "text ";
  std::size_t place = 0;
  const auto* at = reason.message.data() + begin.size();
  const auto* end = reason.message.data() + reason.message.size();
  if (reason.message.starts_with(begin))
    if (const auto [next, wrong] = std::from_chars(at, end, place);
        wrong == std::errc{} && next != end && *next == ':') {
      reason.message = "line " + std::to_string(first + place + 1) + std::string(next, end);
      return reason;
    }
  reason.message =
      "lines " + std::to_string(first + 1) + " to " + std::to_string(first + count) + ": " + reason.message;
  return reason;
}

/// The version that all of it is computed by.
expected<std::uint64_t> version_of(client::mesh& over, const std::string& name, std::uint64_t version) {
  const auto models = over.models();
  if (!models) return tl::unexpected(from_sdk(models.error()));
  std::uint64_t found = 0;
  for (const auto& each : *models)
    if (each.name == name && each.state == client::model_state::ready && (version == 0 || each.version == version))
      found = std::max(found, each.version);
  if (found == 0)
    return tl::unexpected(
        with_next_step({errc::not_found, "no model '" + name + "' is ready" +
                                             (version ? " in version " + std::to_string(version) : "")}));
  return found;
}

}  // namespace

void declare_embed(CLI::App& verb, embed_arguments& given) {
  verb.add_option("model", given.model, "name, or name/version, of a model that was imported with its tokenizer")
      ->required();
  verb.add_option("file", given.file, "a text a line, UTF-8")->required();
  verb.add_option("--out", given.out, "OUT.npy (fp32 [lines, width]) or OUT.jsonl; FILE.npy if not given");
  verb.add_flag("--truncate", given.truncate, "cut what is longer than the model takes, instead of refusing it");
  verb.add_option("--batch", given.batch, "lines of one request")
      ->check(CLI::Range(std::size_t{1}, client::most_texts))
      ->capture_default_str();
  verb.add_option("--window", given.window, "requests in flight")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1024}))
      ->capture_default_str();
  verb.add_option("--deadline", given.deadline, "seconds for one request")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
}

expected<void> embed_lines(const client_arguments& arguments, const embed_arguments& given, signals& ending) {
  const auto named = read_model_name(given.model);
  if (!named) return tl::unexpected(named.error());
  const auto input = line_file::open(given.file);
  if (!input) return tl::unexpected(input.error());
  client::options options;
  options.connect_within = arguments.timeout();
  options.max_in_flight_bytes = std::size_t{1} << 30;
  options.key = arguments.key;
  auto over = client::connect(arguments.endpoint, options);
  if (!over) return tl::unexpected(with_next_step(from_sdk(over.error())));
  const auto version = version_of(*over, named->first, named->second);
  if (!version) return tl::unexpected(version.error());
  const fs::path out = given.out.empty() ? given.file + ".npy" : given.out;
  auto output =
      embed_output::open(out, {named->first, *version, given.truncate, input->size(), input->hash(), input->lines()});
  if (!output) return tl::unexpected(output.error());
  auto& to = **output;

  std::stop_source stop;
  std::atomic<bool> is_over{false};
  std::atomic<bool> is_signalled{false};
  std::jthread watch([&] {
    while (!is_over)
      if (ending.wait(milliseconds(100)) != 0) {
        is_signalled = true;
        stop.request_stop();
        return;
      }
  });
  const auto first = to.done();
  auto drawn = first;
  std::deque<std::size_t> counts;  // of the requests without a result
  const auto draw = [&]() -> std::optional<client::request> {
    if (drawn == input->lines()) return std::nullopt;
    std::vector<std::string_view> texts;
    for (std::size_t bytes = 0; drawn < input->lines() && texts.size() < given.batch && bytes < most_batch_bytes;
         ++drawn) {
      texts.push_back(input->line(drawn));
      bytes += texts.back().size();
    }
    counts.push_back(texts.size());
    auto made = client::text_request(named->first, texts, given.truncate);
    made.version = *version;
    return made;
  };
  client::call how;
  how.deadline = milliseconds(static_cast<std::int64_t>(given.deadline * 1000));
  how.priority = client::priority::batch;
  how.stop = stop.get_token();
  progress_bar shown(first, input->lines(), !arguments.json);
  const auto begin = steady::now();
  std::int64_t tokens = 0;
  expected<void> done;
  {
    auto results = over->map(draw, how, given.window);
    while (auto next = results.next()) {
      const auto count = counts.front();
      counts.pop_front();
      if (!*next) {
        done = tl::unexpected(about_lines(to.done(), count, from_sdk(next->error())));
        break;
      }
      const auto* vectors = client::embeddings_of(**next, count);
      const auto values = vectors == nullptr ? client::expected<std::span<const float>>(std::span<const float>())
                                             : vectors->view<float>();
      if (vectors == nullptr || !values) {
        done = fail(errc::unsupported, "model '" + named->first +
                                           "' gives no embeddings: none of its outputs is FP32 "
                                           "[rows, width]");
        break;
      }
      if (const auto counts = (*next)->view<std::int64_t>("token_counts"); counts)
        for (const auto each : *counts) tokens += each;
      if (done = to.add(*values, static_cast<std::size_t>(vectors->dims()[1])); !done) break;
      shown(to.done());
    }
  }
  is_over = true;
  if (is_signalled && to.done() < input->lines()) done = fail(errc::cancelled, "interrupted");
  if (!done) {
    auto reason = done.error();
    const bool goes_on = reason.retryable || reason.code == errc::cancelled || reason.code == errc::deadline_exceeded ||
                         reason.code == errc::unavailable;
    reason.message += " (" + std::to_string(to.done()) + " of " + std::to_string(input->lines()) + " lines are done" +
                      (goes_on ? ": the same command goes on from there)" : ")");
    return tl::unexpected(std::move(reason));
  }
  if (auto named_it = to.finish(); !named_it) return named_it;
  const double seconds = std::chrono::duration<double>(steady::now() - begin).count();
  const auto lines = input->lines() - first;
  if (arguments.json)
    print_json({{"file", out.string()},
                {"lines", input->lines()},
                {"computed", lines},
                {"tokens", tokens},
                {"seconds", seconds},
                {"version", *version}});
  else
    std::cout << out.string() << ": " << input->lines() << " vectors (" << lines << " computed in " << seconds << " s, "
              << static_cast<double>(lines) / std::max(seconds, 1e-9) << "/s)\n";
  return {};
}

}  // namespace shoal::services
