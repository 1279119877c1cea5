#include "executor/kernels/attention.hpp"

#include <algorithm>

#include "executor/kernels/scratch.hpp"

namespace shoal::kernels {

namespace {

/// Multiplications for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 17;

}  // namespace

bool attention_fits(const attention_sizes& sizes) noexcept {
  return sizes.depth > 0 && sizes.depth <= 128 && sizes.depth % panel_width == 0 && sizes.keys > 0 &&
         sizes.keys <= most_keys;
}

void attention(const attention_sizes& sizes, const strided& q, const strided& k, const strided& v,
               const attention_mask& mask, bool causal, float scale, float* out, const parallel& team,
               attention_numbers numbers, instruction_set which, const added_keys& added) {
  const auto heads = sizes.batch * sizes.heads;
  if (heads <= 0 || sizes.queries <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto work = std::max<std::int64_t>(1, sizes.queries * sizes.keys * sizes.depth);
  const auto useful = heads / std::max<std::int64_t>(1, std::min(heads, work_of_a_thread / work));
  const auto parts = std::clamp<std::int64_t>(useful, 1, team.threads);
  const bool narrow = numbers == attention_numbers::bf16;
  const bool of_one = sizes.queries == 1 && !causal && !narrow;
  const auto run_one = narrow ? kernels.attention_bf16 : of_one ? kernels.attention_of_one : kernels.attention;
  const auto needs =
      narrow ? attention_bf16_scratch(sizes.keys, sizes.depth) : attention_scratch(sizes.keys, sizes.depth);
  const auto each_scratch = (needs + panel_width - 1) / panel_width * panel_width;
  const auto scratches = make_scratch(each_scratch * parts);

  const auto run = [&](std::int64_t part) {
    for (auto each = heads * part / parts; each < heads * (part + 1) / parts; ++each) {
      const auto b = each / sizes.heads;
      const auto h = each % sizes.heads;
      const auto at = [&](const strided& of) { return of.data + b * of.strides[0] + h * of.strides[1]; };
      attention_task task;
      task.q = at(q);
      task.k = at(k);
      task.v = at(v);
      task.q_stride = q.strides[2];
      task.k_stride = k.strides[2];
      task.v_stride = v.strides[2];
      task.out = out + (b * sizes.queries * sizes.heads + h) * sizes.depth;
      task.out_stride = sizes.heads * sizes.depth;
      task.queries = sizes.queries;
      task.keys = sizes.keys;
      task.depth = sizes.depth;
      task.scale = scale;
      task.causal = causal;
      if (mask.data != nullptr) task.mask = mask.data + b * mask.strides[0] + h * mask.strides[1];
      task.mask_row_stride = mask.strides[2];
      task.mask_column_stride = mask.strides[3];
      task.scratch = scratches.get() + each_scratch * part;
      if (added.keys > 0) {
        task.added = added.keys;
        task.added_k = at(added.k);
        task.added_v = at(added.v);
        task.added_k_stride = added.k.strides[2];
        task.added_v_stride = added.v.strides[2];
      }
      run_one(task);
    }
  };
  if (parts == 1) return run(0);
  team.run(parts, run);
}

}  // namespace shoal::kernels
