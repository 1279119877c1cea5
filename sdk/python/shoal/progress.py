"""How far a long `map` or `stream` has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sized
from typing import Any, TextIO, TypeAlias

from .errors import ShoalError

__all__ = ["Progress"]

Report: TypeAlias = Callable[[int, int, "int | None"], None]
"""Called with what is done (failures included), what has failed, and the total, None if it is not known."""


class Progress:
    """Prints one line to standard error: over and over itself on a terminal, else a line every ten seconds.

    Any callable with the same arguments does in its place; for tqdm: ``progress=lambda done, failed, total:
    bar.update(done - bar.n)``.
    """

    def __init__(self, file: TextIO | None = None, every: float | None = None) -> None:
        self._file = sys.stderr if file is None else file
        self._in_place = self._file.isatty()
        self._every = (0.2 if self._in_place else 10.0) if every is None else every
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, failed: int, total: int | None) -> None:
        now = time.monotonic()
        is_last = total is not None and done == total
        if not is_last and now - self._last < self._every:
            return
        self._last = now
        rate = done / max(now - self._began, 1e-9)
        text = f"{done}" + (f" of {total}" if total is not None else "") + f", {rate:.0f}/s"
        if failed:
            text += f", {failed} failed"
        if total is not None and rate > 0 and not is_last:
            text += f", {(total - done) / rate:.0f} s left"
        # Blanks over what a longer line left there.
        self._file.write(f"\r{text:<60}" if self._in_place else text + "\n")
        if self._in_place and is_last:
            self._file.write("\n")
        self._file.flush()


class Tally:
    """Counts outcomes and reports them."""

    def __init__(self, progress: Report | bool, many: Any) -> None:
        self._report: Report | None = Progress() if progress is True else progress or None
        self._total = len(many) if isinstance(many, Sized) else None
        self._done = 0
        self._failed = 0

    def add(self, outcome: object) -> None:
        self._done += 1
        self._failed += isinstance(outcome, ShoalError)
        if self._report is not None:
            self._report(self._done, self._failed, self._total)

    def end(self) -> None:
        """The total is known now."""
        if self._report is not None and self._total is None:
            self._report(self._done, self._failed, self._done)
