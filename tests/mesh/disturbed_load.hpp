// Requests through the C++ SDK while something goes wrong, at a steady rate whatever happens to earlier ones, each with
// its own deadline, all written down.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "mesh/history.hpp"
#include "shoal/client.hpp"

namespace shoal::test {

/// A request and its answer by an undisturbed mesh.
struct reference {
  client::request request;
  client::result answer;
};

/// One identity request of its own and sentences for MiniLM (if the mesh has it), with their answers. Throws
/// std::runtime_error.
std::vector<reference> references(client::mesh& mesh, std::size_t sentences);

/// fp32, equal within 1e-4 in every element: sentences that run together are computed in other blocks than alone.
bool is_equal(const client::result& answer, const client::result& wanted);

class disturbed_load {
 public:
  struct pace {
    milliseconds between{5};  ///< requests
    milliseconds shortest{300};
    milliseconds longest{5000};  ///< of the deadlines, drawn evenly
    std::uint64_t seed = 1;
    std::uint64_t one_large_in = 0;  ///< so many; zero: none
    std::uint64_t one_sentence_in = 20;
  };

  /// Begins to send at once.
  disturbed_load(client::mesh& mesh, std::vector<reference> known, pace wanted);
  ~disturbed_load();

  /// Sends `count` sentences at once, beside those of the pace.
  void burst(std::size_t count);

  /// Sends no more and waits for what is under way: at most until the last deadline and a second.
  history finish();

  /// As far as it is known now.
  [[nodiscard]] history so_far() const;

 private:
  /// Outlives the load, for outcomes that come after everything.
  struct ledger {
    mutable std::mutex mutex;
    history all;
  };
  void run();
  [[nodiscard]] reference draw(std::mt19937_64& random) const;
  void send(reference what, milliseconds deadline);

  client::mesh& mesh_;
  std::vector<reference> known_;
  pace pace_;
  std::shared_ptr<ledger> ledger_ = std::make_shared<ledger>();
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

}  // namespace shoal::test
