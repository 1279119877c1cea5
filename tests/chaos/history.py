"""What happened, as JSON lines: one file of the load's, one of the run's. Both have `t`, seconds since the load began.

The load's (history.jsonl):

    {"t", "ev": "send", "id", "door", "model", "class", "deadline", "phase"}
    {"t", "ev": "end", "id", "outcome": "right" | "wrong" | "error", "code", "retryable", "said", "difference", "tries"}
    {"t", "ev": "lag", "seconds"}              the load's own event loop was late by so much: times near it say little

The run's (events.jsonl):

    {"t", "ev": "about", "seed", "seconds", "rate", "capacity", "most", "tolerance", "distance"}    capacity: as the load measured it
    {"t", "ev": "phase", "phase": "calm" | "faults" | "overload" | "after", "rate"}
    {"t", "ev": "flood", "planned", "deadline", "sent", "ok", "in_time", "no_outcome", "failures": {CODE: N}, "longest_seconds", "lag_seconds"}
    {"t", "ev": "fault", "number", "kind", "service", "said", "kill", "ended"}; "not_done": why, if it could not be done
    {"t", "ev": "memory", "service", "container", "bytes", "limit", "rss"}
    {"t", "ev": "host", "load", "engine"}                 what the host has to do; how long the engine took to answer
    {"t", "ev": "acknowledged", "what", "name"}, {"t", "ev": "kept", "what", "name", "kept", "said"}
    {"t", "ev": "container", "container", "service", "restarts", "out_of_memory", "exit_code"}     at the end

An `end` without a `send`, a second `end`: both are kept as they are, the checker finds them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Writer:
    """Of one file; any thread may write."""

    def __init__(self, path: Path, start: float) -> None:
        """`start`: when the load began, of `time.monotonic`."""
        self._file = path.open("w", buffering=1 << 16)
        self._lock = threading.Lock()
        self.start = start

    def now(self) -> float:
        return time.monotonic() - self.start

    def write(self, event: str, at: float | None = None, **what: Any) -> None:
        line = json.dumps({"t": round(self.now() if at is None else at, 4), "ev": event, **what})
        with self._lock:
            if not self._file.closed:
                self._file.write(line + "\n")

    def flush(self) -> None:
        with self._lock:
            self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()


FAILED = "it failed: "  # how `not_done` begins if this machine can do the fault, and it went wrong


@dataclass(slots=True)
class End:
    at: float
    outcome: str
    code: str = ""
    retryable: bool = False
    said: str = ""
    difference: float = 0.0
    tries: int = 1


@dataclass(slots=True)
class Request:
    id: int
    sent: float
    door: str
    model: str
    priority: str
    deadline: float
    phase: str
    ends: list[End] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return bool(self.ends) and self.ends[0].outcome == "right"

    @property
    def seconds(self) -> float | None:
        return self.ends[0].at - self.sent if self.ends else None


@dataclass(slots=True)
class FaultDone:
    number: int
    kind: str
    service: str
    said: str
    began: float
    ended: float
    is_kill: bool = False
    not_done: str = ""


@dataclass(slots=True)
class History:
    about: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)  # ids that ended and were never sent
    lags: list[tuple[float, float]] = field(default_factory=list)  # when it was noticed, seconds
    phases: list[tuple[float, str]] = field(default_factory=list)
    faults: list[FaultDone] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    host: list[tuple[float, float, float]] = field(default_factory=list)  # when, load average, seconds
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    containers: list[dict[str, Any]] = field(default_factory=list)
    flood: dict[str, Any] | None = None  # what came besides the load in the overload

    @property
    def seconds(self) -> float:
        return max((r.ends[-1].at if r.ends else r.sent for r in self.requests), default=0.0)


def lines_of(*paths: Path) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open() as file:
            for line in file:
                yield json.loads(line)


def read(lines: Iterable[dict[str, Any]]) -> History:
    history = History()
    requests: dict[int, Request] = {}
    for line in lines:
        event, at = line["ev"], line["t"]
        if event == "send":
            requests[line["id"]] = Request(
                line["id"], at, line["door"], line["model"], line["class"], line["deadline"], line["phase"]
            )
        elif event == "end":
            if line["id"] not in requests:
                history.strays.append(line["id"])
                continue
            fields = ("code", "retryable", "said", "difference", "tries")
            requests[line["id"]].ends.append(End(at, line["outcome"], **{name: line[name] for name in fields if name in line}))
        elif event == "lag":
            history.lags.append((at, line["seconds"]))
        elif event == "phase":
            history.phases.append((at, line["phase"]))
        elif event == "fault":
            history.faults.append(
                FaultDone(
                    *(line["number"], line["kind"], line["service"], line.get("said", ""), at, line.get("ended", at)),
                    is_kill=line.get("kill", False),
                    not_done=line.get("not_done", ""),
                )
            )
        elif event in ("about", "flood"):
            setattr(history, event, line)
        elif event == "host":
            history.host.append((at, line["load"], line.get("engine", 0.0)))
        elif event in ("memory", "acknowledged", "kept"):
            getattr(history, event).append(line)
        elif event == "container":
            history.containers.append(line)
    history.requests = sorted(requests.values(), key=lambda each: each.sent)
    history.faults.sort(key=lambda each: each.began)
    return history
