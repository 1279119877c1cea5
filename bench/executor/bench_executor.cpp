// The executor's half of the bench against eager PyTorch: run.py starts it, and the two take turns in short blocks.
//
//   bench_executor ARCHIVE THREADS [DEVICE]      DEVICE: cpu (the default) | cuda:N
//
// reads commands from standard input, one a line, and answers each with one line on standard output:
//   load PASSES [PLAN]  PASSES: all | none | all-NAME | none+NAME (executor/pass_names.hpp); PLAN: a file
//                       (executor/precision_plan.hpp). Answers "nodes N exported M".
//   input FILE TYPE D.. the next input: raw bytes of FILE, its type and sizes. Answers "ok".
//   clear               forgets the inputs. Answers "ok".
//   number INPUT VALUE  an input of int64 becomes VALUE in all its elements. Answers "ok".
//   put OUTPUT INPUT DIM AT
//                       copies an output of the last `run` into an input, from index AT of its dimension DIM on: for
//                       models whose state goes round. Answers "ok".
//   block N [watched]   runs once untimed, then N times, watched: with a look at what the inputs of int8 nodes reach.
//                       Answers N times in nanoseconds.
//   run FOLDER          runs once, writes the outputs' raw bytes to FOLDER/0.bin, 1.bin, ... Answers TYPE:DxD.. for
//                       each.
// It ends with its input; an error goes to standard error and ends it with 1.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include "executor/model.hpp"
#include "executor/node_reach.hpp"
#include "executor/pass_names.hpp"
#include "executor/precision_plan.hpp"

namespace {

using namespace shoal;

int refuse(const std::string& what) {
  std::cerr << "bench_executor: " << what << '\n';
  return 1;
}

tensor read_input(std::istream& words) {
  std::string file;
  std::string type;
  words >> file >> type;
  tensor input;
  input.type = parse_dtype(type).value();
  for (std::int64_t size = 0; words >> size;) input.dims.push_back(size);
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  input.data = buffer::copy(std::as_bytes(std::span(bytes)));
  return input;
}

std::size_t volume(std::span<const std::int64_t> sizes) {
  std::size_t count = 1;
  for (const auto size : sizes) count *= static_cast<std::size_t>(size);
  return count;
}

tensor filled(const tensor& like, std::int64_t value) {
  auto made = like;
  made.data = buffer::make(like.data.size(), [&](std::byte* to) {
    std::fill_n(reinterpret_cast<std::int64_t*>(to), like.data.size() / sizeof value, value);
  });
  return made;
}

/// `into` with `part` from index `at` of dimension `dim` on; nothing if it does not fit there.
std::optional<tensor> with_part(const tensor& into, const tensor& part, std::size_t dim, std::size_t at) {
  if (part.type != into.type || part.dims.size() != into.dims.size() || dim >= into.dims.size()) return std::nullopt;
  const std::span sizes(into.dims);
  const std::span part_sizes(part.dims);
  const auto outer = volume(sizes.first(dim));
  const auto bytes = into.data.size() / std::max<std::size_t>(1, volume(sizes.first(dim + 1)));
  const auto length = bytes * volume(part_sizes.subspan(dim, 1));
  const auto whole = bytes * volume(sizes.subspan(dim, 1));
  if (outer * length != part.data.size() || at * bytes + length > whole) return std::nullopt;
  auto made = into;
  made.data = buffer::make(into.data.size(), [&](std::byte* to) {
    std::memcpy(to, into.data.data(), into.data.size());
    for (std::size_t i = 0; i < outer; ++i)
      std::memcpy(to + i * whole + at * bytes, part.data.data() + i * length, length);
  });
  return made;
}

bool write_outputs(std::span<const tensor> outputs, const std::string& folder) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& each = outputs[i];
    std::ofstream file(folder + "/" + std::to_string(i) + ".bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(each.data.data()), static_cast<std::streamsize>(each.data.size()));
    if (!file.flush()) return false;
    std::cout << name_of(each.type) << ':';
    for (std::size_t d = 0; d < each.dims.size(); ++d) std::cout << (d == 0 ? "" : "x") << each.dims[d];
    std::cout << ' ';
  }
  return true;
}

}  // namespace

int main(int count, char** values) {
  if (count != 3 && count != 4)
    return refuse("usage: bench_executor ARCHIVE THREADS [DEVICE]; run bench/executor/run.py instead");
  executor::set_compute_threads(std::stoi(values[2]));
  const auto device = executor::device::parse(count == 4 ? values[3] : "cpu");
  if (!device) return refuse(device.error().message);
  std::unique_ptr<executor::model> model;
  std::vector<tensor> inputs;
  std::vector<tensor> outputs;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "load") {
      std::string passes;
      std::string plan;
      words >> passes >> plan;
      std::optional<executor::precision_plan> planned;
      if (!plan.empty()) {
        auto read = executor::read_plan(plan);
        if (!read) return refuse(read.error().message);
        planned = *std::move(read);
      }
      const auto chosen = executor::parse_passes(passes);
      if (!chosen) return refuse(chosen.error().message);
      auto loaded = executor::model::load(values[1], *chosen, nullptr, *device, planned ? &*planned : nullptr);
      if (!loaded) return refuse(loaded.error().message);
      model = *std::move(loaded);
      const auto figures = model->describe();
      std::cout << "nodes " << figures.nodes << " exported " << figures.nodes_exported << std::endl;
    } else if (command == "input") {
      inputs.push_back(read_input(words));
      std::cout << "ok" << std::endl;
    } else if (command == "clear") {
      inputs.clear();
      std::cout << "ok" << std::endl;
    } else if (command == "number") {
      std::size_t input = 0;
      std::int64_t value = 0;
      words >> input >> value;
      if (input >= inputs.size() || inputs[input].type != dtype::int64) return refuse("no such input of int64");
      inputs[input] = filled(inputs[input], value);
      std::cout << "ok" << std::endl;
    } else if (command == "put") {
      std::size_t output = 0;
      std::size_t input = 0;
      std::size_t dim = 0;
      std::size_t at = 0;
      words >> output >> input >> dim >> at;
      if (output >= outputs.size() || input >= inputs.size()) return refuse("no such output or input");
      auto made = with_part(inputs[input], outputs[output], dim, at);
      if (!made) return refuse("the output does not fit into the input");
      inputs[input] = *std::move(made);
      std::cout << "ok" << std::endl;
    } else if (command == "block") {
      int rounds = 0;
      std::string watched;
      words >> rounds >> watched;
      executor::reaches seen;
      for (int round = -1; round < rounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        const auto result = model->run(inputs, watched.empty() ? nullptr : &seen);
        const auto end = std::chrono::steady_clock::now();
        if (!result) return refuse(result.error().message);
        if (round >= 0) std::cout << std::chrono::nanoseconds(end - begin).count() << ' ';
      }
      std::cout << std::endl;
    } else if (command == "run") {
      std::string folder;
      words >> folder;
      auto result = model->run(inputs);
      if (!result) return refuse(result.error().message);
      outputs = *std::move(result);
      if (!write_outputs(outputs, folder)) return refuse("cannot write to " + folder);
      std::cout << std::endl;
    } else {
      return refuse("unknown command " + command);
    }
  }
  return 0;
}
