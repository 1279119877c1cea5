// The checks that every request passes before anything is done for it, whatever door it came through. The one place
// where a model's spec and a stranger's request are compared.
#pragma once

#include <string_view>

#include "protocol/messages.hpp"

namespace shoal::gateway {

/// The models of the mesh as a gateway knows them.
struct model_list : protocol::catalogue {
  /// A scheduler has listed some since the gateway's start; until then none can be said to be missing.
  bool is_known = false;
};

/// The spec, in `models`, that a request for `name` and `version` (0: the highest that is ready) is served by.
/// Errors: invalid_argument (a name that no model can have), not_found (what there is instead), unavailable (loading,
/// or no models are known yet: retry; failed to load: the reason).
expected<const protocol::model_spec*> find_model(const model_list& models, std::string_view name,
                                                 std::uint64_t version);

/// Compares the inputs with the spec: names, dtypes, ranks, ranges, equal sizes for equal symbols, bytes; and the names
/// of the outputs wanted. Brings the inputs into the spec's order. Errors: invalid_argument, naming the tensor.
expected<void> admit(const protocol::model_spec& spec, protocol::infer& request);

/// Compares an answer with the spec and with the request it is for, as `admit` left it: which outputs, their dtypes,
/// ranks, fixed sizes, sizes that a symbol of the inputs determines, bytes. A client must not be given what the model
/// cannot have said. Errors: internal, naming the output.
expected<void> check_answer(const protocol::model_spec& spec, const protocol::infer& request,
                            const std::vector<tensor>& outputs);

}  // namespace shoal::gateway
