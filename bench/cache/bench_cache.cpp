// The cache's bench in pieces that run.py puts together: several of these run as processes of their own.
//
//   bench_cache import FOLDER MEMORY BYTES SIZE   keeps BYTES in objects of SIZE on disk and in memory as the cache
//   does
//                                                 (names verified, synced); answers "import MB/s MB/CPU-s".
//   bench_cache disk FILE BYTES                   the raw limit: one file written and synced; answers "disk MB/s".
//   bench_cache worker ARCHIVE CACHE MEMORY       loads the model through a cache at the address CACHE ("-": the
//   archive's
//                                                 mmap), runs it once, then answers
//                                                 "loaded ACQUIRE_MS WEIGHTS_MS LOAD_MS MAPPED_OBJECTS" and stays until
//                                                 its input ends: run.py reads its memory meanwhile. ACQUIRE: asked for
//                                                 the weights until they are mapped and verified. WEIGHTS: from opening
//                                                 the archive on, so with its manifest.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>

#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cache/storage.hpp"
#include "executor/model.hpp"
#include "link/zmq_link.hpp"
#include "worker/cache_client.hpp"

namespace {

using namespace shoal;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int refuse(const std::string& what) {
  std::cerr << "bench_cache: " << what << '\n';
  return 1;
}

buffer noise(std::uint64_t seed, std::size_t size) {
  return buffer::make(size, [&](std::byte* to) {
    std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (std::size_t at = 0; at < size; at += sizeof state) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      std::memcpy(to + at, &state, std::min(sizeof state, size - at));
    }
  });
}

int import(const std::string& folder, const std::string& memory, std::uint64_t bytes, std::uint64_t size) {
  auto tiers = cache::storage::open({folder, memory});
  if (!tiers) return refuse(tiers.error().message);
  std::vector<protocol::object_job> jobs;
  // What the cache hands over while the last job was written: a worker's window.
  constexpr std::uint64_t window = 64ull << 20;
  for (std::uint64_t at = 0, waiting = window; at < bytes; at += size, waiting += size) {
    if (waiting >= window) {
      jobs.push_back({protocol::object_job::kind::keep, {}});
      waiting = 0;
    }
    auto object = noise(at + 1, size);
    const auto key = protocol::key_of(object.bytes());
    jobs.back().objects.push_back({key, size, {}, {}, std::move(object), true});
  }
  const auto begin = clock_type::now();
  const auto cpu = cpu_seconds();
  for (auto& job : jobs)
    for (const auto& kept : (*tiers)->run(job).objects)
      if (kept.problem) return refuse(kept.problem->message);
  std::cout << "import " << static_cast<double>(bytes) / 1e6 / seconds_since(begin) << ' '
            << static_cast<double>(bytes) / 1e6 / (cpu_seconds() - cpu) << std::endl;
  return 0;
}

int disk(const std::string& file, std::uint64_t bytes) {
  constexpr std::size_t part = 4 << 20;
  const auto data = noise(1, part);
  const int to = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (to < 0) return refuse("cannot write " + file);
  const auto begin = clock_type::now();
  for (std::uint64_t at = 0; at < bytes; at += part)
    if (::write(to, data.data(), part) != static_cast<ssize_t>(part)) return refuse("cannot write " + file);
  if (::fsync(to) != 0) return refuse("cannot sync " + file);
  std::cout << "disk " << static_cast<double>(bytes) / 1e6 / seconds_since(begin) << std::endl;
  ::close(to);
  ::unlink(file.c_str());
  return 0;
}

/// Notes how long the weights took.
class timed_source final : public executor::object_source {
 public:
  explicit timed_source(worker::cache_client& of) : of_(of) {}
  std::vector<found> acquire(std::span<const protocol::object_key> keys) override {
    const auto begin = clock_type::now();
    auto result = of_.acquire(keys);
    if (seconds < 0) {
      seconds = seconds_since(begin);
      ready = clock_type::now();
    }
    for (const auto& each : result) mapped += each.bytes.has_value();
    return result;
  }
  void publish(const protocol::object_key& key, buffer bytes, const protocol::object_key& source,
               std::string_view layout) override {
    of_.publish(key, std::move(bytes), source, layout);
  }
  void settle() override { of_.settle(); }
  double seconds = -1;
  clock_type::time_point ready{};
  std::size_t mapped = 0;

 private:
  worker::cache_client& of_;
};

tensor ones(const protocol::tensor_spec& spec) {
  tensor input{spec.name, spec.type, {}, {}};
  for (const auto& dim : spec.dims)
    input.dims.push_back(dim.is_fixed() ? dim.min : std::clamp<std::int64_t>(8, dim.min, dim.max));
  const auto size = byte_size(input.type, input.dims).value();
  input.data = buffer::make(size, [&](std::byte* to) {
    std::memset(to, 0, size);
    for (std::size_t at = 0; at < size; at += size_of(input.type)) to[at] = std::byte{1};
  });
  return input;
}

int work(const std::string& archive, const std::string& cache, const std::string& memory) {
  executor::set_compute_threads(1);
  metrics figures;
  link::options options;
  options.service = protocol::service_kind::worker;
  link::zmq_link link(options);
  std::shared_ptr<worker::cache_client> client;
  std::unique_ptr<timed_source> source;
  if (cache != "-") {
    client = worker::cache_client::make({memory, 1}, link, figures);
    link.start([client](protocol::link_event event) { client->on(event); }, [] { return false; });
    if (auto connected = link.connect(protocol::service_kind::cache, cache); !connected)
      return refuse(connected.error().message);
    // A worker's link is up long before its models load; its connecting is no part of what is measured.
    client->acquire(std::vector<protocol::object_key>(1));
    source = std::make_unique<timed_source>(*client);
  }
  const auto begin = clock_type::now();
  auto model = executor::model::load(archive, {}, source.get());
  if (!model) return refuse(model.error().message);
  const auto loaded = seconds_since(begin);
  std::vector<tensor> inputs;
  for (const auto& spec : (*model)->spec().inputs) inputs.push_back(ones(spec));
  if (auto ran = (*model)->run(inputs); !ran) return refuse(ran.error().message);
  const auto weights = source ? std::chrono::duration<double>(source->ready - begin).count() : 0.0;
  std::cout << "loaded " << (source ? source->seconds * 1e3 : 0.0) << ' ' << weights * 1e3 << ' ' << loaded * 1e3 << ' '
            << (source ? source->mapped : 0) << std::endl;
  for (std::string line; std::getline(std::cin, line);)
    if (line == "published" && client) {
      double published = 0;
      for (const auto& [name, value] : figures.snapshot())
        if (name == "shoal_worker_objects_published_total") published = value;
      std::cout << "published " << published << std::endl;
    }
  if (client) client->stop();
  link.stop();
  return 0;
}

}  // namespace

int main(int count, char** values) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("bench"));  // standard output is run.py's
  spdlog::set_level(spdlog::level::warn);
  const std::vector<std::string> words(values + 1, values + count);
  if (words.size() == 5 && words[0] == "import")
    return import(words[1], words[2], std::stoull(words[3]), std::stoull(words[4]));
  if (words.size() == 3 && words[0] == "disk") return disk(words[1], std::stoull(words[2]));
  if (words.size() == 4 && words[0] == "worker") return work(words[1], words[2], words[3]);
  return refuse("usage: run bench/cache/run.py instead");
}
