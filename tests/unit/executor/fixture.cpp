#include "unit/executor/fixture.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace shoal::test {

namespace {

std::filesystem::path folder_of(const std::string& name) {
  const char* chosen = std::getenv("SHOAL_FIXTURES");
  const auto folder = std::filesystem::path(chosen != nullptr ? chosen : SHOAL_FIXTURES) / name / "1";
  if (!std::filesystem::exists(folder / "model.pt2"))
    throw std::runtime_error("no exported model in " + folder.string() + ": run `make fixtures`");
  return folder;
}

buffer read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw std::runtime_error("cannot read " + file.string() + ": run `make fixtures`");
  return buffer::copy(std::as_bytes(std::span(bytes)));
}

std::vector<tensor> read_tensors(const std::filesystem::path& folder, const nlohmann::json& listed) {
  std::vector<tensor> tensors;
  for (const auto& each : listed)
    tensors.push_back({each.at("name").get<std::string>(), parse_dtype(each.at("type").get<std::string>()).value(),
                       each.at("shape").get<shape>(), read(folder / each.at("file").get<std::string>())});
  return tensors;
}

}  // namespace

std::filesystem::path fixture_archive(const std::string& name) { return folder_of(name) / "model.pt2"; }

std::vector<fixture_case> fixture_cases(const std::string& name) {
  const auto folder = folder_of(name) / "reference";
  std::ifstream stream(folder / "cases.json");
  std::vector<fixture_case> cases;
  const auto parsed = nlohmann::json::parse(stream);
  for (const auto& each : parsed.at("cases")) {
    cases.push_back({read_tensors(folder, each.at("inputs")), read_tensors(folder, each.at("outputs")), {}});
    for (const auto& output : each.at("outputs")) cases.back().rounding.push_back(output.value("rounding", 0.0));
  }
  return cases;
}

std::unique_ptr<executor::model> load_fixture(const std::string& name, const executor::pass_options& passes) {
  auto loaded = executor::model::load(fixture_archive(name), passes);
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return *std::move(loaded);
}

std::string difference(const std::vector<tensor>& given, const std::vector<tensor>& wanted) {
  if (given.size() != wanted.size())
    return std::to_string(given.size()) + " tensors instead of " + std::to_string(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& a = given[i];
    const auto& b = wanted[i];
    if (a.name != b.name) return "tensor " + std::to_string(i) + " is named " + a.name + " instead of " + b.name;
    if (a.type != b.type) return a.name + " has type " + std::string(name_of(a.type));
    if (a.dims != b.dims) return a.name + " has shape " + to_string(a.dims) + " instead of " + to_string(b.dims);
    if (a.data.size() != b.data.size()) return a.name + " has " + std::to_string(a.data.size()) + " bytes";
    if (std::memcmp(a.data.data(), b.data.data(), b.data.size()) != 0) return a.name + " has other bytes";
  }
  return {};
}

double relative_error(const tensor& given, const tensor& wanted) {
  if (given.type != dtype::fp32 || given.dims != wanted.dims) return INFINITY;
  double error = 0;
  double largest = 0;
  for (std::size_t at = 0; at < wanted.data.size(); at += sizeof(float)) {
    float a = 0;
    float b = 0;
    std::memcpy(&a, given.data.data() + at, sizeof a);
    std::memcpy(&b, wanted.data.data() + at, sizeof b);
    if (std::isnan(a) != std::isnan(b)) return INFINITY;
    error = std::max(error, std::abs(static_cast<double>(a) - b));
    largest = std::max(largest, std::abs(static_cast<double>(b)));
  }
  return largest > 0 ? error / largest : error;
}

}  // namespace shoal::test
