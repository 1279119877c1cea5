// An archive read and checked as far as it can be before anything of it is prepared: what every load begins with.
#pragma once

#include <filesystem>
#include <memory>

#include "core/error.hpp"
#include "executor/archive.hpp"
#include "executor/graph.hpp"
#include "executor/signature.hpp"

namespace shoal::executor {

struct exported_model {
  std::shared_ptr<const archive> file;
  graph exported;
  signature takes;

  /// Errors: those of archive::open, read_graph and signature::read; unsupported (a node that is not allowed).
  static expected<exported_model> open(const std::filesystem::path& path);
};

}  // namespace shoal::executor
