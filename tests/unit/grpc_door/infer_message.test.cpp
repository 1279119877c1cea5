// Requests as bytes: what is understood, and each way in which it can be wrong.
#include "gateway/grpc_door/infer_message.hpp"

#include <random>

#include <doctest/doctest.h>

#include "core/compression.hpp"
#include "gateway/grpc_door/log.hpp"
#include "gateway/grpc_door/message_bytes.hpp"
#include "gateway/grpc_door/wire_parts.hpp"
#include "gateway/open_inference.hpp"
#include "unit/grpc_door/running_door.hpp"

using namespace shoal;
using namespace shoal::gateway::grpc_door;

namespace {

buffer bytes_of(const std::string& text) { return buffer::copy(std::as_bytes(std::span(text))); }

expected<protocol::infer> read(const inference::ModelInferRequest& message) {
  std::string id;
  return read_infer(bytes_of(message.SerializeAsString()), id);
}

void refuses(const inference::ModelInferRequest& message, std::string_view reason, errc code = errc::invalid_argument) {
  const auto got = read(message);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == code);
  CHECK_MESSAGE(got.error().message.find(reason) != std::string::npos, got.error().message);
}

/// identity, x: FP32 [1, 4], raw.
inference::ModelInferRequest good() { return test::identity_request(); }

/// One input of that type and of `elements` elements, spelled out by `fill`.
template <class Fill>
expected<protocol::infer> spelled(const char* type, int elements, Fill&& fill) {
  auto message = good();
  message.clear_raw_input_contents();
  auto& input = *message.mutable_inputs(0);
  input.set_datatype(type);
  input.set_shape(1, elements);
  fill(*input.mutable_contents());
  return read(message);
}

template <class T>
std::vector<T> elements_of(const expected<protocol::infer>& request) {
  REQUIRE(request);
  const auto& data = request->inputs.at(0).data;
  std::vector<T> all(data.size() / sizeof(T));
  std::memcpy(all.data(), data.data(), data.size());
  return all;
}

}  // namespace

TEST_CASE("a request is read with all that it says, its raw tensors where they lie") {
  auto message = good();
  message.set_model_version("7");
  message.set_id("mine");
  (*message.mutable_parameters())["timeout"].set_int64_param(1500);
  (*message.mutable_parameters())["unknown"].set_string_param("ignored");
  message.add_outputs()->set_name("y");
  const auto bytes = bytes_of(message.SerializeAsString());
  std::string id;
  const auto request = read_infer(bytes, id);
  REQUIRE(request);
  CHECK(id == "mine");
  CHECK(request->model == "identity");
  CHECK(request->version == 7);
  CHECK(request->time_left == protocol::microseconds(1500));
  CHECK(request->outputs == std::vector<std::string>{"y"});
  REQUIRE(request->inputs.size() == 1);
  CHECK(request->inputs[0].name == "x");
  CHECK(request->inputs[0].type == dtype::fp32);
  CHECK(request->inputs[0].dims == shape{1, 4});
  CHECK(request->inputs[0].data.data() > bytes.data());  // a slice, no copy
  CHECK(request->inputs[0].data.data() + 16 <= bytes.data() + bytes.size());
}

TEST_CASE("fields may come in any order, as protobuf allows") {
  auto message = good();
  auto raw = message;
  raw.clear_inputs();
  raw.clear_model_name();
  message.clear_raw_input_contents();
  std::string id;
  const auto request = read_infer(bytes_of(raw.SerializeAsString() + message.SerializeAsString()), id);
  REQUIRE(request);
  CHECK(request->inputs.at(0).data.size() == 16);
}

