"""The report: JSON for machines; one HTML page for people, which needs nothing else: a timeline of faults, what was answered,
how fast, and memory, all on one axis."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .checker import Check, Limits, quantile, recovery_after
from .history import FaultDone, History, Request

WIDTH, LEFT, RIGHT = 1100, 130, 16
COLORS = {"kill": "#c0392b", "kill_front": "#c0392b", "freeze": "#2471a3", "poison": "#7d3c98"}
OTHER = "#b9770e"


def write(folder: Path, history: History, checks: Sequence[Check], limits: Limits, replay: str) -> None:
    (folder / "report.json").write_text(json.dumps(as_json(history, checks, limits, replay), indent=1) + "\n")
    (folder / "report.html").write_text(as_html(history, checks, replay))


def passed(checks: Sequence[Check]) -> bool:
    return all(check.passed is not False for check in checks)


def as_json(history: History, checks: Sequence[Check], limits: Limits, replay: str) -> dict[str, object]:
    return {
        "passed": passed(checks),
        "seed": history.about.get("seed"),
        "seconds": history.about.get("seconds"),
        "rate": history.about.get("rate"),
        "capacity": history.about.get("capacity"),
        "replay": replay,
        "limits": asdict(limits),
        "checks": [asdict(check) for check in checks],
        "faults": [
            {**asdict(fault), "recovery": recovery_after(history, fault) if fault.is_kill and not fault.not_done else None}
            for fault in history.faults
        ],
        "seconds_of_load": [asdict_of_second(second) for second in per_second(history)],
        "host": {
            "load_median": quantile(sorted(load for _, load, _ in history.host), 0.5),
            "load_most": max((load for _, load, _ in history.host), default=0.0),
            "engine_most": max((engine for _, _, engine in history.host), default=0.0),
        },
    }


# --- what is drawn ----------------------------------------------------------------------------------------------------


class Second:
    __slots__ = ("at", "errors", "latencies", "right", "sent", "wrong")

    def __init__(self, at: int) -> None:
        self.at = at
        self.sent = self.right = self.errors = self.wrong = 0
        self.latencies: list[float] = []

    @property
    def p99(self) -> float | None:
        return quantile(sorted(self.latencies), 0.99) if self.latencies else None


def per_second(history: History) -> list[Second]:
    """By when a request was sent."""
    seconds = [Second(at) for at in range(int(history.seconds) + 1)]
    for request in history.requests:
        second = seconds[int(request.sent)]
        second.sent += 1
        if not request.ends:
            continue
        outcome = request.ends[0].outcome
        second.right += outcome == "right"
        second.errors += outcome == "error"
        second.wrong += outcome == "wrong"
        if outcome == "right":
            second.latencies.append(request.seconds or 0.0)
    return seconds


def asdict_of_second(second: Second) -> dict[str, object]:
    p99 = None if second.p99 is None else round(second.p99, 4)
    return {"at": second.at, "sent": second.sent, "right": second.right, "errors": second.errors, "wrong": second.wrong, "p99": p99}


class Axis:
    def __init__(self, seconds: float) -> None:
        self.seconds = max(1.0, seconds)

    def x(self, at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / self.seconds

    def grid(self, top: float, bottom: float) -> str:
        step = next(step for step in (5, 10, 30, 60, 300, 600, 3600) if self.seconds / step <= 16 or step == 3600)
        lines = []
        for at in range(0, int(self.seconds) + 1, step):
            x = self.x(at)
            lines.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" class="grid"/>')
            lines.append(f'<text x="{x:.1f}" y="{bottom + 14}" class="tick" text-anchor="middle">{at} s</text>')
        return "".join(lines)


def as_html(history: History, checks: Sequence[Check], replay: str) -> str:
    about = history.about
    title = "Chaos: passed" if passed(checks) else "Chaos: failed"
    facts = (
        f"seed {about.get('seed')}, {about.get('seconds', 0):.0f} s, {about.get('rate', 0):.0f} requests/s "
        f"(the calm mesh answers {about.get('capacity', 0):.0f}/s), {len(history.requests)} requests, "
        f"{sum(not fault.not_done for fault in history.faults)} faults; the host's load average was up to "
        f"{max((load for _, load, _ in history.host), default=0.0):.0f}, and Docker took up to "
        f"{max((engine for _, _, engine in history.host), default=0.0):.1f} s to answer"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>'
        f'<h1 class="{"good" if passed(checks) else "bad"}">{title}</h1><p>{html.escape(facts)}.<br>'
        f"Again: <code>{html.escape(replay)}</code></p>{table_of(checks)}<h2>What happened when</h2>"
        f"{timeline(history)}<h2>Faults</h2>{list_of_faults(history)}{not_done(history)}</body></html>\n"
    )


def table_of(checks: Sequence[Check]) -> str:
    rows = []
    for check in checks:
        word, kind = {True: ("yes", "good"), False: ("NO", "bad"), None: ("not measured", "dim")}[check.passed]
        more = "".join(f"<li>{html.escape(each)}</li>" for each in check.details[:40])
        if len(check.details) > 40:
            more += f"<li>… and {len(check.details) - 40} more in report.json</li>"
        details = f"<details{'' if check.passed is not False else ' open'}><summary>more</summary><ul>{more}</ul></details>" if more else ""
        rows.append(
            f'<tr><td class="{kind}">{word}</td><td>{html.escape(check.name)}</td><td>{html.escape(check.wanted)}</td>'
            f"<td>{html.escape(check.got)}{details}</td></tr>"
        )
    return f"<table><tr><th></th><th>promise</th><th>wanted</th><th>found</th></tr>{''.join(rows)}</table>"


def timeline(history: History) -> str:
    axis = Axis(history.seconds)
    parts: list[str] = []
    top = 10.0
    kinds = sorted({fault.kind for fault in history.faults if not fault.not_done})
    for row, kind in enumerate(kinds):
        y = top + row * 18
        parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" class="label" text-anchor="end">{kind.replace("_", " ")}</text>')
        for fault in history.faults:
            if fault.kind == kind and not fault.not_done:
                parts.append(bar(axis, fault, y))
    bottom = top + len(kinds) * 18
    parts += [shade_of_phases(history, axis, top, bottom + 360), axis.grid(top, bottom)]
    seconds = per_second(history)
    parts.append(throughput(axis, seconds, bottom + 30, 100))
    parts.append(p99s(axis, seconds, bottom + 160, 90))
    parts.append(memory(axis, history, bottom + 280, 80))
    height = bottom + 390
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="timeline">{"".join(parts)}</svg>'


def bar(axis: Axis, fault: FaultDone, y: float) -> str:
    x, end = axis.x(fault.began), axis.x(max(fault.ended, fault.began))
    said = html.escape(f"{fault.number}: {fault.began:.1f} to {fault.ended:.1f} s: {fault.said}")
    color = COLORS.get(fault.kind, OTHER)
    return f'<rect x="{x:.1f}" y="{y + 2:.1f}" width="{max(4.0, end - x):.1f}" height="12" fill="{color}"><title>{said}</title></rect>'


def shade_of_phases(history: History, axis: Axis, top: float, bottom: float) -> str:
    parts = []
    ends = [at for at, _ in history.phases[1:]] + [history.seconds]
    for (at, phase), end in zip(history.phases, ends):
        if phase == "overload":
            x = axis.x(at)
            parts.append(
                f'<rect x="{x:.1f}" y="{top}" width="{axis.x(end) - x:.1f}" height="{bottom - top:.0f}" class="overload"/>'
                f'<text x="{x + 4:.1f}" y="{top + 12}" class="tick">overload</text>'
            )
    return "".join(parts)


def scale_of(axis: Axis, top: float, height: float, most: float, unit: str, name: str) -> str:
    lines = [f'<text x="8" y="{top + 12}" class="label">{name}</text>']
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="tick" text-anchor="end">{most * share:g} {unit}</text>')
    return "".join(lines) + axis.grid(top, top + height)


def line_of(points: Sequence[tuple[float, float]], color: str) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{color}" stroke-width="1.4"/>'


def throughput(axis: Axis, seconds: Sequence[Second], top: float, height: float) -> str:
    most = nice(max((second.sent for second in seconds), default=1))
    parts = [scale_of(axis, top, height, most, "/s", "requests")]
    y = lambda count: top + height * (1 - count / most)  # noqa: E731
    parts.append(line_of([(axis.x(s.at + 0.5), y(s.sent)) for s in seconds], "#aab2bd"))
    parts.append(line_of([(axis.x(s.at + 0.5), y(s.right)) for s in seconds], "#1e8449"))
    for s in seconds:
        if bad := s.errors + s.wrong:
            x, color = axis.x(s.at), "#c0392b" if not s.wrong else "#000"
            what = f"{s.at} s: {s.errors} errors, {s.wrong} wrong"
            size = max(2.0, height * bad / most)
            parts.append(f'<rect x="{x:.1f}" y="{top + height - size:.1f}" width="3" height="{size:.1f}" fill="{color}"><title>{what}</title></rect>')
    parts.append(legend(top - 4, (("#aab2bd", "sent"), ("#1e8449", "answered right"), ("#c0392b", "errors after retries"))))
    return "".join(parts)


def p99s(axis: Axis, seconds: Sequence[Second], top: float, height: float) -> str:
    """Logarithmic, 1 ms to 4 s."""
    low, high = math.log10(0.001), math.log10(4.0)
    y = lambda value: top + height * (1 - (math.log10(min(4.0, max(0.001, value))) - low) / (high - low))  # noqa: E731
    parts = [f'<text x="8" y="{top + 12}" class="label">p99</text>', axis.grid(top, top + height)]
    for value, name in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (2.0, "2 s")):
        parts.append(f'<line x1="{LEFT}" y1="{y(value):.1f}" x2="{WIDTH - RIGHT}" y2="{y(value):.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" class="tick" text-anchor="end">{name}</text>')
    points: list[tuple[float, float]] = []
    for s in [*seconds, None]:
        if s is not None and s.p99 is not None:
            points.append((axis.x(s.at + 0.5), y(s.p99)))
        elif points:  # nothing was answered: no line
            parts.append(line_of(points, "#2471a3"))
            points = []
    return "".join(parts)


SERVICES = {"gateway": "#1e8449", "scheduler": "#7d3c98", "worker": "#c0392b", "cache": "#2471a3", "precision": "#b9770e", "front": "#566573"}


def memory(axis: Axis, history: History, top: float, height: float) -> str:
    most = nice(max((sample["bytes"] >> 20 for sample in history.memory), default=1))
    parts = [scale_of(axis, top, height, most, "MiB", "memory")]
    lines: dict[str, list[tuple[float, float]]] = {}
    colors: dict[str, str] = {}
    for sample in history.memory:
        point = (axis.x(max(0.0, sample["t"])), top + height * (1 - (sample["bytes"] / (1 << 20)) / most))
        lines.setdefault(sample["container"], []).append(point)
        colors[sample["container"]] = SERVICES.get(sample["service"], "#000")
    parts += [line_of(points, colors[name]) for name, points in lines.items()]
    parts.append(legend(top - 4, tuple((color, service) for service, color in SERVICES.items())))
    return "".join(parts)


def legend(y: float, entries: Sequence[tuple[str, str]]) -> str:
    parts, x = [], LEFT + 4
    for color, name in entries:
        parts.append(f'<rect x="{x}" y="{y - 9:.1f}" width="9" height="9" fill="{color}"/>')
        parts.append(f'<text x="{x + 13}" y="{y:.1f}" class="tick">{name}</text>')
        x += 24 + 7 * len(name)
    return "".join(parts)


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, ... ."""
    step = 1.0
    while True:
        for times in (1, 2, 5):
            if value <= step * times:
                return step * times
        step *= 10


