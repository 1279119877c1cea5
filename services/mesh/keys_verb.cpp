#include "services/mesh/keys_verb.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <iostream>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "access/key_file.hpp"
#include "access/token.hpp"
#include "core/name.hpp"
#include "link/curve.hpp"
#include "services/mesh/output.hpp"

namespace shoal::services {

namespace fs = std::filesystem;

namespace {

tl::unexpected<error> cannot(const std::string& what, const fs::path& path) {
  return fail(errc::unavailable, "cannot " + what + " " + path.string() + ": " + std::strerror(errno));
}

/// Whole or not at all, also if the machine stops meanwhile. `replace` false: a file that is there stays, as an error.
expected<void> write_file(const fs::path& path, const std::string& text, mode_t mode, bool replace) {
  const auto fresh = path.string() + ".new";
  ::unlink(fresh.c_str());
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0) return cannot("write", fresh);
  const bool written = ::fchmod(file, mode) == 0 &&
                       ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(file) == 0;
  const int why = errno;
  ::close(file);
  errno = why;
  const bool placed =
      written && (replace ? ::rename(fresh.c_str(), path.c_str()) == 0 : ::link(fresh.c_str(), path.c_str()) == 0);
  if (placed && !replace) ::unlink(fresh.c_str());
  if (placed) return {};
  const auto failed = cannot("write", path);
  ::unlink(fresh.c_str());
  return failed;
}

/// The folder's list, while nobody else changes it.
class ledger {
 public:
  static expected<ledger> open(const std::string& folder, bool make) {
    std::error_code problem;
    if (make) fs::create_directories(folder, problem);
    ledger opened(folder);
    opened.lock_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened.lock_ < 0)
      return fail(errc::not_found, "there is no folder of keys " + folder + ": `shoal keys new NAME` makes it");
    if (::flock(opened.lock_, LOCK_EX) != 0) return cannot("lock", folder);
    if (!fs::exists(opened.path_, problem)) return opened;
    auto book = access::access_book::open(opened.path_.string());
    if (!book) return tl::unexpected(book.error());
    opened.list = *(*book)->current();
    return opened;
  }

  ledger(ledger&& other) noexcept
      : list(std::move(other.list)),
        folder_(std::move(other.folder_)),
        path_(std::move(other.path_)),
        lock_(std::exchange(other.lock_, -1)) {}
  ~ledger() {
    if (lock_ >= 0) ::close(lock_);
  }

  expected<void> save() const { return write_file(path_, list.to_toml(), 0644, true); }
  [[nodiscard]] fs::path key_path(const std::string& name) const { return folder_ / (name + ".key"); }

  access::access_list list;

 private:
  explicit ledger(const std::string& folder) : folder_(folder), path_(folder_ / "allowed.toml") {}
  fs::path folder_, path_;
  int lock_ = -1;
};

expected<void> add_token(const keys_arguments& given, access::role role, ledger& all) {
  if (!access::is_callers(role))
    return fail(errc::invalid_argument, "a " + given.role + " has a key, not a token: leave --token out");
  const auto token = access::new_token();
  all.list.tokens.push_back({given.name, role, access::digest_of(token), given.requests_per_second, given.in_flight});
  const bool to_file = !given.out.empty() && given.out != "-";
  if (to_file)
    if (auto written = write_file(given.out, token + "\n", 0600, false); !written) return written;
  if (auto saved = all.save(); !saved) return saved;
  if (to_file) {
    std::cerr << "the token of " << given.name << " (" << given.role << ") is in " << given.out << "\n";
  } else if (given.json) {
    print_json({{"name", given.name}, {"role", given.role}, {"token", token}});
  } else {
    std::cerr << "the token of " << given.name << " (" << given.role << "), told this once:\n";
    std::cout << token << "\n";
  }
  return {};
}

