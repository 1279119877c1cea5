// The directory of models that all workers and precision services of a simulated world see: which versions lie there,
// and which plan beside each.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "executor/precision_plan.hpp"
#include "protocol/actors.hpp"

namespace shoal::test {

using shared_plan = std::shared_ptr<const executor::precision_plan>;

/// The kind of device that all are of.
inline constexpr auto plans_device = "cpu/simulated";

struct model_directory {
  std::map<std::string, std::set<std::uint64_t>> versions;
  std::map<protocol::plan_target, shared_plan> plans;

  /// Version 0: the newest.
  [[nodiscard]] expected<protocol::load> find(const std::string& model, std::uint64_t version) const {
    const auto known = versions.find(model);
    if (known == versions.end() || (version != 0 && !known->second.contains(version)))
      return fail(errc::not_found, "there is no such model");
    return protocol::load{{}, model, version != 0 ? version : *known->second.rbegin()};
  }

  static protocol::plan_target target(const std::string& model, std::uint64_t version) {
    const auto name = model + "/" + std::to_string(version);
    return {model, version, protocol::key_of(std::as_bytes(std::span(name))), plans_device};
  }
};

}  // namespace shoal::test
