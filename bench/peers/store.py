"""build/bench/bench_peers.json: what was measured last of everything, written after every part."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

from rows import BY_REQUEST, ROWS
from served_models import ROOT

FILE = ROOT / "build/bench/bench_peers.json"


def busy_s() -> float:
    """Seconds that all cores together have worked, since the machine was started."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def state() -> dict:
    """Of the machine, before something is measured: `busy_cores` over a second is what others do; the load average
    remembers what was measured before."""
    before, began = busy_s(), time.monotonic()
    time.sleep(1.0)
    return {
        "at": datetime.datetime.now().isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "busy_cores": (busy_s() - before) / (time.monotonic() - began),
        "load_average": os.getloadavg()[0],
    }


class Store:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.all: dict = {"rows": {}, "raw": {}}
        if file.exists():
            self.all |= json.loads(file.read_text())

    def of(self, row: str, part: str) -> dict | None:
        """`part`: peak.MIX, load.MIX or identity."""
        return self.all["rows"].get(row, {}).get(part)

    def put(self, row: str, part: str, figures: dict) -> None:
        rows = self.all["rows"]
        rows.setdefault(row, {})[part] = figures
        self.all["rows"] = {name: rows[name] for name in (each.name for each in ROWS + BY_REQUEST) if name in rows}
        self.save()

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        written = self.file.with_suffix(".json.new")
        written.write_text(json.dumps(self.all, indent=1) + "\n")
        written.replace(self.file)

    def peak(self, row: str, mix: str) -> float:
        """0: none, or not measured."""
        return (self.of(row, f"peak.{mix}") or {}).get("highest", 0.0)

    def slowest(self, mix: str) -> float:
        """The lowest peak of those that have one; 0: none has."""
        return min((p for row in self.all["rows"] if (p := self.peak(row, mix)) > 0), default=0.0)
