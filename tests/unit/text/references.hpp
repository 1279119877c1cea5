// The ids that the library `tokenizers` gives, as tools/export/tokenizer_references.py wrote them. A test that needs
// them fails, and says how to make them, if they are not there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace shoal::test {

/// The folders with a tokenizer.json. This and the others throw std::runtime_error with advice.
std::vector<std::filesystem::path> reference_tokenizers();
std::vector<std::string> reference_texts();
/// For each of the texts.
std::vector<std::vector<std::int64_t>> reference_ids(const std::filesystem::path& folder);

}  // namespace shoal::test
