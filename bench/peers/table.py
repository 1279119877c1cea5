"""bench_peers.json as tables (Markdown): for the terminal, and for bench/README.md."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

MIXES = ("sts", "long")
FEW = 1000  # answers; of fewer, p99.9 is hardly more than the slowest
NONE = "–"


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Median (lowest to highest, how many)."""
    found = sorted(values)
    if not found:
        return NONE
    text = f"{statistics.median(found):.{digits}f}"
    if len(found) == 1:
        return f"{text} (1)"
    return f"{text} ({found[0]:.{digits}f} to {found[-1]:.{digits}f}, {len(found)})"


def rate_of(value: float) -> str:
    return f"{value:.{1 if value >= 10 else 2}f}"


def lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    return text + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def of_all(windows: list[dict], name: str) -> list[float]:
    return [window[name] for window in windows]


def highest(part: dict) -> str:
    """The rate, the lowest one above it that was not borne, and p99 there."""
    rate = part["highest"]
    if rate == 0:
        tried = [t["rate"] for t in part["trials"]]
        return f"none (tried {rate_of(min(tried))})"
    at = [t["p99_ms"] for t in part["trials"] if t["rate"] == rate or abs(t["rate"] - rate) < 0.001]
    above = min((t["rate"] for t in part["trials"] if t["rate"] > rate * 1.0001), default=0.0)
    unsure = "; search given up" if part["given_up"] else ""
    return f"**{rate_of(rate)}** (not {rate_of(above)}; p99 {spread(at)}{unsure})"


def latency(point: dict | None) -> str:
    if point is None:
        return NONE
    windows = point["windows"]
    answers = sum(window["ok"] for window in windows)
    last = f"{point['p99_9_ms']:.0f}{'*' if answers < FEW else ''}"
    text = f"{spread(of_all(windows, 'p50_ms'), 1)} / {spread(of_all(windows, 'p99_ms'))} / {last}"
    failed = sum(sum(w["failures"].values()) + w["no_outcome"] for w in windows)
    return text + (f"; {failed} failed" if failed else "")


def of_mix(result: dict, mix: str) -> str:
    rows = []
    asked = {}
    for name, parts in result["rows"].items():
        first, second = parts.get(f"peak.{mix}"), parts.get(f"load.{mix}")
        points = second["points"] if second else {}
        if "slowest" in points:
            asked[name] = points["slowest"]["windows"][0]["rate"]
        if first or second:
            rows.append(
                [
                    name,
                    highest(first) if first else NONE,
                    f"{first['closed']['throughput']:.1f} (1)" if first else NONE,
                    *(latency(points.get(each)) for each in ("half", "four_fifths", "slowest")),
                ]
            )
    for engine, rates in result["raw"].get(mix, {}).get("requests_per_s", {}).items():
        rows.append(
            [f"no server: {engine.replace('.batch_', ', batches of ')}", NONE, spread(rates, 1), NONE, NONE, NONE]
        )
    if not rows:
        return ""
    rate = ", ".join(rate_of(r) for r in sorted(set(asked.values()))) or NONE
    head = ["server", "highest rate with p99 < 200 ms (requests/s)", "closed loop, 32 clients (requests/s)"]
    head += [f"p50 / p99 / p99.9 (ms) {at}" for at in ("at 50% of it", "at 80%", f"at the slowest one's ({rate}/s)")]
    mixed = (
        " **The rates of the last column differ: measure the stage `load` again.**"
        if len(set(asked.values())) > 1
        else ""
    )
    return f"**{mix}.**{mixed}\n\n{lines(head, rows)}\n"


def kinds(windows: list[dict]) -> str:
    """Failures by code, without refusals."""
    counted: Counter[str] = Counter()
    for window in windows:
        counted.update(window["failures"])
    return ", ".join(f"{code} {count}" for code, count in sorted(counted.items())) or "none"


def recovered(after: list[float | None]) -> str:
    if None in after:
        return f"not within 60 s ({len(after)})"
    return spread((each for each in after if each is not None), 1)


