// A run follows from its seed alone: not from where its objects lie in memory, nor from the process that runs it.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "unit/simulation/mesh.hpp"

using namespace shoal::test;

namespace {

constexpr std::uint64_t first = 101, last = 140;

std::string prints() {
  std::string text;
  for (auto seed = first; seed <= last; ++seed) {
    text += std::to_string(simulate(draw_for_safety(seed), seed).print) + " ";
    text += std::to_string(simulate(draw_for_liveness(seed), seed).print) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("a run is the same again by its seed, wherever its objects lie") {
  const auto once = prints();
  std::vector<std::unique_ptr<char[]>> in_the_way;
  for (std::size_t i = 1; i < 2000; ++i) in_the_way.push_back(std::make_unique<char[]>(i * 7 % 512 + 1));
  for (std::size_t i = 0; i < in_the_way.size(); i += 3) in_the_way[i].reset();
  CHECK(prints() == once);
  CHECK(simulate(draw_for_safety(first), first).print != simulate(draw_for_safety(first), last).print);
}

TEST_CASE("print" * doctest::skip()) { std::printf("prints:\n%s:prints\n", prints().c_str()); }

TEST_CASE("a run is the same in another process") {
  const auto told = [] {
    std::unique_ptr<FILE, int (*)(FILE*)> other(::popen("/proc/$PPID/exe -ns -tc=print", "r"), &::pclose);
    std::string text;
    std::array<char, 4096> part;
    while (const auto n = std::fread(part.data(), 1, part.size(), other.get())) text.append(part.data(), n);
    return text;
  }();
  const auto begin = told.find("prints:\n"), end = told.find(":prints");
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  CHECK(told.substr(begin + 8, end - begin - 8) == prints());
}
