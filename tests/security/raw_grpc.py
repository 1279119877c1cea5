"""gRPC by bytes: any method, any message."""

import grpc
from tritonclient.grpc import service_pb2 as protocol

SERVICE = "/inference.GRPCInferenceService/"


def metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return () if token is None else (("authorization", f"Bearer {token}"),)


def infer_request(model: str = "identity") -> bytes:
    message = protocol.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    return message.SerializeToString()


def call(
    channel: grpc.Channel, method: str, message: bytes = b"", token: str | None = None, timeout: float = 60.0
) -> bytes | grpc.RpcError:
    """The answer, or what it failed with."""
    path = method if method.startswith("/") else SERVICE + method
    try:
        return channel.unary_unary(path)(message, timeout=timeout, metadata=metadata(token))
    except grpc.RpcError as failed:
        return failed


def code(answer: bytes | grpc.RpcError) -> grpc.StatusCode:
    return answer.code() if isinstance(answer, grpc.RpcError) else grpc.StatusCode.OK