TEST_CASE("elements that are spelled out become bytes of their type") {
  CHECK(elements_of<float>(spelled("FP32", 2, [](auto& all) {
          all.add_fp32_contents(1.5F);
          all.add_fp32_contents(-2);
        })) == std::vector<float>{1.5F, -2});
  CHECK(elements_of<double>(spelled("FP64", 1, [](auto& all) { all.add_fp64_contents(0.1); })) ==
        std::vector<double>{0.1});
  CHECK(elements_of<std::int8_t>(spelled("INT8", 1, [](auto& all) { all.add_int_contents(-128); })) ==
        std::vector<std::int8_t>{-128});
  CHECK(elements_of<std::int16_t>(spelled("INT16", 1, [](auto& all) { all.add_int_contents(32767); })) ==
        std::vector<std::int16_t>{32767});
  CHECK(elements_of<std::int32_t>(spelled("INT32", 1, [](auto& all) { all.add_int_contents(-5); })) ==
        std::vector<std::int32_t>{-5});
  CHECK(elements_of<std::int64_t>(spelled("INT64", 1, [](auto& all) { all.add_int64_contents(INT64_MIN); })) ==
        std::vector<std::int64_t>{INT64_MIN});
  CHECK(elements_of<std::uint8_t>(spelled("UINT8", 1, [](auto& all) { all.add_uint_contents(255); })) ==
        std::vector<std::uint8_t>{255});
  CHECK(elements_of<std::uint16_t>(spelled("UINT16", 1, [](auto& all) { all.add_uint_contents(65535); })) ==
        std::vector<std::uint16_t>{65535});
  CHECK(elements_of<std::uint32_t>(spelled("UINT32", 1, [](auto& all) { all.add_uint_contents(UINT32_MAX); })) ==
        std::vector<std::uint32_t>{UINT32_MAX});
  CHECK(elements_of<std::uint64_t>(spelled("UINT64", 1, [](auto& all) { all.add_uint64_contents(UINT64_MAX); })) ==
        std::vector<std::uint64_t>{UINT64_MAX});
  CHECK(elements_of<std::uint8_t>(spelled("BOOL", 2, [](auto& all) {
          all.add_bool_contents(true);
          all.add_bool_contents(false);
        })) == std::vector<std::uint8_t>{1, 0});
}

TEST_CASE("elements that are no values of the type, too many, too few or elsewhere are refused") {
  const auto why = [](const expected<protocol::infer>& got) { return got ? "taken" : got.error().message; };
  const auto says = [&](const expected<protocol::infer>& got, const std::string& reason) {
    CHECK_MESSAGE(why(got).find(reason) != std::string::npos, why(got));
  };
  says(spelled("INT8", 1, [](auto& all) { all.add_int_contents(128); }), "element 0 is 128, which is no value of INT8");
  says(spelled("UINT8", 1, [](auto& all) { all.add_uint_contents(256); }), "no value of UINT8");
  says(spelled("INT16", 1, [](auto& all) { all.add_int_contents(-32769); }), "no value of INT16");
  says(spelled("FP32", 2, [](auto& all) { all.add_fp32_contents(1); }), "has 1 elements");
  says(spelled("FP32", 1, [](auto& all) { all.add_fp64_contents(1); }), "has 0 elements");
  says(spelled("FP32", 1,
               [](auto& all) {
                 all.add_fp32_contents(1);
                 all.add_int_contents(1);
               }),
       "int_contents is filled");
  says(spelled("FP16", 1, [](auto& all) { all.add_fp32_contents(1); }), "raw_input_contents only");
  says(spelled("BF16", 1, [](auto& all) { all.add_fp32_contents(1); }), "raw_input_contents only");
  says(spelled("BYTES", 1, [](auto& all) { all.add_bytes_contents("text"); }), "BYTES");
}

