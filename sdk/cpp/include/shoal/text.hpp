// Text in, vectors out, for models that were imported with their tokenizer (`shoal import --tokenizer`). The mesh reads
// the text; nothing of it is done here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/inference.hpp"

namespace shoal::client {

/// The most texts of one request; `mesh::embed` parts longer lists.
inline constexpr std::size_t most_texts = 4096;

/// A request that carries text (UTF-8). Its result has the model's outputs with one row per text, and `token_counts`,
/// int64 [texts]. `truncate`: texts that are longer than the model takes are cut; otherwise they are refused.
SHOAL_CLIENT_API request text_request(std::string model, std::span<const std::string_view> texts,
                                      bool truncate = false);

/// The first output that is a vector of fp32 for each of so many texts; null: the model gives no embeddings.
SHOAL_CLIENT_API const tensor* embeddings_of(const result& given, std::size_t texts);

struct embed_options {
  std::uint64_t version = 0;  ///< zero: the highest that is ready
  bool truncate = false;
  std::size_t batch = 1024;  ///< texts of one request, 1 to most_texts; they are sorted by length together
  std::size_t window = 3;    ///< requests in flight, so that all workers have some
  /// Of each request; zero: a minute.
  std::chrono::milliseconds deadline{0};
  client::priority priority = client::priority::standard;
  /// Called on the caller's thread as texts are done.
  std::function<void(std::size_t done, std::size_t total)> progress{};
};

struct embeddings {
  std::vector<float> values;  ///< [rows, width], row-major
  std::size_t rows = 0;
  std::size_t width = 0;
  std::vector<std::int64_t> token_counts;  ///< per text, special tokens included
  std::string model;
  std::uint64_t version = 0;
  std::string plan;  ///< result::plan of the last request

  [[nodiscard]] std::span<const float> operator[](std::size_t row) const {
    return std::span(values).subspan(row * width, width);
  }
};

}  // namespace shoal::client