expected<void> add_key(const keys_arguments& given, access::role role, ledger& all) {
  if (role == access::role::observer)
    return fail(errc::invalid_argument, "an observer reads metrics over HTTP, with a token: add --token");
  if (given.requests_per_second > 0 || given.in_flight > 0)
    return fail(errc::invalid_argument, "limits are a token's: add --token, or leave them out");
  auto pair = link::new_curve_pair();
  if (!pair) return tl::unexpected(pair.error());
  access::key_file own;
  own.name = given.name;
  own.role = role;
  own.public_key = pair->public_key;
  own.secret_key = pair->secret_key;
  own.gateways = all.list.public_keys_of(access::role::gateway);
  if (access::is_callers(role) && own.gateways.empty())
    return fail(errc::invalid_argument,
                "there is no gateway yet whom this key's holder could believe: first `shoal keys new gateway --role "
                "gateway`");
  all.list.keys.push_back({given.name, role, pair->public_key});
  if (given.out == "-") {
    if (auto saved = all.save(); !saved) return saved;
    std::cout << own.to_toml();
    return {};
  }
  const fs::path file = given.out.empty() ? all.key_path(given.name) : fs::path(given.out);
  // The file first: a key on the list that nobody has would only be in the way.
  if (auto written = write_file(file, own.to_toml(), 0600, false); !written) return written;
  if (auto saved = all.save(); !saved) {
    fs::remove(file);
    return saved;
  }
  if (given.json)
    print_json({{"name", given.name}, {"role", given.role}, {"public", pair->public_key}, {"file", file.string()}});
  else
    std::cout << "the key of " << given.name << " (" << given.role << ") is in " << file.string() << "\n";
  return {};
}

}  // namespace

expected<void> new_key(const keys_arguments& given) {
  const auto role = access::role_of(given.role);
  if (!role)
    return fail(errc::invalid_argument, "there is no role '" + given.role +
                                            "': client, observer, admin, gateway, scheduler, worker, cache, precision");
  if (auto good = check_name("a", given.name); !good) return good;
  if (!(given.requests_per_second >= 0 && given.requests_per_second <= 1e9) || given.in_flight > 1'000'000'000)
    return fail(errc::invalid_argument, "a token's limits are from 0 (none) to 1e9");
  auto all = ledger::open(given.folder, true);
  if (!all) return tl::unexpected(all.error());
  if (all->list.has_name(given.name))
    return fail(errc::invalid_argument, "'" + given.name + "' is there already: choose another name, or revoke it");
  return given.token ? add_token(given, *role, *all) : add_key(given, *role, *all);
}

expected<void> list_keys(const keys_arguments& given) {
  auto all = ledger::open(given.folder, false);
  if (!all) return tl::unexpected(all.error());
  auto list = nlohmann::ordered_json::array();
  for (const auto& each : all->list.keys)
    list.push_back(
        {{"name", each.name}, {"role", access::name_of(each.role)}, {"kind", "key"}, {"public", each.public_key}});
  for (const auto& each : all->list.tokens)
    list.push_back({{"name", each.name},
                    {"role", access::name_of(each.role)},
                    {"kind", "token"},
                    {"requests_per_second", each.requests_per_second},
                    {"in_flight", each.in_flight}});
  if (given.json) {
    print_json({{"allowed", std::move(list)}});
    return {};
  }
  for (const auto& each : list) {
    std::cout << std::left << std::setw(24) << each["name"].get<std::string>() << " " << std::setw(10)
              << each["role"].get<std::string>() << " " << std::setw(6) << each["kind"].get<std::string>();
    if (each["kind"] == "key") std::cout << each["public"].get<std::string>();
    if (each.value("requests_per_second", 0.0) > 0)
      std::cout << each["requests_per_second"].get<double>() << " requests/s ";
    if (each.value("in_flight", 0) > 0) std::cout << each["in_flight"].get<int>() << " in flight";
    std::cout << "\n";
  }
  if (list.empty()) std::cout << "nobody is allowed anything\n";
  return {};
}

expected<void> revoke_key(const keys_arguments& given) {
  auto all = ledger::open(given.folder, false);
  if (!all) return tl::unexpected(all.error());
  const auto is_it = [&](const auto& entry) { return entry.name == given.name; };
  if (std::erase_if(all->list.keys, is_it) + std::erase_if(all->list.tokens, is_it) == 0)
    return fail(errc::not_found, "nobody here is called '" + given.name + "': `shoal keys list` shows who is");
  if (auto saved = all->save(); !saved) return saved;
  if (given.json)
    print_json({{"revoked", given.name}});
  else
    std::cout << given.name << " is revoked: running services cut its connections within seconds\n";
  return {};
}

}  // namespace shoal::services
