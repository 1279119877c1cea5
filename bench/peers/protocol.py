"""Open Inference Protocol v2 over HTTP, as much as checking a peer needs: one request, one answer."""

from __future__ import annotations

import http.client
import json

import numpy

TYPES = {"INT64": numpy.int64, "FP32": numpy.float32}
NAMES = {numpy.dtype(numpy_type): name for name, numpy_type in TYPES.items()}
LENGTH = "Inference-Header-Content-Length"


def body_of(inputs: dict[str, numpy.ndarray], binary: bool) -> tuple[bytes, dict[str, str]]:
    """A request's body and headers; `binary` sends raw tensors and asks for raw outputs."""
    tensors, raw = [], b""
    for name, value in inputs.items():
        tensor = {"name": name, "shape": list(value.shape), "datatype": NAMES[value.dtype]}
        if binary:
            raw += value.tobytes()
            tensor["parameters"] = {"binary_data_size": value.nbytes}
        else:
            tensor["data"] = value.ravel().tolist()
        tensors.append(tensor)
    if not binary:
        return json.dumps({"inputs": tensors}).encode(), {"Content-Type": "application/json"}
    header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    return header + raw, {"Content-Type": "application/octet-stream", LENGTH: str(len(header))}


def outputs_of(body: bytes, length: str | None) -> dict[str, numpy.ndarray]:
    """`length` is the header of that name, absent where all is JSON."""
    at = int(length) if length else len(body)
    outputs = {}
    for tensor in json.loads(body[:at])["outputs"]:
        kind = TYPES[tensor["datatype"]]
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            value = numpy.array(tensor["data"], kind)
        else:
            value = numpy.frombuffer(body[at : at + size], kind)
            at += size
        outputs[tensor["name"]] = value.reshape(tensor["shape"])
    return outputs


def infer(address: str, model: str, inputs: dict[str, numpy.ndarray], binary: bool = False) -> dict[str, numpy.ndarray]:
    """Raises OSError or HTTPException where nobody answers, RuntimeError where the answer is an error."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        body, headers = body_of(inputs, binary)
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{model}: {response.status} {answer[:300].decode(errors='replace')}")
        return outputs_of(answer, response.headers.get(LENGTH))
    finally:
        connection.close()
