// The executor's half of the bench against eager PyTorch: run.py starts it, and the two take turns in short blocks.
//
//   bench_executor ARCHIVE THREADS [DEVICE]      DEVICE: cpu (the default) | cuda:N
//
// reads commands from standard input, one a line, and answers each with one line on standard output:
//   load PASSES [PLAN]  PASSES: all | none | all-NAME | none+NAME (worker/pass_names.hpp); PLAN: a file
//                       (worker/executor/precision_plan.hpp). Answers "nodes N exported M".
//   input FILE TYPE D.. the next input: raw bytes of FILE, its type and sizes. Answers "ok".
//   clear               forgets the inputs. Answers "ok".
//   block N             runs once untimed, then N times. Answers N times in nanoseconds.
//   run FOLDER          runs once, writes the outputs' raw bytes to FOLDER/0.bin, 1.bin, ... Answers TYPE:DxD.. for
//                       each.
// It ends with its input; an error goes to standard error and ends it with 1.
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include "worker/executor/precision_plan.hpp"
#include "worker/model.hpp"
#include "worker/pass_names.hpp"

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
  worker::set_compute_threads(std::stoi(values[2]));
  const auto device = worker::device::parse(count == 4 ? values[3] : "cpu");
  if (!device) return refuse(device.error().message);
  std::unique_ptr<worker::model> model;
  std::vector<tensor> inputs;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "load") {
      std::string passes;
      std::string plan;
      words >> passes >> plan;
      std::optional<worker::executor::precision_plan> planned;
      if (!plan.empty()) {
        auto read = worker::executor::read_plan(plan);
        if (!read) return refuse(read.error().message);
        planned = *std::move(read);
      }
      const auto chosen = worker::parse_passes(passes);
      if (!chosen) return refuse(chosen.error().message);
      auto loaded = worker::model::load(values[1], *chosen, nullptr, *device, planned ? &*planned : nullptr);
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
    } else if (command == "block") {
      int rounds = 0;
      words >> rounds;
      for (int round = -1; round < rounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        const auto result = model->run(inputs);
        const auto end = std::chrono::steady_clock::now();
        if (!result) return refuse(result.error().message);
        if (round >= 0) std::cout << std::chrono::nanoseconds(end - begin).count() << ' ';
      }
      std::cout << std::endl;
    } else if (command == "run") {
      std::string folder;
      words >> folder;
      const auto outputs = model->run(inputs);
      if (!outputs) return refuse(outputs.error().message);
      if (!write_outputs(*outputs, folder)) return refuse("cannot write to " + folder);
      std::cout << std::endl;
    } else {
      return refuse("unknown command " + command);
    }
  }
  return 0;
}
