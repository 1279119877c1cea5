// `shoal up --processes`: the same mesh as `shoal up`, with a process for each service.
//
// This process reads the configuration, takes the run directory and the ports, measures the split of the cores, and
// then becomes `shoal-supervisor`: the same process id, without LibTorch and all that was loaded for measuring.
#pragma once

#include "services/mesh/mesh.hpp"
#include "services/mesh/process_plan.hpp"

namespace shoal::services {

struct process_settings {
  mesh_settings mesh;
  scale counts;
  std::string config_file;             ///< passed on to every service
  std::vector<std::string> overrides;  ///< those of its section are passed on to each
};

/// Does not return but for an error: of the configuration, the run directory, a port, the models, or what became of the
/// executable beside this one.
error run_processes(process_settings settings);

}  // namespace shoal::services