def overload(result: dict, mix: str) -> str:
    rows = []
    for name, parts in result["rows"].items():
        if (part := parts.get(f"load.{mix}")) is None:
            continue
        over = part["overload"]
        windows = over["windows"]
        refusing = [w for w in windows if w["refused"]]
        rows.append(
            [
                name,
                spread(of_all(windows, "offered")),
                spread(of_all(windows, "goodput"), 1),
                spread((w["goodput"] / over["of"] for w in windows), 2)
                + ("" if part["peak"] else " of the closed loop's"),
                spread(of_all(windows, "refused")),
                f"{spread(of_all(refusing, 'refused_p50_ms'), 1)} / {spread(of_all(refusing, 'refused_p99_ms'), 1)}",
                kinds(windows),
                spread(of_all(windows, "no_outcome")),
                recovered(over["recovered_after_s"]),
            ]
        )
    head = [
        "server",
        "offered/s",
        "answered within 500 ms, per s",
        "of the peak",
        "refused",
        "p50 / p99 of a refusal (ms)",
    ]
    head += ["failures by kind, all windows", "no outcome", "well again after (s)"]
    return f"**{mix} at three times each one's own peak**\n\n{lines(head, rows)}\n" if rows else ""


def resources(result: dict) -> str:
    rows = []
    for name, parts in result["rows"].items():
        seen = [part for key, part in parts.items() if key.startswith(("peak.", "load."))]
        if not seen:
            continue
        size = result.get("sizes", {}).get(name.partition("/")[0])
        rows.append(
            [
                name,
                spread(of_all(seen, "start_s"), 1),
                spread(of_all(seen, "idle_mb")),
                spread(of_all(seen, "most_mb")),
                f"{size['own_mb']:.0f} + {size['pytorch_mb']:.0f}" if size else NONE,
            ]
        )
    head = [
        "server",
        "start to the first correct answer (s)",
        "PSS idle (MB)",
        "PSS under load (MB)",
        "size + PyTorch's part (MB)",
    ]
    return f"**What it takes**\n\n{lines(head, rows)}\n" if rows else ""


def identity(result: dict) -> str:
    rows = [
        [
            name,
            spread(of_all(part["low"]["windows"], "p50_ms"), 2),
            spread(of_all(part["low"]["windows"], "p99_ms"), 2),
            spread(of_all(part["saturated"]["windows"], "throughput")),
        ]
        for name, parts in result["rows"].items()
        if (part := parts.get("identity"))
    ]
    head = ["server", "p50 at 200/s (ms)", "p99 at 200/s (ms)", "closed loop, 16 clients (requests/s)"]
    return f"**Identity, 4 KiB**\n\n{lines(head, rows)}\n" if rows else ""


def conditions(result: dict) -> str:
    parts = [part for row in result["rows"].values() for part in row.values()] + list(result["raw"].values())
    if not parts:
        return "Nothing is measured.\n"
    states = sorted((part["state"] for part in parts), key=lambda state: state["at"])
    days = sorted({state["at"][:10] for state in states})
    busy = [state["busy_cores"] for state in states]
    seconds = sorted({part["seconds"] for part in parts if "seconds" in part})
    windows = [w for row in result["rows"].values() for part in row.values() for w in windows_in(part)]
    late = sum(window["generator_late"] for window in windows)
    return (
        f"Measured on {' and '.join(sorted({days[0], days[-1]}))} with {states[0]['cores']} cores, windows of "
        f"{', '.join(f'{each:g}' for each in seconds)} s. Before each part others kept {spread(busy, 1)} cores busy; "
        f"load average before the first {states[0]['load_average']:.1f}. Figures: median (lowest to highest, windows); "
        f"p99.9 over all windows, * of fewer than {FEW} answers. The generator, on the same cores, was more than "
        f"10 ms late at p99 in {late} of {len(windows)} windows.\n"
    )


def windows_in(part: object) -> Iterable[dict]:
    if isinstance(part, dict):
        if "generator_late" in part:
            yield part
        else:
            for each in part.values():
                yield from windows_in(each)
    elif isinstance(part, list):
        for each in part:
            yield from windows_in(each)


def tables(result: dict) -> str:
    parts = [conditions(result) + "\n"]
    parts += [of_mix(result, mix) + overload(result, mix) for mix in MIXES]
    parts += [identity(result), resources(result)]
    return "".join(parts).rstrip() + "\n"
