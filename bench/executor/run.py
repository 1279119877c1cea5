"""Executor against eager PyTorch: the same module, the same inputs, the same number of threads, in one run.

Eager runs here under inference_mode; the executor runs in bench_executor. They take turns in short blocks, so that
whatever else the machine does falls on both; a ratio is formed per pair of neighbouring blocks, and its median's 95%
bounds come from a bootstrap over the pairs. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/export"))
import fixtures  # noqa: E402
import minilm  # noqa: E402
from exporting import TYPES  # noqa: E402

SHAPES = ((1, 16), (8, 64), (32, 128))
RATIO_TARGET = 1.02
NODE_TARGET_US = 3.0


class Executor:
    def __init__(self, program: Path, archive: Path, threads: int) -> None:
        self.process = subprocess.Popen(
            [program, archive, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip

    def ask(self, command: str) -> list[str]:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise SystemExit(f"bench_executor ended at `{command}`")
        return answer

    def load(self, passes: str) -> tuple[int, int]:
        _, nodes, _, exported = self.ask(f"load {passes}")
        return int(nodes), int(exported)

    def take(self, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
        self.ask("clear")
        for index, value in enumerate(inputs):
            file = folder / f"{index}.bin"
            file.write_bytes(value.numpy().tobytes())
            self.ask(f"input {file} {TYPES[value.dtype]} {' '.join(map(str, value.shape))}")

    def block(self, rounds: int) -> list[float]:
        return [int(time) / 1e3 for time in self.ask(f"block {rounds}")]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=10)


def eager_block(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], rounds: int) -> list[float]:
    module(*inputs)
    times = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        module(*inputs)
        times.append((time.perf_counter_ns() - begin) / 1e3)
    return times


def bootstrap_bound(ratios: list[float], rounds: int = 4000) -> tuple[float, float]:
    """95% bounds of the median of `ratios`."""
    random = numpy.random.default_rng(0)
    medians = numpy.median(random.choice(ratios, (rounds, len(ratios))), axis=1)
    low, high = numpy.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def compare(executor: Executor, module: torch.nn.Module, inputs: tuple, folder: Path, seconds: float) -> dict:
    executor.take(inputs, folder)
    once = statistics.median(eager_block(module, inputs, 3))
    rounds = max(1, int(60e3 / once))  # blocks of about 60 ms
    eager, ours, ratios = [], [], []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(ratios) < 10:
        # Which of the two goes first changes, so that a drift of the machine's speed cancels.
        if len(ratios) % 2 == 0:
            a = eager_block(module, inputs, rounds)
            b = executor.block(rounds)
        else:
            b = executor.block(rounds)
            a = eager_block(module, inputs, rounds)
        eager += a
        ours += b
        ratios.append(statistics.median(b) / statistics.median(a))
    low, high = bootstrap_bound(ratios)
    quartile = lambda values: [float(q) for q in numpy.percentile(values, (25, 75))]  # noqa: E731
    return {
        "eager_us": statistics.median(eager),
        "eager_quartiles_us": quartile(eager),
        "executor_us": statistics.median(ours),
        "executor_quartiles_us": quartile(ours),
        "ratio": statistics.median(ratios),
        "ratio_95": [low, high],
        "pairs": len(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_executor")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_executor.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20, help="per row")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    result: dict = {
        "conditions": {
            "threads": options.threads, "torch": torch.__version__, "machine": platform.machine(),
            "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0],
        },
        "shapes": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        folder = Path(scratch)
        module = minilm.build()
        print(f"MiniLM, {options.threads} thread(s); microseconds, median (quartiles)", flush=True)
        print(f"{'batch x tokens':>15} {'passes':>6} {'eager':>26} {'executor':>26} {'ratio (95% bounds)':>24}")
        for passes in ("all", "none"):
            executor = Executor(options.program, options.fixtures / "models/minilm/1/model.pt2", options.threads)
            result[f"nodes_{passes}"], result["nodes_exported"] = executor.load(passes)
            for batch, tokens in SHAPES:
                row = compare(executor, module, minilm.sentences(batch, tokens, seed=batch), folder, options.seconds)
                result["shapes"][f"{batch}x{tokens}_{passes}"] = row
                print(
                    f"{f'{batch} x {tokens}':>15} {passes:>6} "
                    f"{row['eager_us']:>10.0f} ({row['eager_quartiles_us'][0]:.0f}-{row['eager_quartiles_us'][1]:.0f})"
                    f"{row['executor_us']:>12.0f} ({row['executor_quartiles_us'][0]:.0f}-{row['executor_quartiles_us'][1]:.0f})"
                    f"{row['ratio']:>10.3f} ({row['ratio_95'][0]:.3f}-{row['ratio_95'][1]:.3f})",
                    flush=True,
                )
            executor.close()

        executor = Executor(options.program, options.fixtures / "graphs/chain/1/model.pt2", options.threads)
        nodes, _ = executor.load("all")
        row = compare(executor, fixtures.Chain().eval(), (torch.ones(1),), folder, options.seconds / 2)
        executor.close()
        result["node_us"] = row["executor_us"] / nodes
        result["node_eager_us"] = row["eager_us"] / nodes
        print(
            f"a node, {nodes} negations of one number, kernel included: "
            f"executor {result['node_us']:.2f} us, eager {result['node_eager_us']:.2f} us"
        )

    bound = max(result["shapes"][f"{b}x{s}_all"]["ratio_95"][1] for b, s in SHAPES)
    result["worst_ratio_bound"] = bound
    result["targets"] = {"ratio": RATIO_TARGET, "node_us": NODE_TARGET_US}
    result["reached"] = bound <= RATIO_TARGET and result["node_us"] <= NODE_TARGET_US
    print(f"worst ratio at the 95% bound {bound:.3f} (target {RATIO_TARGET}): {'reached' if result['reached'] else 'MISSED'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
