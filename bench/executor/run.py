"""Executor against eager PyTorch: the same modules, the same inputs, the same number of threads, in one run.

A table over models, shapes and passes (on, off), and for a few models how much longer the executor takes without each
single pass. Eager runs here under inference_mode, the executor in bench_executor; how they take turns is told in
compare.py. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/export"))
import fixtures  # noqa: E402
from compare import Eager, Executor, compare  # noqa: E402
from rows import MODELS, Model  # noqa: E402

RATIO_TARGET = 1.02
FUSED_TARGET = 0.9
FUSED_SHARE = 0.5
NODE_TARGET_US = 3.0


def pass_names() -> list[str]:
    """From the list that the program itself is built from."""
    source = (ROOT / "actors/executor/pass_names.cpp").read_text()
    return re.findall(r'\{"(\w+)", &pass_options::\w+\}', source)


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.begin = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begin:>5.0f} s  {text}", flush=True)

    def start(self, model: str) -> Executor:
        archive = self.options.fixtures / model / "1/model.pt2"
        if not archive.is_file():
            raise SystemExit(f"no {archive}: run tools/export/fixtures.py {self.options.fixtures}")
        return Executor(self.options.program, archive, self.options.threads)

    def table(self, name: str, model: Model) -> dict:
        """Every shape with all passes and with none."""
        rows: dict = {}
        module = model.build()
        with self.start(model.folder) as executor:
            for passes in ("all", "none"):
                nodes, exported = executor.load(passes)
                for shape, make in model.shapes.items():
                    inputs = make()
                    executor.take(inputs, self.folder)
                    cell = compare(Eager(module, inputs), executor, self.options.seconds, ("eager", "executor"))
                    cell |= {"nodes": nodes, "nodes_exported": exported}
                    rows.setdefault(f"{name} {shape}", {})[passes] = cell
                    low, high = cell["ratio_95"]
                    self.say(
                        f"{f'{name} {shape}':<24} {passes:<4} eager {cell['eager_us']:>10.0f} us  executor "
                        f"{cell['executor_us']:>10.0f} us  ratio {cell['ratio']:.3f} ({low:.3f}-{high:.3f}), "
                        f"{cell['pairs']} pairs"
                    )
        for row in rows.values():
            row["reached"] = row["all"]["ratio_95"][1] <= RATIO_TARGET
        return rows

    def ablation(self, name: str, model: Model) -> dict:
        """The executor without each pass, relative to all passes."""
        rows: dict = {}
        if not model.ablated:
            return rows
        with self.start(model.folder) as base, self.start(model.folder) as without:
            base.load("all")
            for left_out in pass_names():
                without.load(f"all-{left_out}")
                for shape in model.ablated:
                    inputs = model.shapes[shape]()
                    base.take(inputs, self.folder)
                    without.take(inputs, self.folder)
                    cell = compare(base, without, self.options.seconds / 4, ("all", "without"))
                    rows.setdefault(f"{name} {shape}", {})[left_out] = cell
                    low, high = cell["ratio_95"]
                    self.say(
                        f"{f'{name} {shape}':<24} without {left_out:<18} {cell['ratio']:.3f} ({low:.3f}-{high:.3f})"
                    )
        return rows

    def node(self) -> dict:
        """Time per node of a chain of negations of one number, kernel included."""
        with self.start("graphs/chain") as executor:
            nodes, _ = executor.load("all")
            inputs = (torch.ones(1),)
            executor.take(inputs, self.folder)
            eager = Eager(fixtures.Chain().eval(), inputs)
            cell = compare(eager, executor, self.options.seconds, ("eager", "executor"))
        ours, theirs = cell["executor_us"] / nodes, cell["eager_us"] / nodes
        self.say(f"a node, kernel included: executor {ours:.2f} us, eager {theirs:.2f} us")
        return {"node_us": ours, "node_eager_us": theirs}


def targets_of(rows: dict, node_us: float) -> dict:
    """Each target with what was measured; `reached` or `missed`."""
    bounds = {name: row["all"]["ratio_95"][1] for name, row in rows.items()}
    fused = sum(row["all"]["ratio"] <= FUSED_TARGET for row in rows.values()) / len(rows)
    word = lambda holds: "reached" if holds else "missed"  # noqa: E731
    return {
        "every ratio_95 <= 1.02": {
            "limit": RATIO_TARGET,
            "value": max(bounds.values()),
            "met": word(all(bound <= RATIO_TARGET for bound in bounds.values())),
            "rows": {name: word(bound <= RATIO_TARGET) for name, bound in bounds.items()},
        },
        "fused and packed <= 0.9 on at least half of the table": {
            "limit": FUSED_SHARE, "value": fused, "met": word(fused >= FUSED_SHARE),
        },
        "node_us": {"limit": NODE_TARGET_US, "value": node_us, "met": word(node_us <= NODE_TARGET_US)},
    }  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_executor")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_executor.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="per cell; a quarter of it per cell of the ablation")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--ablation", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    result: dict = {
        "conditions": {
            "threads": options.threads, "torch": torch.__version__, "machine": platform.machine(),
            "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0], "seconds": options.seconds,
        },
        "rows": {},
        "ablation": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        bench = Bench(options, Path(scratch))
        for name in options.models:
            result["rows"] |= bench.table(name, MODELS[name])
        result |= bench.node()
        if options.ablation:
            for name in options.models:
                result["ablation"] |= bench.ablation(name, MODELS[name])
    result["conditions"]["load_at_end"] = os.getloadavg()[0]
    result["targets"] = targets_of(result["rows"], result["node_us"])
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.3f} (limit {target['limit']}): {target['met']}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
