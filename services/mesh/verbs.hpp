// The verbs of `shoal` that ask a running mesh, over the native protocol. Each prints its answer to standard output,
// for people or as one JSON object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "services/host/program.hpp"
#include "services/mesh/bench/plan.hpp"

namespace CLI {
class App;
}
namespace shoal::link {
class client;
}

namespace shoal::services {

struct client_arguments {
  std::string endpoint = "tcp://127.0.0.1:8002";
  std::string key;  ///< a key file; empty: in the clear
  double seconds = 10;
  bool json = false;

  [[nodiscard]] milliseconds timeout() const;
};

/// Reaches the mesh. Errors: invalid_argument (the address), unavailable, both with what to do.
expected<std::unique_ptr<link::client>> reach(const client_arguments& client);

struct infer_arguments {
  std::string model;  ///< "name" or "name/version"
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::string priority = "standard";
};

expected<void> show_models(const client_arguments& client);

/// Only of services of this kind, with what is zero as well; empty: of all, without that.
expected<void> show_status(const client_arguments& client, const std::string& only);

/// Inputs are JSON arrays, read as the model's spec says; outputs are printed as JSON.
expected<void> run_inference(const client_arguments& client, const infer_arguments& request);

struct embed_arguments {
  std::string model;  ///< "name" or "name/version"
  std::string file;   ///< a text a line
  std::string out;    ///< .npy or .jsonl; empty: the file's name and .npy
  bool truncate = false;
  std::size_t batch = 2048;
  std::size_t window = 2;
  double deadline = 300;  ///< seconds, of one batch
};

/// `shoal embed`: a vector for each line of a file. What was done before it was interrupted is kept beside the output,
/// and the same command goes on from there. Errors: not_found, invalid_argument (the file, the line), cancelled (a
/// signal), those of the mesh.
void declare_embed(CLI::App& verb, embed_arguments& given);
expected<void> embed_lines(const client_arguments& client, const embed_arguments& given, signals& ending);

struct manage_arguments {
  std::string model;  ///< "name" or "name/version"
  bool replace = false;
};

/// `shoal load`, `shoal unload`: prints a line for every worker. Error: the first worker's, if any did not do it.
expected<void> load_model(const client_arguments& client, const manage_arguments& request);
expected<void> unload_model(const client_arguments& client, const manage_arguments& request);

struct top_arguments {
  double interval = 2;  ///< seconds between two looks
  bool once = false;
};

/// `shoal top`: what the mesh does now, again and again on a terminal until a signal comes; once where there is none. A
/// mesh that goes away on a terminal is waited for.
expected<void> show_top(const client_arguments& client, const top_arguments& wanted, signals& ending);

struct bench_arguments {
  bench::bench_options typed;
  std::string json;  ///< a file, "-" for standard output; empty: none
  std::string html;  ///< a file; empty: none

  bench_arguments() { typed.at.endpoint = client_arguments{}.endpoint; }
};

/// `shoal bench`: its options, and the whole verb. Prints its table as steps end; a signal ends it with the figures so
/// far. Returns the exit code: success also if requests failed, unless none at all was answered.
void declare_bench(CLI::App& verb, bench_arguments& given);
int run_bench(const bench_arguments& given);

}  // namespace shoal::services
