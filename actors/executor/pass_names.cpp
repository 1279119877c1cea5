#include "executor/pass_names.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace shoal::executor {

namespace {

constexpr auto passes = std::to_array<named_pass>({
    {"functionalise", &pass_options::functionalise},
    {"drop_no_ops", &pass_options::drop_no_ops},
    {"drop_dead", &pass_options::drop_dead},
    {"fuse_layer_norm", &pass_options::fuse_layer_norm},
    {"fuse_attention", &pass_options::fuse_attention},
    {"pack_linear", &pass_options::pack_linear},
    {"fuse_activation", &pass_options::fuse_activation},
    {"fold_batch_norms", &pass_options::fold_batch_norms},
    {"fuse_convolutions", &pass_options::fuse_convolutions},
    {"fold_constants", &pass_options::fold_constants},
    {"reuse_buffers", &pass_options::reuse_buffers},
    {"plan_memory", &pass_options::plan_memory},
});

constexpr auto of_own_kernels =
    std::to_array({&pass_options::fuse_layer_norm, &pass_options::fuse_attention, &pass_options::pack_linear,
                   &pass_options::fuse_activation, &pass_options::fold_batch_norms, &pass_options::fuse_convolutions});

tl::unexpected<error> refused(std::string_view text, std::string_view part) {
  std::string known;
  for (const auto& each : passes) known += (known.empty() ? "" : ", ") + std::string(each.name);
  return fail(errc::invalid_argument,
              "the passes \"" + std::string(text) + "\" are not known at \"" + std::string(part) +
                  "\": give all, aten, none, all-NAME or none+NAME, where NAME is one of " + known);
}

}  // namespace

std::span<const named_pass> all_passes() noexcept { return passes; }

pass_options pass_options::of_aten() const {
  auto left = *this;
  for (const auto each : of_own_kernels) left.*each = false;
  return left;
}

bool pass_options::has_own_kernels() const noexcept {
  return std::any_of(of_own_kernels.begin(), of_own_kernels.end(), [&](const auto each) { return this->*each; });
}

expected<pass_options> parse_passes(std::string_view text) {
  if (text == "aten") return pass_options{}.of_aten();
  const bool from_all = text.starts_with("all");
  if (!from_all && !text.starts_with("none")) return refused(text, text);
  auto chosen = from_all ? pass_options{} : pass_options::none();
  const char sign = from_all ? '-' : '+';
  auto rest = text.substr(from_all ? 3 : 4);
  while (!rest.empty()) {
    if (rest.front() != sign) return refused(text, rest);
    rest.remove_prefix(1);
    const auto name = rest.substr(0, rest.find(sign));
    const auto found = std::find_if(passes.begin(), passes.end(), [&](const auto& each) { return each.name == name; });
    if (found == passes.end()) return refused(text, name);
    chosen.*(found->flag) = !from_all;
    rest.remove_prefix(name.size());
  }
  return chosen;
}

}  // namespace shoal::executor