TEST_CASE("every field that can be wrong has an error that names it") {
  auto message = good();
  message.clear_inputs();
  refuses(message, "inputs: there must be at least one");
  (message = good()).mutable_inputs(0)->clear_name();
  refuses(message, "inputs[0].name: is missing");
  (message = good()).mutable_inputs(0)->set_datatype("FLOAT");
  refuses(message, "inputs[0].datatype: there is no type 'FLOAT'");
  (message = good()).mutable_inputs(0)->set_datatype("BYTES");
  refuses(message, "inputs[0].datatype: BYTES");
  (message = good()).mutable_inputs(0)->set_shape(0, -1);
  refuses(message, "inputs[0].shape: sizes must not be negative");
  (message = good()).mutable_inputs(0)->set_shape(0, INT64_MAX);
  refuses(message, "inputs[0].shape");
  message = good();
  for (int i = 0; i < 17; ++i) message.mutable_inputs(0)->add_shape(1);
  refuses(message, "dimensions: are more than 16");
  (message = good()).mutable_inputs(0)->set_shape(1, 5);
  refuses(message, "inputs[0]: its raw_input_contents has 16 bytes, but FP32 of shape [1, 5] has 20");
  (message = good()).add_raw_input_contents("");
  refuses(message, "raw_input_contents: has 2 entries for 1 inputs");
  (message = good()).mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  refuses(message, "inputs[0]: has contents");
  (message = good()).set_model_version("latest");
  refuses(message, "version is a positive whole number");
  (message = good()).add_outputs();
  refuses(message, "outputs[0].name: is missing");
  (*(message = good()).mutable_parameters())["timeout"].set_int64_param(-1);
  refuses(message, "timeout: must be a whole number");
  (*(message = good()).mutable_parameters())["timeout"].set_string_param("1");
  refuses(message, "timeout: must be a whole number");
}

TEST_CASE("a priority is a number as clients of other servers have it, or a class") {
  const auto read_with = [](auto&& set) {
    auto message = good();
    set((*message.mutable_parameters())["priority"]);
    return read(message);
  };
  CHECK(read(good())->priority == protocol::priority::standard);
  for (const auto& [number, wanted] : {std::pair(0, protocol::priority::standard),
                                       {1, protocol::priority::critical},
                                       {2, protocol::priority::standard},
                                       {3, protocol::priority::batch}}) {
    CHECK(read_with([&](auto& value) { value.set_uint64_param(static_cast<std::uint64_t>(number)); })->priority ==
          wanted);
    CHECK(read_with([&](auto& value) { value.set_int64_param(number); })->priority == wanted);
  }
  CHECK(read_with([](auto& value) { value.set_uint64_param(UINT64_MAX); })->priority == protocol::priority::batch);
  CHECK(read_with([](auto& value) { value.set_string_param("critical"); })->priority == protocol::priority::critical);
  CHECK_FALSE(read_with([](auto& value) { value.set_string_param("urgent"); }));
  CHECK_FALSE(read_with([](auto& value) { value.set_int64_param(-1); }));
  CHECK_FALSE(read_with([](auto& value) { value.set_bool_param(true); }));
}

