// The inputs of requests: read from a file, or made as the model's interface says.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

struct request_options {
  std::string file_option = "--requests";  ///< as its errors name it
  std::string file;                        ///< --requests: JSON lines, each an object input name -> nested arrays
  std::vector<std::string> shapes;         ///< --shape NAME=DIMxDIM, of inputs
  std::string lengths;                     ///< --lengths: a file, one integer per line
};

/// Distinct requests, and the order in which they are sent.
struct request_set {
  std::vector<std::vector<tensor>> distinct;
  std::vector<std::size_t> order;  ///< indices into `distinct`
  std::string note;                ///< what people should know: not all of a file fits in memory
};

/// Bytes of distinct inputs that are held for one stream; what a file has beyond is left out, with a note.
inline constexpr std::size_t most_request_bytes = 128 << 20;

/// With a file: one request per line, of the types that the interface says; an input that it does not name (a server
/// that describes nothing) has the type that its elements suggest: BOOL, INT64, FP32 or BYTES. Without one: ones
/// (BYTES: the text "1") of the interface's shapes; a free first dimension is 1, another is what --lengths says, line
/// by line, or 16; both are brought into the range that the interface allows; --shape has the last word. Errors:
/// not_found (a file), invalid_argument (with the line's number), too_large.
expected<request_set> make_requests(const request_options& options, const std::string& model,
                                    const model_interface& takes, std::size_t most_bytes = most_request_bytes);

/// One line of a file. Errors: invalid_argument, too_large.
expected<std::vector<tensor>> read_request(const std::string& json, const model_interface& takes,
                                           const std::string& where);

}  // namespace shoal::services::bench
