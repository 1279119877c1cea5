#include "access/key_file.hpp"

#include <sstream>

#include <sys/stat.h>
#include <toml++/toml.h>

#include "core/name.hpp"

namespace shoal::access {

expected<key_file> key_file::read(const std::string& file) {
  const auto wrong = [&](const std::string& why) {
    return fail(errc::invalid_argument, "the key file " + file + " " + why + ": make one with `shoal keys new`");
  };
  struct stat there {};
  if (::stat(file.c_str(), &there) != 0 || !S_ISREG(there.st_mode))
    return fail(errc::not_found, "there is no key file " + file + " that can be read");
  key_file all;
  all.is_open_to_all = (there.st_mode & S_IROTH) != 0;
  // What is in the file must not be told, so neither is what the parser says of it.
  try {
    const auto document = toml::parse_file(file);
    all.name = document["name"].value_or(std::string());
    all.public_key = document["public"].value_or(std::string());
    all.secret_key = document["secret"].value_or(std::string());
    const auto role = role_of(document["role"].value_or(std::string()));
    if (!role) return wrong("names no role");
    all.role = *role;
    if (const auto* list = document["gateways"].as_array())
      for (const auto& each : *list) all.gateways.push_back(each.value_or(std::string()));
  } catch (const toml::parse_error&) {
    return wrong("is not TOML, or cannot be read");
  }
  if (!is_name(all.name)) return wrong("has no name");
  if (!is_curve_key(all.public_key) || !is_curve_key(all.secret_key)) return wrong("holds no pair of keys");
  for (const auto& each : all.gateways)
    if (!is_curve_key(each)) return wrong("names a gateway's key that is none");
  return all;
}

std::string key_file::to_toml() const {
  std::ostringstream text;
  text << "# The secret key of \"" << name << "\": whoever has it acts as that " << name_of(role) << ".\nname = \""
       << name << "\"\nrole = \"" << name_of(role) << "\"\npublic = '" << public_key << "'\nsecret = '" << secret_key
       << "'\n";
  if (is_callers(role)) {
    text << "# The gateways it believes.\ngateways = [";
    for (std::size_t i = 0; i < gateways.size(); ++i) text << (i > 0 ? ", '" : "'") << gateways[i] << "'";
    text << "]\n";
  }
  return std::move(text).str();
}

expected<std::shared_ptr<const identity>> client_identity(const std::string& file) {
  if (file.empty()) return std::shared_ptr<const identity>();
  auto own = key_file::read(file);
  if (!own) return tl::unexpected(own.error());
  if (!is_callers(own->role))
    return fail(errc::invalid_argument, "the key file " + file + " is a " + std::string(name_of(own->role)) +
                                            "'s: use a client's or an admin's");
  if (own->gateways.empty())
    return fail(errc::invalid_argument, "the key file " + file + " names no gateway to believe: make it anew");
  return std::make_shared<const identity>(identity{std::move(*own), nullptr});
}

std::vector<std::string> identity::keys_of(role wanted) const {
  if (book) return book->current()->public_keys_of(wanted);
  return wanted == role::gateway ? own.gateways : std::vector<std::string>();
}

std::string identity::source() const { return book ? book->file() : "the key file of '" + own.name + "'"; }

}  // namespace shoal::access
