"""ONNX Runtime spoken to as bench_executor is (its source tells the commands): ort_runner.py MODEL.onnx THREADS.

`load` answers only that there is a session.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy
import onnxruntime

TYPES = {"INT64": numpy.int64, "FP32": numpy.float32}


def main() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[2])
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    inputs: list[numpy.ndarray] = []
    for line in sys.stdin:
        command, *words = line.split()
        if command == "load":
            answer = "nodes 0 exported 0"
        elif command == "clear":
            inputs.clear()
            answer = "ok"
        elif command == "input":
            file, kind, *sizes = words
            inputs.append(numpy.fromfile(file, dtype=TYPES[kind]).reshape([int(size) for size in sizes]))
            answer = "ok"
        elif command == "block":
            feed = dict(zip(names, inputs, strict=True))
            session.run(None, feed)
            times = []
            for _ in range(int(words[0])):
                begin = time.perf_counter_ns()
                session.run(None, feed)
                times.append(time.perf_counter_ns() - begin)
            answer = " ".join(map(str, times))
        else:  # run
            told = []
            for index, output in enumerate(session.run(None, dict(zip(names, inputs, strict=True)))):
                (Path(words[0]) / f"{index}.bin").write_bytes(output.astype(numpy.float32).tobytes())
                told.append("FP32:" + "x".join(map(str, output.shape)))
            answer = " ".join(told)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
