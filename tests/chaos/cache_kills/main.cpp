// kill -9 of the cache at armed points, again and again, while a worker gives it objects: what it has acknowledged
// stays.
//
// An armed point is a call of the cache or of RocksDB that changes what lies in a tier (kill_at.cpp): its kind, before
// it, half of it done or after it, and the how-manyeth of its life. Which calls there are is learned from the lives
// before, so none is forgotten when the cache changes. Half of the kills are power cuts as well: what was not synced is
// taken back and the memory tier is empty.
//
// In each life the cache is asked for what it acknowledged in the one before and for some older objects (whose files in
// memory may have been removed or damaged, so that they are filled from the disk), then given new ones until it dies.
// At the end it is asked for every object ever acknowledged. A control closes the run: one object is destroyed on the
// disk by us, and the check must find exactly that one missing.
//
//   cache_kills CACHE KILLER --count 500 --seed 1 --folder F      0: nothing was lost; 1: something was
#include <algorithm>
#include <fstream>
#include <iostream>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "chaos/cache_kills/cache_process.hpp"
#include "chaos/cache_kills/worker_end.hpp"
#include "protocol/object_file.hpp"
#include "unit/support/object_bytes.hpp"

namespace shoal::chaos {

namespace {

namespace fs = std::filesystem;
using clock_type = std::chrono::steady_clock;
using protocol::object_key;

constexpr unsigned gives_per_life = 24;
constexpr unsigned older_per_life = 12;
constexpr std::size_t keys_per_acquire = 8;
constexpr unsigned scouts = 3;  ///< lives of the beginning that only tell which calls there are

struct object {
  unsigned seed = 0;
  std::size_t size = 0;
  object_key key;
};

/// What is known of the cache's promises.
class ledger {
 public:
  /// An object nobody has seen yet: a third in RocksDB's log and tables, a third in its blob files, a third in extents.
  object draw(std::mt19937_64& random) {
    constexpr std::pair<std::size_t, std::size_t> ranges[] = {{1, 4 << 10}, {4 << 10, 60 << 10}, {64 << 10, 512 << 10}};
    const auto [least, most] = ranges[random() % std::size(ranges)];
    object made{next_++, std::uniform_int_distribution<std::size_t>(least, most)(random), {}};
    made.key = protocol::key_of(test::object_bytes(made.seed, made.size).bytes());
    given_.emplace(made.seed, made);
    return made;
  }

  void acknowledged(unsigned seed) {
    const auto& promised = given_.at(seed);
    promised_.emplace(promised.key, promised);
    fresh_.push_back(promised.key);
  }

  /// What this life is to be asked for first: all that is new, some of what is old.
  std::vector<object_key> to_check(std::mt19937_64& random) {
    auto keys = fresh_;
    if (promised_.empty()) return keys;
    for (unsigned i = 0; i < older_per_life; ++i) keys.push_back(any(random).key);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
  }
  void checked(const object_key& key) { std::erase(fresh_, key); }
  void forget(const object_key& key) {
    promised_.erase(key);
    checked(key);
  }

  [[nodiscard]] bool is_empty() const { return promised_.empty(); }
  [[nodiscard]] const object& any(std::mt19937_64& random) const {
    return std::next(promised_.begin(), static_cast<std::ptrdiff_t>(random() % promised_.size()))->second;
  }
  [[nodiscard]] const object& at(const object_key& key) const { return promised_.at(key); }
  [[nodiscard]] std::size_t size() const { return promised_.size(); }
  [[nodiscard]] std::vector<object_key> all() const {
    std::vector<object_key> keys;
    for (const auto& [key, promised] : promised_) keys.push_back(key);
    return keys;
  }

 private:
  std::map<unsigned, object> given_;
  std::map<object_key, object> promised_;
  std::vector<object_key> fresh_;  ///< acknowledged, and not seen since
  unsigned next_ = 1;
};

class run {
 public:
  run(cache_process& cache, std::uint64_t seed) : cache_(cache), worker_(cache.address()), random_(seed) {}

  void kill(unsigned count) {
    for (unsigned i = 0; i < scouts; ++i) live({});
    while (kills_ < count) {
      live(draw_point());
      if (kills_ % 50 == 0 && kills_ != told_) {
        told_ = kills_;
        std::cout << kills_ << " kills at " << by_point_.size() << " points, " << book_.size()
                  << " objects acknowledged, " << lost_.size() << " lost" << std::endl;
      }
    }
  }

  /// Everything that was acknowledged, from the disk.
  void check_all() {
    cache_.empty_memory();
    begin({});
    read_again_ = book_.size();
    if (!check(book_.all())) throw std::runtime_error("the cache died without being killed:\n" + cache_.log());
    cache_.stop();
    worker_.wait_for_loss();
  }

  /// Whether the check finds that an extent was taken away.
  [[nodiscard]] bool finds_what_is_gone() {
    fs::remove(fs::directory_iterator(cache_.disk() / "extents")->path());
    const auto before = lost_.size();
    check_all();
    return taken_back(before);
  }

