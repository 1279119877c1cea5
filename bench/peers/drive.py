"""Sets up every peer, drives it and Shoal with the same load, and prints one table.

    bench/peers/run SENTENCES.csv      two sentences a row, no header (STS-B)
    bench/peers/run --table            the table of what was measured last

Parts are kept in build/bench/bench_peers.json as they end; --only, --mixes and --stages measure some of them and leave
the rest, --missing those that are not there. `load` needs the peaks of all: measure `peak` of every row before. Needs
what `make setup fixtures build` makes.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import measure
import sizes
from generator import SHOAL, WARMUP_S
from rows import IDENTITY, Row, choose
from served_models import ROOT
from store import FILE, Store, state
from table import MIXES, tables

HERE = Path(__file__).resolve().parent
STAGES = ("check", "peak", "load", "identity", "raw")
START_S, SEARCH_WINDOWS, CHECK_S, RAW_S = 12.0, 9, 25.0, 30.0  # what to expect
ONNXRUNTIME, RAW_REQUESTS_PER_S = ROOT / "build/peers/onnxruntime/bin/python", 50


@dataclass(frozen=True)
class Part:
    """One thing to measure. `run` returns its figures."""

    row: str
    name: str
    expected_s: float
    run: Callable[[], dict]


def say(text: str) -> None:
    print(text, flush=True)


def python(*arguments: str | Path, executable: str | Path = sys.executable) -> None:
    subprocess.run([executable, *arguments], check=True)


def loaded(store: Store, row: Row, mix: str, plan: measure.Plan) -> dict:
    """The peaks are looked up when it is its turn."""
    own = store.of(row.name, f"peak.{mix}")
    if own is None:
        raise RuntimeError(f"its peak with {mix} is not measured: --stages peak")
    return measure.loaded(row, mix, plan, own["highest"], own["closed"]["throughput"], store.slowest(mix))


def parts_of(stages: list[str], rows: list[Row], mixes: list[str], plan: measure.Plan, store: Store) -> list[Part]:
    """All peaks before all loads."""
    window = WARMUP_S + plan.seconds + 0.5
    over = WARMUP_S + plan.seconds + measure.OVERLOAD_DRAIN_S + 10
    per = {
        "peak": START_S + 1.5 * plan.seconds + SEARCH_WINDOWS * window,
        "load": START_S + 1.5 * plan.seconds + 3 * plan.repeats * window + plan.overloads * over,
        "identity": START_S + 1.5 * plan.seconds + 2 * plan.repeats * window,
    }
    parts = []
    for stage, run in (("peak", partial(measure.peak, plan=plan)), ("load", partial(loaded, store, plan=plan))):
        if stage in stages:
            parts += [Part(r.name, f"{stage}.{m}", per[stage], partial(run, r, m)) for r in rows for m in mixes]
    if "identity" in stages:
        of = [row for row in rows if row.name in IDENTITY]
        parts += [Part(r.name, "identity", per["identity"], partial(measure.identity, r, plan)) for r in of]
    return parts


def raw(mix: str, plan: measure.Plan) -> dict:
    """Rates of raw.py, `repeats` of each."""
    rates: dict[str, list[float]] = {}
    count = str(max(32, min(512, int(RAW_REQUESTS_PER_S * plan.seconds))))
    for _ in range(plan.repeats):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            requests = measure.MIXES / f"{mix}.jsonl"
            python(HERE / "raw.py", requests, "--requests", count, "--json", file.name, executable=ONNXRUNTIME)
            for name, rate in json.loads(Path(file.name).read_text())["requests_per_s"].items():
                rates.setdefault(name, []).append(rate)
    return {"requests_per_s": rates}


def brief(figures: dict) -> str:
    """What is said when a part has ended."""
    if "highest" in figures:
        return f"{figures['highest']:.1f}/s with p99 under the limit, {len(figures['trials'])} windows"
    if "overload" in figures:
        over = figures["overload"]
        return f"{over['windows'][0]['goodput']:.1f} of {over['windows'][0]['offered']:.0f}/s in time beyond the peak"
    return f"{figures['saturated']['windows'][0]['throughput']:.0f}/s"


def run_parts(parts: list[Part], store: Store, plan: measure.Plan) -> list[str]:
    """What failed. The rest is measured all the same."""
    failed = []
    for part in parts:
        say(f"== {part.row} {part.name}")
        before, began = state(), time.monotonic()
        try:
            figures = part.run()
        except RuntimeError as error:
            failed.append(f"{part.row} {part.name}: {error}")
            say(f"FAILED: {error}")
            continue
        store.put(part.row, part.name, {"state": before, "seconds": plan.seconds, **figures})
        say(f"   {brief(figures)}; {time.monotonic() - began:.0f} s, {before['busy_cores']:.1f} cores busy before")
    return failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=Path, nargs="?", help="CSV with two sentences a row (STS-B)")
    parser.add_argument("--only", help="servers or rows, such as triton,shoal/tuned; named so, also triton/grpc")
    parser.add_argument("--mixes", default=",".join(MIXES), help="(%(default)s)")
    parser.add_argument("--stages", default=",".join(STAGES), help="(%(default)s)")
    parser.add_argument("--missing", action="store_true", help="only what bench_peers.json does not have")
    parser.add_argument("--seconds", type=float, default=10, help="counted of each window (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="windows for each figure (%(default)s)")
    parser.add_argument(
        "--json", type=Path, default=FILE, help="what is read and written (build/bench/bench_peers.json)"
    )
    parser.add_argument("--table", action="store_true", help="print the table and measure nothing")
    given = parser.parse_args()
    try:
        given.rows = choose(given.only)
    except ValueError as error:
        parser.error(str(error))
    given.mixes, given.stages = given.mixes.split(","), given.stages.split(",")
    for words, known in ((given.mixes, MIXES), (given.stages, STAGES)):
        if unknown := set(words) - set(known):
            parser.error(f"no such thing: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not given.table and given.sentences is None:
        parser.error("which sentences? Name the CSV")
    return given


def prepare(given: argparse.Namespace) -> None:
    if not SHOAL.exists():
        raise SystemExit(f"run: {SHOAL} is missing; make build")
    servers = dict.fromkeys(row.server for row in given.rows)
    environments = [name for name in servers if name != "shoal"] + ["onnxruntime"] * ("raw" in given.stages)
    if environments:
        python(HERE / "environments.py", *environments)
    python(HERE / "mixes.py", "--sentences", given.sentences)
    if any(row.setting == "int8" for row in given.rows):
        python(HERE / "environments.py", "onnxruntime")
        models = HERE.parent / "precision/onnx_models.py"
        subprocess.run([ONNXRUNTIME, models], check=True)
    if "check" in given.stages:
        for server, setting in dict.fromkeys((row.server, row.setting) for row in given.rows):
            say(f"== {server} {setting}: as eager PyTorch?")
            python(HERE / "serve.py", "--check", server, setting)


def end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    given = arguments()
    store = Store(given.json)
    if given.table:
        print(tables(store.all), end="")
        return 0
    signal.signal(signal.SIGTERM, end)
    plan = measure.Plan(given.seconds, given.repeats)
    parts = parts_of(given.stages, given.rows, given.mixes, plan, store)
    mixes = given.mixes if "raw" in given.stages else []
    if given.missing:
        parts = [part for part in parts if store.of(part.row, part.name) is None]
        mixes = [mix for mix in mixes if mix not in store.all["raw"]]
    checks = len({(row.server, row.setting) for row in given.rows}) if "check" in given.stages else 0
    expected = sum(part.expected_s for part in parts) + checks * CHECK_S + len(mixes) * plan.repeats * RAW_S
    before = state()
    machine = (
        f"{before['cores']} cores, {before['busy_cores']:.1f} of them busy, load average {before['load_average']:.1f}"
    )
    say(f"{len(parts)} parts; about {expected / 60:.0f} min; {machine}")
    prepare(given)
    store.all.setdefault("sizes", {}).update({row.server: sizes.of(row.server) for row in given.rows})
    failed = run_parts(parts, store, plan)
    for mix in mixes:
        say(f"== raw {mix}")
        store.all["raw"][mix] = {"state": state(), **raw(mix, plan)}
        store.save()
    store.save()
    print(tables(store.all), end="")
    for each in failed:
        print(f"FAILED {each}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
