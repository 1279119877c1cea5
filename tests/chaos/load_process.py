"""The process that `load.py` is, as the run sees it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .mesh import ROOT


class LoadFailed(Exception):
    pass


class LoadProcess:
    def __init__(self, settings: dict[str, Any]) -> None:
        paths = [str(ROOT / "tests"), str(ROOT / "sdk" / "python"), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the run, which ends it in order
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.tell(settings)

    def tell(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError as gone:
            raise LoadFailed(f"the load has ended ({gone}): see what it wrote to standard error") from gone

    def hear(self, within: float) -> dict[str, Any]:
        try:
            said = self._lines.get(timeout=within)
        except queue.Empty:
            raise LoadFailed(f"the load has said nothing in {within:g} s") from None
        return self._heard(said)

    def hear_now(self) -> dict[str, Any] | None:
        """None: it has not said anything yet."""
        try:
            return self._heard(self._lines.get_nowait())
        except queue.Empty:
            return None

    def _heard(self, said: dict[str, Any] | None) -> dict[str, Any]:
        if said is None:
            raise LoadFailed(f"the load ended with code {self._process.wait()}: see what it wrote to standard error")
        if said.get("ready") is False:
            raise LoadFailed(said["said"])
        return said

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)


def settings_of(host: str, key: Path, seed: int, history: Path, fixtures: Path, capacity_seconds: float) -> dict[str, Any]:
    return {
        "host": host,
        "key": str(key),
        "seed": seed,
        "history": str(history),
        "fixtures": str(fixtures),
        "capacity_seconds": capacity_seconds,
    }
