"""When a request is tried again, and how often all of them may be (as actors/link/retry_budget.hpp)."""

from __future__ import annotations

import random

_FIRST_BACKOFF = 0.05  # seconds, where an error names no time; doubles
_LAST_BACKOFF = 1.0
_JITTER = 0.5  # up to this part of a wait is added by chance
_MOST_SAVED = 1024.0


def with_jitter(seconds: float) -> float:
    return seconds * (1 + random.uniform(0, _JITTER))


def backoff(tries: int) -> float:
    """Seconds to wait after so many tries."""
    return with_jitter(min(_LAST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(tries - 1, 16)))


class RetryBudget:
    """Each request earns a part of a retry, each retry costs a whole one. A reserve is there from the start and comes back
    by itself, one a second; what can be saved up is bounded: a long good time must not pay for a storm."""

    def __init__(self, per_request: float, reserve: int, now: float) -> None:
        self._per_request = per_request
        self._reserve = float(reserve)
        self._left = float(reserve)
        self._refilled = now

    def earn(self) -> None:
        self._left = min(max(_MOST_SAVED, self._reserve), self._left + self._per_request)

    def take(self, now: float) -> bool:
        """False: nothing is left."""
        if self._left < self._reserve:
            self._left = min(self._reserve, self._left + now - self._refilled)
        self._refilled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
