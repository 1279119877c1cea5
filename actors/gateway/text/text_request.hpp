// Text as requests carry it: one input of BYTES instead of the model's own inputs. /v1/embeddings and the SDKs make it.
//
//   text       BYTES [n] or [n, 1]   n texts in UTF-8, or
//   token_ids  BYTES [n] or [n, 1]   n lists of ids, each as little-endian int64
//   truncate   BOOL [1], optional    true: what is longer than the model takes is cut; else it is refused
//
// The mesh's own protocol and the doors of Open Inference Protocol know the sizes of all tensors, so BYTES come through
// them as what they are made of: UINT8 [size], each element a u32 length, little endian, and its bytes.
//
// Answered with those outputs of the model that have one row per text, and with `token_counts`, INT64 [n]: ids per
// text, special ones included. The gateway reads text, so the mesh behind it sees token ids only.
#pragma once

#include <string_view>
#include <vector>

#include "protocol/messages.hpp"

namespace shoal::gateway {

inline constexpr std::string_view text_input = "text";
inline constexpr std::string_view token_ids_input = "token_ids";
inline constexpr std::string_view truncate_input = "truncate";
inline constexpr std::string_view token_counts_output = "token_counts";

/// Of one request; longer lists are for the SDKs to part.
inline constexpr std::size_t most_texts = 4096;

struct text_list {
  std::vector<std::string_view> elements;  ///< within the request's tensor
  bool are_ids = false;
  bool truncates = false;
};

/// Whether the request brings text, for a model that has no such input itself.
bool carries_text(const protocol::infer& request, const protocol::model_spec& spec);

/// Errors: invalid_argument, naming the input and the element.
expected<text_list> read_text(const protocol::infer& request);

/// A tensor of BYTES, [elements]; `UINT8`, [size], with `native`.
tensor bytes_tensor(std::string_view name, const std::vector<std::string_view>& elements, bool native = false);

}  // namespace shoal::gateway
