// Open Inference Protocol v2 over HTTP (https://github.com/kserve/open-inference-protocol), with Triton's binary tensor
// data. Which path does what stands in one table in routes.cpp; tests/conformance/README.md says what is not done yet.
//
// Stateless: it translates between http::server and gateway::front, on the server's thread. A client that leaves takes
// its request back. Shared-memory regions, models from a URL and loading by path are not offered.
#pragma once

#include <chrono>
#include <memory>

#include "access/doorman.hpp"
#include "gateway/front.hpp"
#include "http/server.hpp"

namespace shoal::gateway::http_door {

struct options {
  /// JSON takes long to read, so there is a limit of its own to it (binary data is not touched, and not limited by
  /// this). Above 256 KiB that is done aside from the one thread that serves every connection.
  std::size_t json_bytes = std::size_t{16} << 20;
  /// What models are said to have been created at, where a protocol asks for it.
  std::chrono::system_clock::time_point opened = std::chrono::system_clock::now();
  /// Shown at /metrics.
  std::shared_ptr<prometheus::Registry> registry;
};

/// For http::options: what each path takes stands in the same table. `doorman` must outlive the server.
http::gate gate(access::doorman& doorman);

/// For http::server::start. `behind` must outlive the server; outcomes may come later than that.
http::handler routes(front& behind, options wanted);

}  // namespace shoal::gateway::http_door
