"""The highest rate that a server bears, found so that one stall of a shared machine does not decide it.

A window that fails counts only when a second one at the same rate has failed too; if they differ a third decides. The
rate that is found must hold in most of `repeats` windows; if it does not, the search goes on below it. Every server is
searched in the same way, and the n-th window at a rate has the same arrivals for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

GROWTH = 1.2  # of the first step up or down; squared with each further one
TOLERANCE = 1.05
LOWEST, HIGHEST = 0.5, 1e5  # requests per second
MOST_WINDOWS = 30  # of a search; a quiet machine needs about nine


class Exhausted(Exception):
    """The search found no end: the machine is too unsteady, or no rate is too high."""


class Judged(Protocol):
    @property
    def fits(self) -> bool: ...


W = TypeVar("W", bound=Judged)


class Trials(Generic[W]):
    """Windows by rate. `run(rate, number)` measures one; numbers start at 1."""

    def __init__(self, run: Callable[[float, int], W], repeats: int = 3) -> None:
        self.run, self.repeats = run, repeats
        self.windows: dict[float, list[W]] = {}

    def bears(self, rate: float) -> bool:
        """One window is enough if it fits."""
        return self._judge(rate, hurried=True)

    def holds(self, rate: float) -> bool:
        """Most of `repeats` windows fit."""
        return self._judge(rate, hurried=False)

    def _judge(self, rate: float, hurried: bool) -> bool:
        done = self.windows.setdefault(rate, [])
        most = self.repeats // 2 + 1
        while True:
            good = sum(window.fits for window in done)
            bad = len(done) - good
            if bad >= most:
                return False
            if good >= most and (hurried or len(done) >= self.repeats):
                return True
            if hurried and good and not bad:
                return True
            if sum(map(len, self.windows.values())) >= MOST_WINDOWS:
                raise Exhausted
            done.append(self.run(rate, len(done) + 1))

    def best(self) -> float:
        """Of a search that was given up: the highest rate below all that failed; 0: none."""
        judged = {rate: sum(w.fits for w in done) - len(done) / 2 for rate, done in self.windows.items() if done}
        failed = min((rate for rate, votes in judged.items() if votes < 0), default=math.inf)
        return max((rate for rate, votes in judged.items() if votes > 0 and rate < failed), default=0.0)


def find_highest(first: float, bears: Callable[[float], bool], holds: Callable[[float], bool]) -> float:
    """Steps from `first` until one rate is borne and a higher one is not, then bisects at the geometric mean until they
    are within TOLERANCE. Returns the highest that is borne and holds; 0: there is none."""
    borne: list[float] = []
    failed, step, rate = math.inf, GROWTH, first
    while rate >= LOWEST:
        if bears(rate):
            borne.append(rate)
        else:
            failed = rate
        while (best := max((r for r in borne if r < failed), default=0.0)) and failed / best <= TOLERANCE:
            if holds(best):
                return best
            failed = best
            bears = holds  # one window may be luck here
        if best and failed < math.inf:
            rate = math.sqrt(best * failed)
        else:
            rate = best * step if best else failed / step
            step *= step
        if rate > HIGHEST:
            raise Exhausted
    return 0.0
