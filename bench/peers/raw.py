"""What the engines do without a server: MiniLM by ONNX Runtime fp32 and by eager PyTorch, the limit of those who serve it.

    build/peers/onnxruntime/bin/python bench/peers/raw.py build/peers/mixes/sts.jsonl

As many processes as the tuned peers have workers, one thread each, share the first requests of the file and do them one
by one and in batches of 8 and 32 in the order in which they stand there, padded to the longest. A batch costs the
padding too. ONNX Runtime's answers are compared with PyTorch's first. --json FILE also writes the figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy

from served_models import INPUTS, INSTANCES, ROOT, Model, Request, minilm, padded

TOLERANCE = 1e-4  # of the largest value
ONNX = ROOT / "build/peers/minilm.onnx"


def export() -> None:
    """By torch.onnx, traced; batch and sequence are free."""
    import sys

    sys.path.insert(0, str(ROOT / "tools/export"))
    import torch
    from minilm import build, sentences

    dynamic = {name: {0: "batch", 1: "sequence"} for name in INPUTS["minilm"]}
    torch.onnx.export(
        build(), sentences(4, 24, seed=0), str(ONNX), dynamo=False, opset_version=17, input_names=list(dynamic),
        output_names=["sentence_embedding"], dynamic_axes={**dynamic, "sentence_embedding": {0: "batch"}},
    )  # fmt: skip


def onnxruntime() -> Model:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(ONNX), options, providers=["CPUExecutionProvider"])

    def run(requests: list[Request]) -> list[Request]:
        joined = {name: padded([r[name] for r in requests]) for name in INPUTS["minilm"]}
        (rows,) = session.run(None, joined)
        ends = numpy.cumsum([len(r["input_ids"]) for r in requests])
        return [{"sentence_embedding": part} for part in numpy.split(rows, ends[:-1])]

    return run


ENGINES = {"onnxruntime": onnxruntime, "torch": lambda: minilm(1)}


def work(engine: str, batches: list[list[Request]], start: Barrier, ends: multiprocessing.Queue) -> None:
    run = ENGINES[engine]()
    for batch in batches[:3]:
        run(batch)
    start.wait()
    for batch in batches:
        run(batch)
    ends.put(time.monotonic())


def rate(engine: str, requests: list[Request], size: int) -> float:
    """Requests a second over all processes, from their common start to the last one's end."""
    spawn = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
    batches = [requests[at : at + size] for at in range(0, len(requests), size)]
    start, ends = spawn.Barrier(INSTANCES + 1), spawn.Queue()
    processes = [
        spawn.Process(target=work, args=(engine, batches[i::INSTANCES], start, ends), daemon=True)
        for i in range(INSTANCES)
    ]
    for process in processes:
        process.start()
    start.wait(120)
    began = time.monotonic()
    last = max(ends.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    return len(requests) / (last - began)


def check(requests: list[Request]) -> float:
    """ONNX Runtime against eager PyTorch, the whole batch at once: the largest difference, of the largest value."""
    got, expected = (
        numpy.concatenate([a["sentence_embedding"] for a in ENGINES[engine]()(requests)]) for engine in ENGINES
    )
    return float(abs(got - expected).max() / abs(expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path, help="a file that mixes.py wrote")
    parser.add_argument("--requests", type=int, default=512, help="how many of the file's first requests (512)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lines = arguments.mix.read_text().splitlines()[: arguments.requests]
    requests = [{name: numpy.array(value) for name, value in json.loads(line).items()} for line in lines]
    if not ONNX.exists():
        export()
    if (wrong := check(requests[:16])) > TOLERANCE:
        raise SystemExit(f"raw: ONNX Runtime is {wrong:.1e} off")
    print(f"ONNX Runtime against eager PyTorch: {wrong:.1e} of the largest value")
    print(f"requests/s of {len(requests)} requests, {INSTANCES} processes with one thread")
    figures = {}
    for engine in ENGINES:
        for size in (1, 8, 32):
            figures[f"{engine}.batch_{size}"] = rate(engine, requests, size)
            print(f"{engine:12} batches of {size:2}: {figures[f'{engine}.batch_{size}']:6.1f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"mix": arguments.mix.stem, "requests_per_s": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
