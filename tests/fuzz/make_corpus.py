"""Writes the seeds of the corpora from the exported fixtures, the golden messages and a few requests:
`make_corpus.py build/fixtures/graphs tests/fuzz/corpus`.

Metadata (stack traces with paths of the exporting machine) and sample inputs are left out; regressions stay.
"""

import gzip
import json
import pathlib
import struct
import sys
import zipfile

from tritonclient.grpc import service_pb2

ARCHIVES = ["tuple", "even_width", "gather"]
GRAPHS = ["arithmetic", "constants", "convolutional", "folding", "lists", "recurrent", "several", "training", "tuple",
          "writes_input"]
MODEL = "models/model.json"
CONFIGS = ["data/weights/model_weights_config.json", "data/constants/model_constants_config.json"]


def without_metadata(part):
    if isinstance(part, dict):
        if "target" in part and "metadata" in part:
            part["metadata"] = {}
        for value in part.values():
            without_metadata(value)
    elif isinstance(part, list):
        for value in part:
            without_metadata(value)
    return part


def compact(text):
    return json.dumps(without_metadata(json.loads(text)), separators=(",", ":"))


def records(archive):
    with zipfile.ZipFile(archive) as opened:
        found = {name.split("/", 1)[1]: opened.read(name) for name in opened.namelist()}
    kept = {name: data for name, data in found.items() if "sample_inputs" not in name}
    kept[MODEL] = compact(kept[MODEL]).encode()
    return kept


def envelopes(corpus):
    """Golden messages, each frame after its size (read_envelope.hpp)."""
    for message in (corpus.parent.parent / "unit" / "link" / "golden").glob("*.hex"):
        frames = [bytes.fromhex(line) for line in message.read_text().splitlines()]
        seed = b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)
        (corpus / "envelope" / f"good-{message.stem}").write_bytes(seed)


def http_requests(corpus):
    """Whole connections of HTTP clients."""

    def post(path, body, *fields, length=True):
        lines = [f"POST {path} HTTP/1.1", "Host: x", *fields] + [f"Content-Length: {len(body)}"] * length
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3]}
    infer = "/v2/models/identity/infer"
    text = json.dumps({"id": "a", "inputs": [{**tensor, "data": [1.5, -2, 3e-7]}]}).encode()
    raw = json.dumps(
        {
            "parameters": {"binary_data_output": True, "timeout": 5000},
            "inputs": [{**tensor, "parameters": {"binary_data_size": 12}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    values = struct.pack("<3f", 1, 2, 3)
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (text[:9], text[9:], b""))
    seeds = {
        "json": post(infer, text),
        "binary": post(infer, raw + values, f"Inference-Header-Content-Length: {len(raw)}"),
        "raw": post(infer, values, "Inference-Header-Content-Length: 0"),
        "gzip": post(infer, gzip.compress(text, mtime=0), "Content-Encoding: gzip", "Accept-Encoding: gzip;q=0.5, *"),
        "chunked": post(infer, chunks, "Transfer-Encoding: chunked", length=False),
        "continue": post(infer, text, "Expect: 100-continue"),
        "index": post("/v2/repository/index", b'{"ready":true}'),
        "load": post("/v2/repository/models/identity/load", b'{"parameters":{"unload_dependents":true}}'),
        "unload": post("/v2/repository/models/identity/versions/1/unload", b""),
    }
    documents = ["", "/health/ready", "/models/identity", "/models/identity/versions/1/config", "/models/stats"]
    seeds["pipelined"] = b"".join(f"GET /v2{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in documents)
    for name, seed in seeds.items():
        prefix = "" if name == "continue" else "good-"  # its first answer is 100
        (corpus / "http" / f"{prefix}{name}").write_bytes(seed)


def grpc_requests(corpus):
    """A method, a zero byte, a message (read_grpc.hpp)."""
    infer = service_pb2.ModelInferRequest(model_name="identity", model_version="1", id="a")
    infer.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    infer.parameters["timeout"].int64_param = 5000
    infer.outputs.add(name="y")
    spelled = service_pb2.ModelInferRequest()
    spelled.CopyFrom(infer)
    spelled.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    infer.raw_input_contents.append(struct.pack("<3f", 1, 2, 3))
    named = {"name": "identity", "version": "1"}
    load = service_pb2.RepositoryModelLoadRequest(model_name="identity")
    load.parameters["unload_dependents"].bool_param = True
    seeds = {
        "ServerLive": service_pb2.ServerLiveRequest(),
        "ServerReady": service_pb2.ServerReadyRequest(),
        "ServerMetadata": service_pb2.ServerMetadataRequest(),
        "ModelReady": service_pb2.ModelReadyRequest(**named),
        "ModelMetadata": service_pb2.ModelMetadataRequest(**named),
        "ModelConfig": service_pb2.ModelConfigRequest(**named),
        "ModelStatistics": service_pb2.ModelStatisticsRequest(**named),
        "RepositoryIndex": service_pb2.RepositoryIndexRequest(ready=True),
        "RepositoryModelLoad": load,
        "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="identity"),
        "ModelInfer": infer,
        "ModelStreamInfer": spelled,
    }
    for method, message in seeds.items():
        (corpus / "grpc" / f"good-{method}").write_bytes(method.encode() + b"\0" + message.SerializeToString())
    packed = gzip.compress(infer.SerializeToString(), mtime=0)
    (corpus / "grpc" / "good-gzip").write_bytes(b"ModelInfer\0" + packed)


def main(fixtures, corpus):
    for folder in ("archive", "graph", "envelope", "http", "grpc"):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
    envelopes(corpus)
    http_requests(corpus)
    grpc_requests(corpus)
    for name in ARCHIVES:
        with zipfile.ZipFile(corpus / "archive" / f"good-{name}.pt2", "w", zipfile.ZIP_STORED) as made:
            for record, data in records(fixtures / name / "1" / "model.pt2").items():
                made.writestr(zipfile.ZipInfo("model/" + record), data)
    for name in GRAPHS:
        given = records(fixtures / name / "1" / "model.pt2")
        texts = [given[MODEL].decode()] + [compact(given[config]) for config in CONFIGS]
        prefix = "" if name == "training" else "good-"
        (corpus / "graph" / f"{prefix}{name}").write_text("\0".join(texts))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
