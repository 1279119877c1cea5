// One thread encodes the lines of a file again and again:
//
//   bench_text TOKENIZER.json FILE SECONDS
//
// writes one JSON object to standard output: the median speed over passes (`mb_per_s`, of 10^6 bytes of text), the
// speed of each pass, the number of ids in one. An error goes to standard error and ends it with 1.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>

#include <nlohmann/json.hpp>

#include "text/tokenizer.hpp"

namespace {

using namespace shoal;

int refuse(const std::string& what) {
  std::cerr << "bench_text: " << what << '\n';
  return 1;
}

std::vector<std::string> lines_of(const char* file) {
  std::vector<std::string> lines;
  std::ifstream stream(file, std::ios::binary);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

int main(int count, char** values) {
  if (count != 4) return refuse("usage: bench_text TOKENIZER.json FILE SECONDS");
  const auto tokenizer = text::tokenizer::read(values[1]);
  if (!tokenizer) return refuse(tokenizer.error().message);
  const auto lines = lines_of(values[2]);
  if (lines.empty()) return refuse(std::string("no lines in ") + values[2]);
  using clock = std::chrono::steady_clock;
  const auto until = clock::now() + std::chrono::duration<double>(std::stod(values[3]));
  std::vector<double> speeds;
  std::size_t ids = 0;
  while (speeds.size() < 3 || clock::now() < until) {
    std::size_t bytes = 0;
    ids = 0;
    const auto begin = clock::now();
    for (const auto& line : lines) {
      const auto encoded = (*tokenizer)->encode(line);
      if (!encoded) return refuse(encoded.error().message);
      bytes += line.size();
      ids += encoded->ids.size();
    }
    const std::chrono::duration<double> took = clock::now() - begin;
    speeds.push_back(static_cast<double>(bytes) / took.count() / 1e6);
  }
  const nlohmann::json passes = speeds;
  std::nth_element(speeds.begin(), speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2), speeds.end());
  const nlohmann::json all{
      {"mb_per_s", speeds[speeds.size() / 2]}, {"passes", passes}, {"ids", ids}, {"lines", lines.size()}};
  std::cout << all.dump() << std::endl;
  return 0;
}
