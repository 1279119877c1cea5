#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

expected<std::unique_ptr<target>> connect(const target_options& options) {
  const auto& at = options.endpoint;
  if (at.starts_with("tcp://") || at.starts_with("ipc://")) return connect_native(options);
  if (at.starts_with("http://")) return connect_http(at.substr(7), options);
  if (at.starts_with("grpc://")) return connect_grpc(at.substr(7), options);
  return fail(errc::invalid_argument, "--at " + at +
                                          ": write tcp://HOST:PORT or ipc://PATH for the native door, http://HOST:PORT "
                                          "or grpc://HOST:PORT for Open Inference Protocol v2");
}

std::string why_wrong(const std::vector<output_size>& outputs, const std::vector<protocol::tensor_spec>& specs) {
  if (!specs.empty() && outputs.size() != specs.size())
    return std::to_string(outputs.size()) + " outputs instead of " + std::to_string(specs.size());
  for (const auto& output : outputs) {
    if (output.type == dtype::bytes) continue;
    const auto bytes = byte_size(output.type, output.dims);
    if (!bytes || *bytes != output.bytes)
      return "output '" + output.name + "' has " + std::to_string(output.bytes) + " bytes, which its shape " +
             to_string(output.dims) + " does not";
  }
  return {};
}

}  // namespace shoal::services::bench
