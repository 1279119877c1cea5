"""Open Inference Protocol v2 over HTTP: tensors to and from bodies, JSON and binary; and a client of one request.

In a binary body the JSON comes first, then the raw tensors in the order in which it lists them.
"""

from __future__ import annotations

import http.client
import json

import numpy

TYPES = {"INT64": numpy.int64, "FP32": numpy.float32}
NAMES = {numpy.dtype(numpy_type): name for name, numpy_type in TYPES.items()}
LENGTH = "Inference-Header-Content-Length"

Tensors = dict[str, numpy.ndarray]


def encode(direction: str, tensors: Tensors, binary: bool, more: dict[str, object]) -> tuple[bytes, dict[str, str]]:
    """Body and headers. `direction` is "inputs" or "outputs"; `more` goes into the JSON beside it."""
    entries, raw = [], b""
    for name, value in tensors.items():
        entry = {"name": name, "shape": list(value.shape), "datatype": NAMES[value.dtype]}
        if binary:
            raw += value.tobytes()
            entry["parameters"] = {"binary_data_size": value.nbytes}
        else:
            entry["data"] = value.ravel().tolist()
        entries.append(entry)
    header = json.dumps({**more, direction: entries}).encode()
    if not binary:
        return header, {"Content-Type": "application/json"}
    return header + raw, {"Content-Type": "application/octet-stream", LENGTH: str(len(header))}


def decode(direction: str, body: bytes, length: str | None) -> tuple[dict[str, object], Tensors]:
    """The JSON and its tensors. `length` is the header of that name, absent where all is JSON."""
    at = int(length) if length else len(body)
    document = json.loads(body[:at])
    tensors = {}
    for entry in document[direction]:
        kind = TYPES[entry["datatype"]]
        size = entry.get("parameters", {}).get("binary_data_size")
        if size is None:
            value = numpy.array(entry["data"], kind)
        else:
            value = numpy.frombuffer(body[at : at + size], kind)
            at += size
        tensors[entry["name"]] = value.reshape(entry["shape"])
    return document, tensors


def infer(address: str, model: str, inputs: Tensors, binary: bool = False) -> Tensors:
    """Raises OSError or HTTPException where nobody answers, RuntimeError where the answer is an error."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        body, headers = encode("inputs", inputs, binary, {"parameters": {"binary_data_output": True}} if binary else {})
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{model}: {response.status} {answer[:300].decode(errors='replace')}")
        return decode("outputs", answer, response.headers.get(LENGTH))[1]
    finally:
        connection.close()
