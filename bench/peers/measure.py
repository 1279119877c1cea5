"""What is measured of one server with one mix, each time on a server that was just started:

`peak`: the highest rate with p99 under the limit, found from the rate of a closed loop on; memory, idle and loaded.
`load`: latency at half and at four fifths of that rate and at the peak of the slowest server; then three times the own
peak, and how soon a small load is served well again.
`identity`: latency at a low rate and the saturated rate of a model that costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from generator import WARMUP_S, Generator, Window, percentile_ms
from peer import Peer
from rows import Row
from search import Exhausted, Trials, find_highest
from served_models import ROOT

MIXES = ROOT / "build/peers/mixes"
CLIENTS, FIRST_OF_CLOSED = 32, 0.75
POINTS = {"half": 0.5, "four_fifths": 0.8}  # of the own peak
OVERLOAD, DEADLINE_MS, OVERLOAD_DRAIN_S = 3.0, 500.0, 10.0
RECOVERY_RATE, RECOVERY_WINDOW_S, RECOVERY_LIMIT_S = 0.2, 3.0, 60.0
IDENTITY_RATE, IDENTITY_CLIENTS = 200.0, 16
IDENTITY_SHAPE = "x=1x1024"


@dataclass(frozen=True)
class Plan:
    """How long and how often. Overload takes `repeats` - 1 windows, at least one: the server must recover each time."""

    seconds: float
    repeats: int

    @property
    def overloads(self) -> int:
        return max(1, self.repeats - 1)


@dataclass
class Watched:
    """A running server and the memory that it took."""

    peer: Peer
    idle_mb: float
    most_mb: float

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks at the memory once a second: it stops the server's threads for a moment, so not where p99 counts."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(1.0):
                self.most_mb = max(self.most_mb, self.peer.memory())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.most_mb = max(self.most_mb, self.peer.memory())

    def figures(self) -> dict:
        return {"start_s": self.peer.start_s, "idle_mb": self.idle_mb, "most_mb": self.most_mb}


@contextmanager
def served(row: Row, model: str) -> Iterator[Watched]:
    with Peer(row.server, row.setting, [model]) as peer:
        idle = peer.memory()
        yield Watched(peer, idle, idle)


def generator(row: Row, server: Watched, plan: Plan, *what: str) -> Generator:
    more = ("--json-tensors",) if row.json_tensors else ()
    return Generator(row.at(server.peer.addresses), (*what, *more), plan.seconds)


def of_mix(row: Row, server: Watched, plan: Plan, mix: str) -> Generator:
    requests: Path = MIXES / f"{mix}.jsonl"
    return generator(row, server, plan, "--model", "minilm", "--requests", str(requests))


def peak(row: Row, mix: str, plan: Plan) -> dict:
    with served(row, "minilm") as server:
        traffic = of_mix(row, server, plan, mix)
        with server.watching():
            closed = traffic.closed(CLIENTS, warmup=plan.seconds / 2)
        trials: Trials[Window] = Trials(lambda rate, number: traffic.open(rate, number), plan.repeats)
        given_up = False
        try:
            highest = find_highest(FIRST_OF_CLOSED * closed.throughput, trials.bears, trials.holds)
        except Exhausted:
            highest, given_up = trials.best(), True
        return {
            **server.figures(),
            "closed": closed.kept(),
            "highest": highest,
            "given_up": given_up,
            "trials": [window.kept() for rate in sorted(trials.windows) for window in trials.windows[rate]],
        }


def point(windows: list[Window]) -> dict:
    return {"p99_9_ms": percentile_ms(windows, 99.9), "windows": [window.kept() for window in windows]}


def recovery(traffic: Generator, rate: float, since: float) -> float | None:
    """Seconds since the last arrival until a window begins whose requests are answered as they should be."""
    while (after := time.monotonic() - since) < RECOVERY_LIMIT_S:
        if traffic.open(rate, warmup=0, seconds=min(RECOVERY_WINDOW_S, traffic.seconds)).fits:
            return after
    return None


def overload(traffic: Generator, server: Watched, rate: float, plan: Plan) -> dict:
    """`rate`: what the server can do; three times that is sent."""
    windows: list[Window] = []
    recovered: list[float | None] = []
    while len(windows) < plan.overloads and None not in recovered:
        began = time.monotonic()
        with server.watching():
            window = traffic.open(
                OVERLOAD * rate,
                len(windows) + 1,
                seconds=traffic.seconds,
                drain=OVERLOAD_DRAIN_S,
                deadline_ms=DEADLINE_MS,
            )
        windows.append(window)
        recovered.append(recovery(traffic, max(1.0, RECOVERY_RATE * rate), began + traffic.seconds + WARMUP_S))
    return {"of": rate, "windows": [window.kept() for window in windows], "recovered_after_s": recovered}


def loaded(row: Row, mix: str, plan: Plan, highest: float, closed: float, slowest: float) -> dict:
    """`highest`: the own peak; where there is none (0), the overload is three times the closed loop's rate. `slowest`:
    the lowest peak of all; 0: there is none."""
    rates = {name: share * highest for name, share in POINTS.items()} | {"slowest": slowest}
    rates = {name: rate for name, rate in rates.items() if rate > 0}
    with served(row, "minilm") as server:
        traffic = of_mix(row, server, plan, mix)
        traffic.closed(CLIENTS, warmup=plan.seconds / 2)
        windows: dict[str, list[Window]] = {name: [] for name in rates}
        for number in range(1, plan.repeats + 1):
            for name, rate in rates.items():
                windows[name].append(traffic.open(rate, number))
        points = {name: point(each) for name, each in windows.items()}
        beyond = overload(traffic, server, highest or closed, plan)
        return {**server.figures(), "peak": highest, "points": points, "overload": beyond}


def identity(row: Row, plan: Plan) -> dict:
    with served(row, "identity") as server:
        traffic = generator(row, server, plan, "--model", "identity", "--shape", IDENTITY_SHAPE)
        traffic.closed(IDENTITY_CLIENTS, warmup=plan.seconds / 2)
        low, saturated = [], []
        for number in range(1, plan.repeats + 1):
            low.append(traffic.open(IDENTITY_RATE, number))
            saturated.append(traffic.closed(IDENTITY_CLIENTS, number))
        return {
            **server.figures(),
            "rate": IDENTITY_RATE,
            "low": point(low),
            "saturated": point(saturated),
        }