def list_of_faults(history: History) -> str:
    rows = []
    for fault in history.faults:
        if fault.not_done:
            continue
        until = max(fault.ended, fault.began + 1.0)
        sent: list[Request] = [r for r in history.requests if fault.began <= r.sent < until and r.phase != "poison"]
        errors = sum(bool(r.ends) and r.ends[0].outcome == "error" for r in sent)
        again = ""
        if fault.is_kill:
            seconds = recovery_after(history, fault)
            again = "not before the next" if seconds is None else f"{seconds:.2f} s"
        rows.append(
            f"<tr><td>{fault.number}</td><td>{fault.began:.1f} s</td><td>{fault.ended - fault.began:.1f} s</td>"
            f"<td>{html.escape(fault.said)}</td><td>{errors} of {len(sent)}</td><td>{again}</td></tr>"
        )
    head = "<tr><th></th><th>at</th><th>for</th><th>what</th><th>errors meanwhile</th><th>recovered after</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def not_done(history: History) -> str:
    reasons = {fault.kind: fault.not_done for fault in history.faults if fault.not_done}
    if not reasons:
        return "<p>Nothing of the plan was left out.</p>"
    items = "".join(f"<li>{html.escape(kind)}: {html.escape(why)}</li>" for kind, why in sorted(reasons.items()))
    return f"<h2>Not done</h2><ul>{items}</ul>"


STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1140px;margin:24px auto;padding:0 16px;color:#1c2833;background:#fff}
h1{font-size:24px}h2{font-size:18px;margin-top:28px}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #e5e8eb;padding:5px 8px;text-align:left;vertical-align:top}
.good{color:#1e8449}.bad{color:#c0392b;font-weight:bold}.dim{color:#7f8c8d}code{background:#f4f6f7;padding:2px 5px}
details{color:#566573;font-size:13px}svg{width:100%;height:auto}.grid{stroke:#e5e8eb;stroke-width:1}
.tick{font-size:11px;fill:#566573}.label{font-size:12px;fill:#1c2833}.overload{fill:#fdf2e9}
""".strip()
