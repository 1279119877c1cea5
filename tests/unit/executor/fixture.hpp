// The exported models of tools/export/fixtures.py with their reference results. A test that needs one fails, and says
// how to make it, if it is not there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/tensor.hpp"
#include "executor/model.hpp"

namespace shoal::test {

struct fixture_case {
  std::vector<tensor> inputs;
  std::vector<tensor> outputs;
  std::vector<double> rounding;  ///< per output: of PyTorch's fp32 against double, relative; 0: not measured
};

/// "graphs/lists" or "models/minilm"; throws std::runtime_error with advice if it does not exist.
std::filesystem::path fixture_archive(const std::string& name);
std::vector<fixture_case> fixture_cases(const std::string& name);

/// Loads a fixture that must load; throws with the reason otherwise.
std::unique_ptr<executor::model> load_fixture(const std::string& name, const executor::pass_options& passes = {});

/// Same names, types, shapes and bytes; the first difference as text, empty if there is none.
std::string difference(const std::vector<tensor>& given, const std::vector<tensor>& wanted);

/// max|given - wanted| / max|wanted| of fp32 tensors.
double relative_error(const tensor& given, const tensor& wanted);

}  // namespace shoal::test
