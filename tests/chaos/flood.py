"""What the overload has more than the load: `shoal bench`, which needs little of the processors that the mesh shall have, from the
image shoal/shoal through the front's native door, within the mesh's network: Docker's own proxy, through which this host's
connections go, waits for a processor for seconds then (measured: 2.2 s). A connection has one gateway, which lets 1024 of its
requests be in flight: there are several. The load goes on, a tenth of it, at every door and written down; of the flood sums are kept.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

from .containers import PROJECT
from .engine import EngineError, docker
from .mesh import Mesh

DEADLINE = 2.0  # seconds, the load's
IN_FLIGHT = 12  # of each, while the capacity is measured
PER_GATEWAY = 2  # benches
PATIENCE = 60.0  # seconds, for a bench to end by itself
# As the load asks: somewhat more identities than sentences, a fifth critical, a fifth of class batch.
MIX = [f"{model}:{weight}@{priority}" for model, share in (("identity", 58), ("minilm", 42)) for priority, weight in (("critical", share), ("standard", 3 * share), ("batch", share))]


class Flood:
    def __init__(self, mesh: Mesh, key: Path, folder: Path, seed: int, group: str = "") -> None:
        """`group`: the control group of the mesh and its load; empty: the engine's own."""
        self._mesh = mesh
        self._folder = folder.resolve()
        self._key = key.resolve()
        self._seed = seed
        self._group = ["--cgroup-parent", group] if group else []
        self._planned = 0.0  # requests
        self._running: list[subprocess.Popen[str]] = []
        draw = random.Random(f"flood/{seed}")
        (self._folder / "lengths.txt").write_text("".join(f"{draw.randint(5, 40)}\n" for _ in range(500)))

    def capacity(self, seconds: float) -> float:
        """Answers a second, closed loop, of a mesh that does nothing else. Raises EngineError."""
        self._start("--closed", IN_FLIGHT, "--duration", seconds)
        return sum(each["throughput_per_second"] for each in self._results())

    def begin(self, rate: float, seconds: float) -> None:
        """`rate`: requests a second, of all together."""
        self._planned = rate * seconds
        self._start("--rate", rate / self._benches(), "--duration", seconds, "--deadline", DEADLINE * 1e3)

    def end(self) -> dict[str, Any]:
        """Waits for the benches, which wait for what is under way. Raises EngineError."""
        results = self._results()
        failures: dict[str, int] = {}
        for each in results:
            for code, failed in each["all"]["failures"].items():
                failures[code] = failures.get(code, 0) + failed["count"]
        longest = max(each["all"][of]["max_ms"] for each in results for of in ("latency", "failure_latency"))
        # By the clock of `events`.
        began, ended = min(each["began_unix_s"] for each in results), max(each["began_unix_s"] + each["seconds"] for each in results)
        since = time.time() - time.monotonic()
        return {
            "began": began - since,
            "ended": ended - since,
            "planned": self._planned,
            "deadline": DEADLINE,
            **{name: sum(each["all"][name] for each in results) for name in ("sent", "ok", "no_outcome")},
            "in_time": sum(each["all"]["goodput_per_second"] * each["seconds"] for each in results),
            "failures": failures,
            "longest_seconds": longest / 1e3,
            "lag_seconds": max(each["generator"]["lag"]["max_ms"] for each in results) / 1e3,
        }

    def close(self) -> None:
        for number, each in enumerate(self._running):
            if each.poll() is None:
                try:
                    docker("rm", "-f", self._name(number))
                except EngineError:
                    each.kill()  # the engine is gone, and its containers with it
                each.wait()
        self._running.clear()

    def _benches(self) -> int:
        return PER_GATEWAY * self._mesh.replicas("gateway")

    def _name(self, number: int) -> str:
        return f"{self._mesh.project}_flood_{number + 1}"

    def _start(self, *how: object) -> None:
        models = [word for each in MIX for word in ("--model", each)]
        for number in range(self._benches()):
            command = [
                *("docker", "run", "--rm", "--name", self._name(number), "--label", f"{PROJECT}={self._mesh.project}", "--network", f"{self._mesh.project}_default", *self._group),
                *("--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{self._key}:/key:ro", "-v", f"{self._folder / 'lengths.txt'}:/lengths:ro"),
                *("shoal/shoal", "bench", "--at", "tcp://front:8002", "--key", "/key", *models),
                *("--lengths", "/lengths", "--check", "--warmup", 0, "--seed", self._seed + number, "--json", "-", *how),
            ]
            self._running.append(
                subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
            )

    def _results(self) -> list[dict[str, Any]]:
        """Each has one step."""
        results = []
        for each in self._running:
            try:
                said, complaint = each.communicate(timeout=PATIENCE + 60.0)
            except subprocess.TimeoutExpired as late:
                raise EngineError("`shoal bench` does not come to an end") from late
            if each.returncode != 0:
                raise EngineError(f"`shoal bench` failed ({each.returncode}): {(complaint or said).strip()[-600:]}")
            results.append(json.loads(said)["steps"][0])
        self._running.clear()
        return results