  /// Whether power cuts show it when a sync does nothing: objects are lost, or RocksDB finds its index damaged.
  [[nodiscard]] bool finds_lies() {
    cache_.lie_about_syncs();
    const auto before = lost_.size();
    try {
      for (unsigned i = 0; i < 40 && lost_.size() == before; ++i)
        live(kill_point{"write extent", "before", 1 + i % 4, true});
    } catch (const cache_gave_up& what) {
      std::cout << what.what() << std::endl;
      return true;
    }
    return taken_back(before);
  }

  [[nodiscard]] nlohmann::json result() const {
    nlohmann::json points = nlohmann::json::object();
    for (const auto& [name, kills] : by_point_) points[name] = kills;
    auto away = away_;
    std::sort(away.begin(), away.end());
    return {{"kills", kills_},
            {"power_cuts", cuts_},
            {"points", points},
            {"calls_seen", calls_.size()},
            {"not_reached", not_reached_},
            {"acknowledged", book_.size()},
            {"read_again", read_again_},
            {"damaged_by_us", damaged_},
            {"away_median_s", away.empty() ? 0 : away[away.size() / 2]},
            {"away_most_s", away.empty() ? 0 : away.back()},
            {"lost", lost_}};
  }
  [[nodiscard]] const std::vector<std::string>& lost() const { return lost_; }

 private:
  /// From a start to a death: by the armed point or, if that was not reached, by us.
  void live(const std::optional<kill_point>& point) {
    if (random_() % 2 == 0) cache_.empty_memory();
    begin(point);
    if (check(book_.to_check(random_)) && give())
      std::this_thread::sleep_for(std::chrono::milliseconds(random_() % 20));
    const bool died = !cache_.lives();
    if (!died) cache_.kill();
    worker_.wait_for_loss();
    take_in();
    for (const auto& [call, times] : cache_.calls()) calls_[call].push_back(times);
    if (!point) return;
    if (!died) {
      ++not_reached_;
      return;
    }
    ++kills_;
    ++by_point_[point->call + ' ' + point->when];
    if (point->cuts) {
      ++cuts_;
      cache_.empty_memory();
    }
  }

  void begin(const std::optional<kill_point>& point) {
    cache_.start(point);
    const auto began = clock_type::now();
    if (worker_.wait_for_cache([&] { return cache_.lives(); }))
      away_.push_back(std::chrono::duration<double>(clock_type::now() - began).count());
  }

  kill_point draw_point() {
    const auto at = std::next(calls_.begin(), static_cast<std::ptrdiff_t>(random_() % calls_.size()));
    const auto times = at->second[random_() % at->second.size()];
    std::vector<std::string> moments{"before", "after"};
    if (at->first.starts_with("write ")) moments.emplace_back("half");
    return {at->first, moments[random_() % moments.size()], 1 + static_cast<unsigned>(random_() % times),
            random_() % 2 == 0};
  }

  /// False: the cache died meanwhile.
  bool check(const std::vector<object_key>& keys) {
    for (std::size_t at = 0; at < keys.size(); at += keys_per_acquire) {
      const auto last = std::min(keys.size(), at + keys_per_acquire);
      if (!check_some(
              {keys.begin() + static_cast<std::ptrdiff_t>(at), keys.begin() + static_cast<std::ptrdiff_t>(last)}))
        return false;
    }
    return true;
  }

  bool check_some(const std::vector<object_key>& keys) {
    auto again = look_at(keys, false);
    // As a worker does: a file that does not verify is asked for once more, and the cache looks for itself.
    if (again && !again->empty()) again = look_at(*again, true);
    return again.has_value();
  }

  /// Those whose files are no good; absent: the cache died meanwhile.
  std::optional<std::vector<object_key>> look_at(const std::vector<object_key>& keys, bool verify) {
    const auto leases = worker_.acquire(keys, verify);
    if (!leases) return {};
    std::vector<object_key> held, bad;
    for (const auto& each : *leases) {
      const auto& promised = book_.at(each.key);
      if (each.state != protocol::object_state::ready) {
        lost(promised, each.state == protocol::object_state::absent ? "is not there" : "cannot be brought to memory");
        continue;
      }
      held.push_back(each.key);
      const auto mapped = protocol::map_object(cache_.memory(), each.key);
      if (!mapped && !verify)
        bad.push_back(each.key);
      else if (!mapped)
        lost(promised, mapped.error().message);
      else if (!std::ranges::equal(mapped->bytes(), test::object_bytes(promised.seed, promised.size).bytes()))
        lost(promised, "has other bytes");
      else
        book_.checked(each.key);
    }
    worker_.release(held);
    return bad;
  }

  /// Of a control: whether something was lost after `before`, which does not count.
  bool taken_back(std::size_t before) {
    const bool found = lost_.size() > before;
    lost_.resize(before);
    return found;
  }

  void lost(const object& promised, const std::string& why) {
    lost_.push_back("object " + std::to_string(promised.seed) + " of " + std::to_string(promised.size) + " bytes " +
                    why + " (after kill " + std::to_string(kills_) + ")");
    std::cout << lost_.back() << std::endl;
    book_.forget(promised.key);
  }

