// Configuration: one TOML file with a section per service; every key also as SHOAL_SECTION_KEY in the environment and
// as `--set section.key=value`, which win in this order. Unknown keys and wrong values are errors that name line and
// column. A service declares its keys once, bound to the fields of its options, with the sentence that explains each.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal {

class config {
 public:
  using target =
      std::variant<std::string*, bool*, int*, std::size_t*, double*, milliseconds*, std::vector<std::string>*>;

  /// Binds `section.key` to a field, which holds the default. Durations are integers in milliseconds, and such keys end
  /// in _ms; integers must not be negative.
  config& key(std::string section, std::string key, target field, std::string meaning);

  /// Sections of other services, which a shared file may hold: they are not looked at.
  config& leave(std::string section);

  /// Reads the file (empty path: none), then the environment, then `overrides` ("section.key=value").
  /// Errors: not_found (the file), invalid_argument ("FILE:LINE:COLUMN: …", with what would be right).
  expected<void> load(const std::string& file, const std::vector<std::string>& overrides);

  /// Every key with its present value and meaning, as a TOML file that could be loaded.
  [[nodiscard]] std::string to_toml() const;

 private:
  struct entry {
    std::string section;
    std::string key;
    target field;
    std::string meaning;
  };
  entry* find(std::string_view section, std::string_view key);
  [[nodiscard]] std::string nearest(std::string_view section, std::string_view key) const;
  expected<void> load_file(const std::string& file);
  expected<void> load_environment();
  expected<void> override_with(const std::string& assignment);

  std::vector<entry> entries_;
  std::vector<std::string> left_;
};

}  // namespace shoal
