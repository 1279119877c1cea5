"""Two things that run a model, taking turns in short blocks, so that whatever else the machine does falls on both.

A ratio is formed per pair of neighbouring blocks; its median's 95% bounds come from a bootstrap over the pairs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Protocol

import numpy
import torch

from exporting import TYPES

BLOCK_US = 60e3
LEAST_PAIRS = 10


class Runner(Protocol):
    def block(self, rounds: int) -> list[float]:
        """Microseconds of each of `rounds` runs, after one that is not counted."""


class Executor:
    """A bench_executor process, or one that is spoken to like it: one archive, loaded with one choice of passes (and a
    precision plan) at a time."""

    def __init__(self, program: Path | list, archive: Path, threads: int) -> None:
        command = program if isinstance(program, list) else [program]
        self.process = subprocess.Popen(
            [*command, archive, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, command: str) -> list[str]:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise SystemExit(f"bench_executor ended at `{command}`")
        return answer

    def load(self, passes: str, plan: Path | None = None) -> tuple[int, int]:
        """Nodes after these passes, and nodes in the archive."""
        _, nodes, _, exported = self.ask(f"load {passes}" + (f" {plan}" if plan else ""))
        return int(nodes), int(exported)

    def take(self, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
        self.ask("clear")
        for index, value in enumerate(inputs):
            file = folder / f"{index}.bin"
            file.write_bytes(value.contiguous().numpy().tobytes())
            self.ask(f"input {file} {TYPES[value.dtype]} {' '.join(map(str, value.shape))}")

    def run(self, folder: Path) -> list[numpy.ndarray]:
        """The outputs of one run, fp32."""
        outputs = []
        for index, told in enumerate(self.ask(f"run {folder}")):
            sizes = [int(size) for size in told.partition(":")[2].split("x") if size]
            outputs.append(numpy.fromfile(folder / f"{index}.bin", dtype=numpy.float32).reshape(sizes))
        return outputs

    def block(self, rounds: int) -> list[float]:
        return [int(time) / 1e3 for time in self.ask(f"block {rounds}")]


class Eager:
    def __init__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.module, self.inputs = module, inputs

    def block(self, rounds: int) -> list[float]:
        self.module(*self.inputs)
        times = []
        for _ in range(rounds):
            begin = time.perf_counter_ns()
            self.module(*self.inputs)
            times.append((time.perf_counter_ns() - begin) / 1e3)
        return times


def bootstrap_bounds(ratios: list[float], rounds: int = 4000) -> tuple[float, float]:
    """95% bounds of the median of `ratios`."""
    random = numpy.random.default_rng(0)
    medians = numpy.median(random.choice(ratios, (rounds, len(ratios))), axis=1)
    low, high = numpy.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def quartiles(times: list[float]) -> list[float]:
    return [float(each) for each in numpy.percentile(times, (25, 75))]


def compare(base: Runner, other: Runner, seconds: float, names: tuple[str, str]) -> dict:
    """How long `other` takes relative to `base`; at least LEAST_PAIRS pairs of blocks, else as many as fit."""
    once = statistics.median(base.block(3))
    rounds = max(1, int(BLOCK_US / once))
    bases, others, ratios = [], [], []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(ratios) < LEAST_PAIRS:
        # Which of the two goes first changes, so that a drift of the machine's speed cancels.
        if len(ratios) % 2 == 0:
            a = base.block(rounds)
            b = other.block(rounds)
        else:
            b = other.block(rounds)
            a = base.block(rounds)
        bases += a
        others += b
        ratios.append(statistics.median(b) / statistics.median(a))
    return {
        f"{names[0]}_us": statistics.median(bases),
        f"{names[0]}_quartiles_us": quartiles(bases),
        f"{names[1]}_us": statistics.median(others),
        f"{names[1]}_quartiles_us": quartiles(others),
        "ratio": statistics.median(ratios),
        "ratio_95": list(bootstrap_bounds(ratios)),
        "pairs": len(ratios),
    }
