"""The two models that every peer serves, the same code and weights for all: MiniLM (tools/export/minilm.py, eager
PyTorch fp32 under inference_mode) and an identity.

A model takes a list of requests and answers each; that is where requests of unequal lengths are padded and joined.
Imported by the servers, each in its own environment, so it needs only numpy, and PyTorch once MiniLM is loaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
ROWS = 16  # of a joined batch, in the setting `tuned`
INSTANCES = 2  # of each model, with one thread, in the setting `tuned`
SETTINGS = ("defaults", "tuned", "int8")
TUNED = ("tuned", "int8")  # the latter: the same in the best int8 that the server can be given

# Of an answer, at most: the largest difference from eager PyTorch's in fp32 over the largest value.
TOLERANCES = {"defaults": 1e-4, "tuned": 1e-4, "int8": 0.5}

Request = dict[str, numpy.ndarray]
Model = Callable[[list[Request]], list[Request]]

# name -> dimensions without the batch; all types are INT64 (inputs of MiniLM) or FP32
INPUTS = {"minilm": {"input_ids": [-1], "attention_mask": [-1]}, "identity": {"x": [-1]}}
OUTPUTS = {"minilm": {"sentence_embedding": [384]}, "identity": {"y": [-1]}}
DATATYPES = {"input_ids": "INT64", "attention_mask": "INT64", "x": "FP32", "sentence_embedding": "FP32", "y": "FP32"}


def padded(tensors: list[numpy.ndarray]) -> numpy.ndarray:
    """Rows of unequal lengths as one tensor, zeros at their ends."""
    joined = numpy.zeros((sum(len(t) for t in tensors), max(t.shape[1] for t in tensors)), tensors[0].dtype)
    row = 0
    for t in tensors:
        joined[row : row + len(t), : t.shape[1]] = t
        row += len(t)
    return joined


def joining(embed: Callable[[numpy.ndarray, numpy.ndarray], numpy.ndarray]) -> Model:
    """A model that pads and joins its requests, calls `embed(input_ids, attention_mask)` once and takes it apart."""

    def run(requests: list[Request]) -> list[Request]:
        ids, mask = (padded([r[name] for r in requests]) for name in INPUTS["minilm"])
        ends = numpy.cumsum([len(r["input_ids"]) for r in requests])
        return [{"sentence_embedding": rows} for rows in numpy.split(embed(ids, mask), ends[:-1])]

    return run


def minilm(threads: int | None) -> Model:
    """`threads` None leaves PyTorch's own choice: as many as there are cores."""
    sys.path.insert(0, str(ROOT / "tools/export"))
    import torch
    from minilm import build

    if threads is not None:
        torch.set_num_threads(threads)
    module = build()

    def embed(ids: numpy.ndarray, mask: numpy.ndarray) -> numpy.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(ids), torch.from_numpy(mask))["sentence_embedding"].numpy()

    return joining(embed)


def minilm_int8() -> Model:
    """ONNX Runtime's dynamic quantisation with a scale per channel (bench/precision/onnx_models.py)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    file = ROOT / "build/peers/minilm.int8c.onnx"
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return joining(lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def identity(requests: list[Request]) -> list[Request]:
    return [{"y": r["x"]} for r in requests]


def load(name: str, setting: str) -> Model:
    if name == "identity":
        return identity
    return minilm_int8() if setting == "int8" else minilm(1 if setting == "tuned" else None)


def server_arguments(description: str | None) -> argparse.Namespace:
    """What every *_server.py takes from peer.py."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("http", type=int, help="port on 127.0.0.1")
    parser.add_argument("grpc", type=int, help="port on 127.0.0.1; unused by a peer that speaks only HTTP")
    parser.add_argument("native", type=int, help="port on 127.0.0.1 for Shoal's native door; unused by the peers")
    parser.add_argument("folder", type=Path, help="scratch, removed afterwards")
    parser.add_argument("models", nargs="+", choices=list(INPUTS))
    return parser.parse_args()
