// The tokenizers beside the models, read when they are first needed and kept. One thread at a time: the text actor's.
#pragma once

#include <filesystem>
#include <map>
#include <memory>

#include "gateway/text/text_model.hpp"

namespace shoal::gateway {

class tokenizer_shelf {
 public:
  /// `models` is the model directory, as the workers have it; empty: there is none here, and models take token ids
  /// only.
  explicit tokenizer_shelf(std::filesystem::path models) : models_(std::move(models)) {}

  /// How that version takes text. A tokenizer.json is read again once it has changed. Errors: those of text_model_of
  /// and tokenizer::read, of which a missing file is none: the model then takes token ids only.
  expected<std::shared_ptr<const text_model>> find(const protocol::model_spec& spec);

  /// Forgets what the catalogue lists no more.
  void keep(const protocol::catalogue& models);

 private:
  struct entry {
    std::filesystem::file_time_type written;
    expected<std::shared_ptr<const text::tokenizer>> reads;  ///< or why it cannot be read
    std::shared_ptr<const text_model> model;                 ///< null: none was made yet
  };
  std::filesystem::path models_;
  std::map<std::pair<std::string, std::uint64_t>, entry> entries_;
};

}  // namespace shoal::gateway
