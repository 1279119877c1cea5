"""Windows of load by `shoal bench`, the same generator for every server, and what became of their requests."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from served_models import ROOT

SHOAL = Path(os.environ.get("SHOAL_BIN", ROOT / "build/release/bin")) / "shoal"
LIMIT_MS = 200.0
MOST_FAILURES = 0.01  # of the requests
WARMUP_S = 2.0
DRAIN_S = 30.0  # so long that the next window starts with a server that has nothing left to do
FIRST_ANSWER_S = 60.0
SLOW_RATE, LONGEST = 20.0, 3.0  # at lower rates a window is longer, so that p99 has requests to be of; at most so often
CONNECTIONS = 4096  # over HTTP: clients that do not wait for each other; 4 channels over gRPC


@dataclass(frozen=True)
class Window:
    rate: float | None  # requests per second that were to be offered; None: closed loop
    seed: int
    seconds: float
    offered: float
    throughput: float
    sent: int
    ok: int
    p50_ms: float
    p99_ms: float
    p99_9_ms: float
    refused: int
    refused_p50_ms: float
    refused_p99_ms: float
    failures: dict[str, int]
    said: dict[str, str]  # what the first failure of each code said
    no_outcome: int
    goodput: float | None  # answered within the deadline, per second
    unsent: int
    generator_late: bool
    buckets: list[tuple[int, int]] = field(repr=False)  # of the latency: lowest us, count

    @property
    def failed(self) -> int:
        return sum(self.failures.values()) + self.no_outcome

    @property
    def fits(self) -> bool:
        """p99 under the limit, hardly a failure, and all of the load was really sent."""
        return self.ok > 0 and self.p99_ms < LIMIT_MS and self.failed < MOST_FAILURES * self.sent and self.unsent == 0

    def kept(self) -> dict:
        """For the JSON."""
        return {name: value for name, value in asdict(self).items() if name != "buckets"}


def window_of(report: dict) -> Window:
    step = report["steps"][0]
    seen = step["all"]
    latency, refusals = seen["latency"], seen["refusal_latency"]
    return Window(
        rate=step["rate"],
        seed=report["seed"],
        seconds=step["seconds"],
        offered=step["offered_per_second"],
        throughput=step["throughput_per_second"],
        sent=seen["sent"],
        ok=seen["ok"],
        p50_ms=latency["p50_ms"],
        p99_ms=latency["p99_ms"],
        p99_9_ms=latency["p99_9_ms"],
        refused=seen["refused"],
        refused_p50_ms=refusals["p50_ms"],
        refused_p99_ms=refusals["p99_ms"],
        failures={code: told["count"] for code, told in seen["failures"].items()},
        said={code: told["first_said"] for code, told in seen["failures"].items()},
        no_outcome=seen["no_outcome"],
        goodput=seen["goodput_per_second"],
        unsent=step["generator"]["unsent"],
        generator_late=step["generator"]["late"],
        buckets=[(lowest, count) for lowest, count in latency["buckets"]],
    )


def percentile_ms(windows: Sequence[Window], percent: float) -> float:
    """Over the answers of all windows together; 0 if there are none."""
    counts: Counter[int] = Counter()
    for window in windows:
        counts.update(dict(window.buckets))
    wanted = sum(counts.values()) * percent / 100
    seen = 0
    for lowest, count in sorted(counts.items()):
        seen += count
        if seen >= wanted:
            return lowest / 1000
    return 0.0


@dataclass(frozen=True)
class Generator:
    """`what`: the model and its requests, as `shoal bench` takes them."""

    at: str
    what: tuple[str, ...]
    seconds: float

    def closed(self, in_flight: int, seed: int = 1, warmup: float = WARMUP_S) -> Window:
        return self._run(("--closed", str(in_flight)), seed, warmup, self.seconds, DRAIN_S)

    def open(
        self,
        rate: float,
        seed: int = 1,
        *,
        warmup: float = WARMUP_S,
        seconds: float | None = None,
        drain: float = DRAIN_S,
        deadline_ms: float | None = None,
    ) -> Window:
        how = ["--rate", f"{rate:.3f}"]
        if deadline_ms is not None:
            how += ["--deadline", f"{deadline_ms:g}"]
        stretched = self.seconds * min(LONGEST, max(1.0, SLOW_RATE / rate))
        return self._run(how, seed, warmup, seconds or stretched, drain)

    def _run(self, how: Sequence[str], seed: int, warmup: float, seconds: float, drain: float) -> Window:
        command = [str(SHOAL), "bench", "--at", self.at, *self.what, *how, "--seed", str(seed), "--json", "-"]
        command += ["--warmup", f"{warmup:g}", "--duration", f"{seconds:g}", "--drain", f"{drain:g}"]
        command += ["--timeout", f"{FIRST_ANSWER_S:g}"]
        if self.at.startswith("http:"):
            command += ["--connections", str(CONNECTIONS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # It ends with 1 if no request was answered: a window like any other.
        report = json.loads(done.stdout) if done.returncode in (0, 1) and done.stdout else {}
        if "steps" not in report:
            raise RuntimeError(f"shoal bench ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
        return window_of(report)