  /// New objects, several on their way at a time, and a bit flipped now and then; false: the cache died meanwhile.
  bool give() {
    for (unsigned i = 0; i < gives_per_life; ++i) {
      const auto made = book_.draw(random_);
      if (!worker_.store(made.seed, made.key, test::object_bytes(made.seed, made.size))) return false;
      if (random_() % 4 != 0) continue;
      if (!worker_.wait_for_stored()) return false;
      take_in();
      if (random_() % 2 == 0 && !damage()) return false;
    }
    return worker_.wait_for_stored();
  }

  /// A bit in a file of memory, which the cache has to fill again; or on the disk, which it has to see and may not hand
  /// out.
  bool damage() {
    if (book_.is_empty()) return true;
    const auto victim = book_.any(random_);
    const auto path = protocol::object_path(cache_.memory(), victim.key);
    if (fs::exists(path)) {
      test::flip_bit(path, random_() % victim.size);
    } else if (const auto place = find_extent(victim)) {
      test::flip_bit(place->first, place->second + random_() % victim.size);
      ++damaged_;
      const auto leases = worker_.acquire({victim.key}, true);
      book_.forget(victim.key);
      if (!leases) return false;
      // It may have been filled before the bit turned, then what is in memory is right; otherwise it must be gone.
      if (leases->front().state == protocol::object_state::ready) {
        const auto mapped = protocol::map_object(cache_.memory(), victim.key);
        if (!mapped || !std::ranges::equal(mapped->bytes(), test::object_bytes(victim.seed, victim.size).bytes()))
          lost_.push_back("object " + std::to_string(victim.seed) + " was damaged on the disk and handed out");
        worker_.release({victim.key});
      }
      return true;
    }
    return check_some({victim.key});
  }

  /// Where its bytes lie on the disk: the file and the offset.
  [[nodiscard]] std::optional<std::pair<fs::path, std::uint64_t>> find_extent(const object& wanted) const {
    if (wanted.size < 64 << 10) return {};
    const auto bytes = test::object_bytes(wanted.seed, wanted.size);
    const std::string begin(reinterpret_cast<const char*>(bytes.bytes().data()), 64);
    for (const auto& entry : fs::directory_iterator(cache_.disk() / "extents")) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string content{std::istreambuf_iterator<char>(file), {}};
      if (const auto at = content.find(begin); at != content.npos) return {{entry.path(), at}};
    }
    return {};
  }

  void take_in() {
    for (const auto& [seed, result] : worker_.take_stored())
      if (result) book_.acknowledged(static_cast<unsigned>(seed));
  }

  cache_process& cache_;
  worker_end worker_;
  std::mt19937_64 random_;
  ledger book_;
  std::map<call_name, std::vector<unsigned>> calls_;  ///< seen so far, and how often in each life that had it
  std::map<std::string, unsigned> by_point_;
  std::vector<std::string> lost_;
  std::vector<double> away_;  ///< seconds from a start to the connection
  unsigned kills_ = 0, cuts_ = 0, not_reached_ = 0, damaged_ = 0, told_ = 0;
  std::size_t read_again_ = 0;
};

}  // namespace

}  // namespace shoal::chaos

int main(int argc, char** argv) {
  using namespace shoal::chaos;
  CLI::App app{"kill -9 of the cache at armed points: what it has acknowledged stays"};
  std::string cache, killer, folder, out;
  unsigned count = 500;
  std::uint64_t seed = 1;
  app.add_option("cache", cache, "executable of the cache")->required()->check(CLI::ExistingFile);
  app.add_option("killer", killer, "library that is preloaded into it")->required()->check(CLI::ExistingFile);
  app.add_option("--folder", folder, "where its tiers lie; emptied before, and after unless something was lost")
      ->required();
  app.add_option("--count", count, "kills")->check(CLI::Range(1u, 1000000u));
  app.add_option("--seed", seed, "of everything that is left to chance");
  app.add_option("--out", out, "JSON of what was found");
  CLI11_PARSE(app, argc, argv);
  try {
    fs::remove_all(folder);
    nlohmann::json found;
    bool passed = false;
    {
      cache_process process(fs::absolute(cache), fs::absolute(killer), fs::absolute(folder));
      run all(process, seed);
      all.kill(count);
      all.check_all();
      found = all.result();
      found["seed"] = seed;
      passed = all.lost().empty();
      std::cout << "two controls, in which objects have to be lost:" << std::endl;
      for (const auto& [name, finds] :
           {std::pair("what is gone", &run::finds_what_is_gone), std::pair("syncs that lie", &run::finds_lies)})
        passed = (found["controls"][name] = (all.*finds)()).get<bool>() && passed;
    }
    std::cout << found.dump(1) << '\n';
    if (!out.empty()) std::ofstream(out) << found.dump(1) << '\n';
    if (passed) fs::remove_all(folder);  // otherwise it is worth a look
    return passed ? 0 : 1;
  } catch (const std::exception& failed) {
    std::cerr << "cache_kills: " << failed.what() << '\n';
    return 1;
  }
}
