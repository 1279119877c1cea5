// The gRPC door, by gRPC's own client for C++.
#include <algorithm>
#include <chrono>
#include <stdexcept>

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>

#include "inference.grpc.pb.h"
#include "overhead/load.hpp"

namespace shoal::bench {

namespace {

class grpc_client final : public load {
 public:
  grpc_client(const std::string& address, std::size_t bytes) : bytes_(bytes) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    stub_ = inference::GRPCInferenceService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
    const auto width = std::min<std::int64_t>(count, 4096);
    request_.set_model_name("identity");
    auto& input = *request_.add_inputs();
    input.set_name("x");
    input.set_datatype("FP32");
    input.add_shape(count / width);
    input.add_shape(width);
    request_.add_raw_input_contents(std::string(bytes, '\0'));
  }

  latency one_by_one(int requests) override {
    return measure(requests, [this] {
      grpc::ClientContext context;
      inference::ModelInferResponse answer;
      check(stub_->ModelInfer(&context, request_, &answer), answer);
    });
  }

  double saturated(int requests, int window) override {
    grpc::CompletionQueue queue;
    int begun = 0;
    const auto begin = [&] {
      auto* one = new call;
      one->reader = stub_->AsyncModelInfer(&one->context, request_, &queue);
      one->reader->Finish(&one->answer, &one->status, one);
      ++begun;
    };
    const auto since = std::chrono::steady_clock::now();
    for (int i = 0; i < window; ++i) begin();
    for (int answered = 0; answered < requests; ++answered) {
      void* tag = nullptr;
      bool ok = false;
      if (!queue.Next(&tag, &ok)) throw std::runtime_error("gRPC has ended");
      const std::unique_ptr<call> one(static_cast<call*>(tag));
      check(one->status, one->answer);
      if (begun < requests) begin();
    }
    return requests / std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  }

 private:
  struct call {
    grpc::ClientContext context;
    inference::ModelInferResponse answer;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> reader;
  };

  void check(const grpc::Status& status, const inference::ModelInferResponse& answer) const {
    if (!status.ok()) throw std::runtime_error(status.error_message());
    if (answer.raw_output_contents_size() != 1 || answer.raw_output_contents(0).size() != bytes_)
      throw std::runtime_error("the answer has another size");
  }

  std::size_t bytes_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  inference::ModelInferRequest request_;
};

}  // namespace

std::unique_ptr<load> grpc_load(const std::string& address, std::size_t bytes) {
  return std::make_unique<grpc_client>(address, bytes);
}

}  // namespace shoal::bench