TEST_CASE("shared memory and classification are refused, and no name of theirs comes back") {
  auto message = good();
  (*message.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("secret_region");
  refuses(message, "shared memory is not offered");
  CHECK(read(message).error().message.find("secret") == std::string::npos);
  message = good();
  message.add_outputs()->set_name("y");
  (*message.mutable_outputs(0)->mutable_parameters())["classification"].set_int64_param(3);
  refuses(message, "classification is not offered");
  message = good();
  (*message.mutable_parameters())["shared_memory_offset"].set_int64_param(3);
  refuses(message, "shared memory is not offered");
}

TEST_CASE("what would take much more memory than its bytes is refused before it is parsed") {
  const auto many = [](auto&& add) {
    auto message = good();
    for (int i = 0; i < 300; ++i) add(message);
    return message;
  };
  refuses(many([](auto& message) { message.add_inputs(); }), "inputs: are more than 256");
  refuses(many([](auto& message) { message.add_outputs(); }), "outputs: are more than 256");
  refuses(many([](auto& message) { message.add_raw_input_contents(); }), "raw_input_contents: are more than 256");
  refuses(many([](auto& message) {
            (*message.mutable_parameters())[std::to_string(message.parameters_size())].set_bool_param(true);
          }),
          "parameters: are more than 64");
  refuses(many([](auto& message) {
            auto& all = *message.mutable_inputs(0)->mutable_parameters();
            all[std::to_string(all.size())].set_bool_param(true);
          }),
          "inputs: parameters: are more than 64");
  auto message = good();
  message.mutable_inputs(0)->mutable_contents()->add_bytes_contents("");
  refuses(message, "bytes_contents");
  message = good();
  message.set_id(std::string(most_field_bytes, 'x'));
  refuses(message, "send large tensors as raw_input_contents", errc::too_large);
}

TEST_CASE("names that are not UTF-8 are refused") {
  log_as_we_do();
  auto bytes = good().SerializeAsString();
  bytes[bytes.find("identity")] = '\xff';
  std::string id;
  const auto got = read_infer(bytes_of(bytes), id);
  REQUIRE_FALSE(got);
  CHECK(got.error().message.find("UTF-8") != std::string::npos);
}

TEST_CASE("ten thousand mutated messages are read or refused, and nothing else") {
  log_as_we_do();
  std::mt19937 random(20260711);
  const auto whole = good().SerializeAsString();
  std::size_t refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    auto bytes = whole;
    for (auto flips = random() % 4 + 1; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 3 == 0) bytes.resize(random() % bytes.size());
    std::string id;
    const auto got = read_infer(bytes_of(bytes), id);
    refused += got ? 0 : 1;
    if (got)
      for (const auto& input : got->inputs) CHECK(input.data.size() == byte_size(input.type, input.dims).value());
  }
  CHECK(refused > 5'000);
}

TEST_CASE("an answer is a ModelInferResponse whose tensors are the outcome's own bytes") {
  protocol::outcome outcome;
  outcome.model = "m";
  outcome.version = 3;
  outcome.result = std::vector<tensor>{{"y", dtype::fp32, {2}, bytes_of("12345678")}, {"empty", dtype::int8, {0}, {}}};
  const auto text_of = [](const grpc::ByteBuffer& bytes) {
    std::vector<grpc::Slice> slices;
    REQUIRE(bytes.Dump(&slices).ok());
    std::string text;
    for (const auto& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return text;
  };
  inference::ModelInferResponse answer;
  REQUIRE(answer.ParseFromString(text_of(to_response(outcome, "id"))));
  CHECK(answer.model_name() == "m");
  CHECK(answer.model_version() == "3");
  CHECK(answer.id() == "id");
  REQUIRE(answer.outputs_size() == 2);
  CHECK(answer.outputs(0).datatype() == "FP32");
  CHECK(answer.outputs(0).shape(0) == 2);
  REQUIRE(answer.raw_output_contents_size() == 2);
  CHECK(answer.raw_output_contents(0) == "12345678");
  CHECK(answer.raw_output_contents(1).empty());

  inference::ModelStreamInferResponse streamed;
  REQUIRE(streamed.ParseFromString(text_of(to_stream_response(outcome, "id"))));
  CHECK(streamed.error_message().empty());
  CHECK(streamed.infer_response().raw_output_contents(0) == "12345678");
  CHECK(streamed.infer_response().parameters().at("triton_final_response").bool_param());
  REQUIRE(streamed.ParseFromString(text_of(to_stream_error({errc::not_found, "none such"}, "id"))));
  CHECK(streamed.error_message() == "none such");
  CHECK(streamed.infer_response().id() == "id");
}

TEST_CASE("compressed messages are inflated within the limit, and count for as long as they are held") {
  auto budget = std::make_shared<byte_budget>(std::size_t{1} << 20);
  for (const auto format : {coding::gzip, coding::deflate}) {
    const auto text = good().SerializeAsString();
    const auto packed = deflate(format, std::vector{bytes_of(text)});
    const grpc::Slice slice(packed.data(), packed.size());
    {
      const auto message = take_message({&slice, 1}, 1000, budget);
      REQUIRE(message);
      CHECK(std::string(reinterpret_cast<const char*>(message->data()), message->size()) == text);
      CHECK(budget->used() > 0);
    }
    CHECK(budget->used() == 0);
    CHECK(take_message({&slice, 1}, 10, budget).error().code == errc::too_large);
    const grpc::Slice cut(packed.data(), packed.size() - 1);
    CHECK(take_message({&cut, 1}, 1000, budget).error().code == errc::invalid_argument);
  }
  const std::vector<grpc::Slice> parts{std::string("abc"), std::string("def")};
  const auto joined = take_message({parts.data(), parts.size()}, 1000, budget);
  REQUIRE(joined);
  CHECK(joined->size() == 6);
  const grpc::Slice large(std::string(2 << 20, 'x'));
  CHECK(take_message({&large, 1}, 4 << 20, budget).error().code == errc::overloaded);
}
