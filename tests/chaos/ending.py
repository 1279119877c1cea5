"""Ctrl-C and SIGTERM, where whatever was done has to be undone whenever they come: they are heard at once, and act where the
run sleeps, never in the middle of a fault's begin or end."""

from __future__ import annotations

import signal
import threading

_asked = threading.Event()


class Ended(Exception):
    """Somebody wants the run to end."""


def listen() -> None:
    """From now on signals are heard this way; without it they raise KeyboardInterrupt as ever."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: _asked.set())


def sleep(seconds: float) -> None:
    """Raises Ended if the run is to end before that, or was to before."""
    if _asked.wait(max(0.0, seconds)):
        raise Ended
