#include "executor/device.hpp"

#include <charconv>

namespace shoal::executor {

expected<device> device::parse(std::string_view text) {
  if (text == "cpu") return device{};
  if (text == "cuda") return device{kind::cuda, 0};
  constexpr std::string_view prefix = "cuda:";
  if (text.starts_with(prefix)) {
    const auto digits = text.substr(prefix.size());
    const auto* end = digits.data() + digits.size();
    int index = -1;
    const auto [stop, wrong] = std::from_chars(digits.data(), end, index);
    const bool has_leading_zero = digits.size() > 1 && digits.front() == '0';
    if (wrong == std::errc{} && stop == end && digits.front() != '-' && !has_leading_zero && index <= max_index)
      return device{kind::cuda, index};
  }
  return fail(errc::invalid_argument, "a device is cpu or cuda:N with N from 0 to " + std::to_string(max_index) +
                                          "; set worker.device or --device to one of them");
}

std::string to_string(const device& named) {
  return named.type == device::kind::cpu ? "cpu" : "cuda:" + std::to_string(named.index);
}

}  // namespace shoal::executor
