#include "fuzz/read_model.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "executor/archive.hpp"
#include "executor/crc32.hpp"
#include "executor/graph_reader.hpp"
#include "executor/operators.hpp"
#include "executor/passes.hpp"
#include "executor/signature.hpp"
#include "unit/executor/archive_writer.hpp"

namespace shoal::test {

namespace {

using namespace executor;

/// A file without a name that goes with the object.
class memory_file {
 public:
  explicit memory_file(std::string_view bytes) : file_(::memfd_create("archive", MFD_CLOEXEC)) {
    if (file_ < 0) throw std::runtime_error("memfd_create failed");
    for (std::size_t done = 0; done < bytes.size();) {
      const auto written = ::write(file_, bytes.data() + done, bytes.size() - done);
      if (written <= 0) throw std::runtime_error("a memory file cannot be written");
      done += static_cast<std::size_t>(written);
    }
  }
  ~memory_file() { ::close(file_); }
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

void write(std::ostream& to, const size_expression& size) {
  to << size.linear << ' ' << size.scale << ' ' << size.offset << ' ' << size.symbol << ' ' << size.text << ',';
}

struct argument_writer {
  std::ostream& to;
  void operator()(std::monostate) const { to << "none"; }
  void operator()(reference value) const { to << '%' << value.id; }
  void operator()(std::int64_t value) const { to << value; }
  void operator()(double value) const { to << std::hexfloat << value << std::defaultfloat; }
  void operator()(bool value) const { to << (value ? "true" : "false"); }
  void operator()(const std::string& value) const { to << '"' << value << '"'; }
  void operator()(archive_dtype value) const { to << "dtype " << value.code; }
  void operator()(archive_layout value) const { to << "layout " << value.code; }
  void operator()(archive_memory_format value) const { to << "format " << value.code; }
  void operator()(const archive_device& value) const { to << "device " << value.type; }
  void operator()(const item_list& list) const {
    for (const auto& each : list.items) std::visit(*this, each), to << ' ';
  }
};

void write(std::ostream& to, const graph& from) {
  for (const auto& each : from.values) {
    to << each.name << ' ' << static_cast<int>(each.kind);
    if (each.meta) {
      to << " of " << each.meta->type.code << ": ";
      for (const auto& size : each.meta->sizes) write(to, size);
    }
    to << '\n';
  }
  for (const auto& each : from.stored) {
    to << each.id << ' ' << each.name << ' ' << each.record << ' ' << each.type.code << " at " << each.offset;
    for (const auto size : each.sizes) to << ' ' << size;
    for (const auto stride : each.strides) to << '/' << stride;
    to << '\n';
  }
  for (const auto& each : from.inputs) to << "input " << each.id << ' ' << each.name << '\n';
  for (const auto& each : from.nodes) {
    to << each.name << ' ' << each.target << '(';
    for (const auto& input : each.inputs) to << input.name << '=', std::visit(argument_writer{to}, input.value);
    to << ')';
    for (const auto& output : each.outputs)
      for (const auto id : output.values) to << (output.is_list ? " in list " : " ") << id;
    to << '\n';
  }
  for (const auto& each : from.outputs) to << "output " << each.id << ' ' << each.name << '\n';
  std::vector<std::string> ranges;
  for (const auto& [symbol, range] : from.symbols)
    ranges.push_back(symbol + ' ' + std::to_string(range.min) + ' ' + std::to_string(range.max) + '\n');
  std::sort(ranges.begin(), ranges.end());
  for (const auto& each : ranges) to << each;
}

/// Every value exists, is made once, and is made before it is read: what the program that is built relies on.
void check_order(const graph& program) {
  std::vector<bool> made(program.values.size());
  const auto make = [&](value_id id) {
    if (id >= made.size() || made[id]) throw std::logic_error("a value is made twice, or is none");
    made[id] = true;
  };
  const auto read = [&](value_id id) {
    if (id >= made.size() || !made[id]) throw std::logic_error("a value is read before it is made");
  };
  for (const auto& each : program.stored) make(each.id);
  for (const auto& each : program.inputs) make(each.id);
  for (const auto& each : program.nodes) {
    for (const auto& input : each.inputs) visit_references(input.value, read);
    for (const auto& output : each.outputs)
      for (const auto id : output.values) make(id);
  }
  for (const auto& each : program.outputs) read(each.id);
}

template <class Value>
bool accepted(const expected<Value>& result) {
  if (!result && result.error().message.empty()) throw std::logic_error("refused without a reason");
  return result.has_value();
}

void apply_passes(graph& program, bool packs) {
  functionalise(program);
  drop_no_ops(program);
  drop_dead_nodes(program);
  fuse_layer_norm(program);
  fuse_attention(program);
  pack_linear(program);
  fuse_activation(program);
  fold_batch_norms(program);
  fuse_convolutions(program, packs);
  check_order(program);
}

}  // namespace

std::optional<std::string> read_archive(std::string_view bytes) {
  const memory_file file(bytes);
  const auto opened = archive::open(file.path());
  if (!accepted(opened)) return std::nullopt;
  (void)(*opened)->fingerprint();
  std::vector<refused_part> refused;
  (void)read_graph(**opened, &refused);  // as `shoal check` does, which goes on after what it refuses
  auto program = read_graph(**opened);
  if (!accepted(program)) return std::nullopt;
  check_order(*program);
  // What is not an ATen operator is computed on numbers (`_operator.add`, `math.floor`) from a list that the program
  // has.
  for (const auto& each : program->nodes)
    if (each.target.starts_with("torch.ops.") && !accepted(check_allowed(each))) return std::nullopt;
  const auto checked = signature::read(*program);
  if (!accepted(checked)) return std::nullopt;
  accepted(checked->check({}));

  std::ostringstream text;
  for (const auto& each : program->stored)
    if (const auto record = (*opened)->text(each.record); accepted(record)) text << *record << '\n';
  write(text, *program);
  for (const bool packs : {false, true}) {
    auto changed = *program;
    apply_passes(changed, packs);
    write(text, changed);
  }
  return text.str();
}

std::optional<std::string> read_graph_texts(std::string_view texts) {
  records contents{{"archive_format", "pt2"}, {"archive_version", "0"}, {"byteorder", "little"}};
  for (const auto* name :
       {"models/model.json", "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"}) {
    const auto end = std::min(texts.find('\0'), texts.size());
    contents[name] = end == 0 ? R"({"config":{}})" : std::string(texts.substr(0, end));
    texts.remove_prefix(std::min(end + 1, texts.size()));
  }
  return read_archive(zip(contents));
}

void mend_checksums(std::string& archive) {
  const auto number = [&]<class Number>(std::size_t at, Number) {
    Number value{};
    if (at <= archive.size() && archive.size() - at >= sizeof value)
      std::memcpy(&value, archive.data() + at, sizeof value);
    return static_cast<std::size_t>(value);
  };
  for (auto at = archive.find("PK\x01\x02"); at != std::string::npos; at = archive.find("PK\x01\x02", at + 1)) {
    const auto size = number(at + 24, std::uint32_t{});
    const auto header = number(at + 42, std::uint32_t{});
    const auto data = header + 30 + number(header + 26, std::uint16_t{}) + number(header + 28, std::uint16_t{});
    if (archive.size() - at < 20 || data > archive.size() || size > archive.size() - data) continue;
    const auto crc = executor::crc32(std::as_bytes(std::span(archive).subspan(data, size)));
    std::memcpy(archive.data() + at + 16, &crc, sizeof crc);
  }
}

}  // namespace shoal::test
