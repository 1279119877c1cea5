#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "scheduler/latency_profile.hpp"

namespace shoal::scheduler {

using nlohmann::json;

namespace {

constexpr int format = 1;

json to_json(const profile_book::key& key, const latency_profile& profile) {
  json cells = json::array();
  for (const auto& [where, cell] : profile.cells())
    cells.push_back({where.first, where.second, cell.mean, cell.deviation, cell.count});
  const auto& fit = profile.fit();
  return {{"model", std::get<0>(key)},
          {"version", std::get<1>(key)},
          {"device", std::get<2>(key)},
          {"cells", std::move(cells)},
          {"fit", {fit.weight, fit.tokens, fit.seconds, fit.tokens_squared, fit.tokens_seconds}}};
}

}  // namespace

latency_profile& profile_book::of(const std::string& model, std::uint64_t version, const std::string& device) {
  return profiles_[{model, version, device}];
}

void profile_book::prune(const std::function<bool(const std::string&, std::uint64_t)>& lives, std::size_t most) {
  std::vector<std::pair<double, key>> gone;
  for (const auto& [key, profile] : profiles_)
    if (!lives(std::get<0>(key), std::get<1>(key))) gone.emplace_back(profile.fit().weight, key);
  std::sort(gone.rbegin(), gone.rend());
  for (auto at = most; at < gone.size(); ++at) profiles_.erase(gone[at].second);
}

std::string profile_book::to_text() const {
  json profiles = json::array();
  for (const auto& [key, profile] : profiles_)
    if (!profile.empty()) profiles.push_back(to_json(key, profile));
  return json{{"shoal_profiles", format}, {"profiles", std::move(profiles)}}.dump(1) + "\n";
}

expected<profile_book> profile_book::from_text(const std::string& text) {
  profile_book book;
  try {
    const auto document = json::parse(text);
    if (document.at("shoal_profiles").get<int>() != format)
      return fail(errc::corrupt, "it is of another format than this release writes");
    for (const auto& entry : document.at("profiles")) {
      std::map<latency_profile::bucket, latency_profile::cell> cells;
      for (const auto& cell : entry.at("cells"))
        cells[{cell.at(0).get<int>(), cell.at(1).get<int>()}] = {cell.at(2).get<double>(), cell.at(3).get<double>(),
                                                                 cell.at(4).get<std::uint64_t>()};
      const auto& fit = entry.at("fit");
      auto profile = latency_profile::from(std::move(cells),
                                           {fit.at(0).get<double>(), fit.at(1).get<double>(), fit.at(2).get<double>(),
                                            fit.at(3).get<double>(), fit.at(4).get<double>()});
      if (!profile) return tl::unexpected(profile.error());
      book.of(entry.at("model").get<std::string>(), entry.at("version").get<std::uint64_t>(),
              entry.at("device").get<std::string>()) = std::move(*profile);
    }
  } catch (const json::exception& wrong) {
    return fail(errc::corrupt, wrong.what());
  }
  return book;
}

}  // namespace shoal::scheduler
