"""Runs a command and leaves nothing of it behind: `keeper.py COMMAND...`.

Servers start processes that outlive them, in sessions of their own. The keeper is their subreaper, so that whatever
loses its parent becomes the keeper's child and stays below it in the tree of processes. When the command ends, when the
keeper is told to end (SIGTERM, SIGINT) or loses its own parent, the command gets SIGTERM and ten seconds, then whatever
is left gets SIGTERM and two more, then SIGKILL. Only processes below the keeper are touched, each by its pid.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def descendants(root: int) -> list[int]:
    """Pids of the live processes below `root`."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def all_gone() -> bool:
    """Reaps. Orphans become the keeper's children, so without a child there is nothing below."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def end_all(first: list[int]) -> None:
    me = os.getpid()
    for seconds, number, pids in ((10, signal.SIGTERM, first), (2, signal.SIGTERM, None), (5, signal.SIGKILL, None)):
        for pid in descendants(me) if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all_gone():
                return
            time.sleep(0.02)


class Ended(Exception):
    pass


def end(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Ended


def main() -> int:
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    command: list[int] = []
    try:
        if os.getppid() == parent:
            command.append(subprocess.Popen(sys.argv[1:]).pid)
            while True:
                pid, status = os.wait()
                if pid in command:
                    command.clear()
                    return os.waitstatus_to_exitcode(status)
    except Ended:
        return 0
    finally:
        end_all(command)
    return 1


if __name__ == "__main__":
    sys.exit(main())
