"""What a request costs through the Python SDK, against a running mesh that serves `identity`:

    PYTHONPATH=sdk/python python bench/overhead/python_sdk.py tcp://127.0.0.1:8002 [--json FILE]

For each size: latency of one request at a time, and the rate with several in flight; from asyncio and, at 4 KiB,
through the blocking facade. Every figure is the median of `--rounds` rounds, with the lowest and the highest behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shoal

KIB, MIB = 1 << 10, 1 << 20


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


class Probe:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = arguments.model
        self.seconds = arguments.seconds
        self.rounds = arguments.rounds
        self.figures: dict[str, dict[str, float]] = {}

    def note(self, key: str, unit: str, rounds: list[float]) -> None:
        self.figures[key] = spread(rounds)
        now = self.figures[key]
        print(f"{key:38} {now['median']:10.1f} {unit:10} {now['lowest']:10.1f} .. {now['highest']:.1f}", flush=True)

    async def latency(self, mesh: shoal.Mesh, name: str, inputs: dict[str, np.ndarray]) -> None:
        p50, p99 = [], []
        for _ in range(self.rounds):
            times = []
            end = time.perf_counter() + self.seconds
            while (began := time.perf_counter()) < end:
                await mesh.infer(self.model, inputs)
                times.append(time.perf_counter() - began)
            percentiles = np.percentile(times, [50, 99]) * 1e6
            p50.append(float(percentiles[0]))
            p99.append(float(percentiles[1]))
        self.note(f"{name}_p50_us", "us", p50)
        self.note(f"{name}_p99_us", "us", p99)

    async def rate(self, mesh: shoal.Mesh, name: str, inputs: dict[str, np.ndarray], in_flight: int) -> None:
        rates, costs = [], []
        for _ in range(self.rounds):
            done = 0
            began, cpu_before = time.perf_counter(), cpu()
            end = began + self.seconds

            async def client(end: float = end) -> None:
                nonlocal done
                while time.perf_counter() < end:
                    await mesh.infer(self.model, inputs)
                    done += 1

            await asyncio.gather(*(client() for _ in range(in_flight)))
            rates.append(done / (time.perf_counter() - began))
            costs.append((cpu() - cpu_before) / done * 1e6)
        self.note(f"{name}_{in_flight}_in_flight_per_s", "requests/s", rates)
        self.note(f"{name}_{in_flight}_in_flight_client_cpu_us", "us/request", costs)

    async def asynchronous(self, address: str) -> None:
        async with shoal.connect(address) as mesh:
            for name, size, in_flight in (("4KiB", 4 * KIB, 64), ("1MiB", MIB, 8), ("20MiB", 20 * MIB, 2)):
                inputs = {"x": np.random.default_rng(0).random((1, size // 4), np.float32)}
                answer = await mesh.infer(self.model, inputs, deadline=30.0)
                if answer["y"].tobytes() != inputs["x"].tobytes():
                    sys.exit(f"model {self.model} at {address} does not give back what it is sent")
                await self.latency(mesh, name, inputs)
                await self.rate(mesh, name, inputs, in_flight)

    def blocking(self, address: str) -> None:
        inputs = {"x": np.zeros((1, KIB), np.float32)}
        with shoal.connect_sync(address) as mesh:
            p50 = []
            for _ in range(self.rounds):
                times = timed(lambda: mesh.infer(self.model, inputs), self.seconds)
                p50.append(statistics.median(times) * 1e6)
            self.note("4KiB_sync_p50_us", "us", p50)


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    times = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of a gateway's native door")
    parser.add_argument("--model", default="identity", help="gives its fp32 input x [batch, width] back as y")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    probe = Probe(arguments)
    asyncio.run(probe.asynchronous(arguments.address))
    probe.blocking(arguments.address)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(probe.figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
