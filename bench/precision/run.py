"""Plans against eager PyTorch in fp32 and against ONNX Runtime's int8: the same inputs, the same number of threads, in
one run; speeds by turns in short blocks (bench/executor/compare.py), errors against eager's fp32.

A plan is made first by `shoal tune` (its time is a figure, too), with the requests of --data if there are any. Keys of
the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch

import ort

ROOT = Path(__file__).resolve().parents[2]
for folder in ("bench/executor", "tools/export"):
    sys.path.insert(0, str(ROOT / folder))
from compare import Eager, Executor, compare  # noqa: E402
from rows import MODELS  # noqa: E402

import vision  # noqa: E402

# Times as fast as eager PyTorch in fp32, at least.
FASTER = {
    "minilm 1x16": 7.0, "minilm 8x64": 3.5, "minilm 32x128": 3.4, "resnet20 1": 2.5, "resnet20 32": 2.5,
    "resnet56 1": 2.5, "resnet56 32": 2.5, "resnet50 1": 2.5,
}  # fmt: skip
# Points of top-1 that a plan may lose on the test images.
MOST_LOST = 0.3
# Of the outputs. ResNet-50 has seeded weights here, which err a lot in any narrow numbers: bf16 alone by a tenth.
BUDGETS = {"resnet50": 0.06}
CALIBRATION_IMAGES = 64
FASTER_THAN_ORT = 1.4
PLANNING_S = 60.0


def cosine(a: numpy.ndarray, b: numpy.ndarray) -> float:
    """The mean over rows."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return float(((a * b).sum(1) / (numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1))).mean())


def error(given: numpy.ndarray, wanted: numpy.ndarray) -> float:
    return float(numpy.linalg.norm(given - wanted) / numpy.linalg.norm(wanted))


def accuracy_images(model: Path) -> torch.Tensor | None:
    """The test images as the networks take them, where they were there when the fixtures were exported."""
    file = model / "reference/accuracy/images.bin"
    if not file.exists():
        return None
    return vision.normalise(torch.from_numpy(numpy.fromfile(file, dtype=numpy.uint8).reshape(-1, 3, 32, 32)))


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.begin = time.monotonic()
        self.has_ort = ort.PYTHON.exists()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begin:>5.0f} s  {text}", flush=True)

    def archive(self, model: str) -> Path:
        return self.options.fixtures / MODELS[model].folder / "1/model.pt2"

    def tune(self, model: str, threads: int) -> tuple[Path, dict]:
        """A copy of the model's folder with its plan, and what `shoal tune` told."""
        source = self.archive(model).parent
        folder = self.folder / f"{model}-{threads}"
        folder.mkdir()
        for file in ("model.pt2", "model.toml"):
            if (source / file).exists():
                os.symlink(source / file, folder / file)
        command = [self.options.shoal, "tune", str(folder / "model.pt2"), "--threads", str(threads), "--json"]
        if model == "minilm" and self.options.data:
            command += ["--data", str(self.options.data)]
        if model in BUDGETS:
            command += ["--budget", str(BUDGETS[model])]
        if (images := accuracy_images(source)) is not None:
            requests = folder / "requests.jsonl"
            chosen = images[:: max(1, len(images) // CALIBRATION_IMAGES)]
            requests.write_text("".join(json.dumps({"image": [each.tolist()]}) + "\n" for each in chosen))
            command += ["--data", str(requests)]
        began = time.monotonic()
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        told["planning_s"] = time.monotonic() - began
        self.say(f"{model}, {threads} threads: planned in {told['planning_s']:.0f} s: {told['verdict']}")
        return Path(told["file"]), told

    def top1(self, model: str, plan: Path, threads: int) -> dict | None:
        """What a plan loses in the task, in points, with 95% bounds from a bootstrap over images (paired)."""
        folder = self.archive(model).parent
        if (images := accuracy_images(folder)) is None:
            return None
        read = lambda what: numpy.fromfile(folder / f"reference/accuracy/{what}.bin", dtype=numpy.uint8)  # noqa: E731
        labels, eager = read("labels"), read("predictions")
        called = []
        with Executor(self.options.program, self.archive(model), threads) as runner:
            runner.load("all", plan)
            for batch in images.split(50):
                runner.take((batch,), self.folder)
                called.append(runner.run(self.folder)[0].argmax(1))
        lost = 100.0 * ((eager == labels).astype(float) - (numpy.concatenate(called) == labels))
        picks = numpy.random.default_rng(0).integers(0, len(lost), (4000, len(lost)))
        bounds = numpy.percentile(lost[picks].mean(1), (2.5, 97.5))
        found = {"top1_eager": float(100 * (eager == labels).mean()), "loss": float(lost.mean()),
                 "loss_95": [float(each) for each in bounds], "differ": int((numpy.concatenate(called) != eager).sum())}  # fmt: skip
        self.say(f"{model}, {threads} threads: loses {found['loss']:.2f} points ({bounds[0]:.2f} to {bounds[1]:.2f}) of "
                 f"{found['top1_eager']:.1f}, {found['differ']} of {len(lost)} images called otherwise")  # fmt: skip
        return found

    def row(self, name: str, model: str, shape: str, plan: Path, threads: int) -> dict:
        inputs = MODELS[model].shapes[shape]()
        module = self.modules[model]
        with torch.inference_mode():
            wanted = module(*inputs)
        if isinstance(wanted, dict):
            wanted = next(iter(wanted.values()))
        elif isinstance(wanted, (tuple, list)):
            wanted = wanted[0]
        wanted = wanted.numpy()
        cell: dict = {}
        runners = {"plan": (self.options.program, self.archive(model), "all", plan),
                   "fp32": (self.options.program, self.archive(model), "all", None)}  # fmt: skip
        if model == "minilm" and self.has_ort:
            runners |= {f"ort_{kind}": (ort.runner(), file, "all", None) for kind, file in ort.QUANTISED.items()}
        for what, (program, archive, passes, its_plan) in runners.items():
            with Executor(program, archive, threads) as runner:
                runner.load(passes, its_plan)
                runner.take(inputs, self.folder)
                timed = compare(Eager(module, inputs), runner, self.options.seconds, ("eager", what))
                given = runner.run(self.folder)[0]
                if what == "plan":
                    watching = self.watch_cost(runner, timed["plan_us"])
            cell[what] = {
                "eager_us": timed["eager_us"], "us": timed[f"{what}_us"], "faster": 1 / timed["ratio"],
                "faster_95": [1 / bound for bound in reversed(timed["ratio_95"])],
                "cosine": cosine(given, wanted), "error": error(given, wanted),
            }  # fmt: skip
            low, high = cell[what]["faster_95"]
            self.say(
                f"{name:<20} {threads} threads  {what:<10} {cell[what]['us']:>9.0f} us, {cell[what]['faster']:.2f} times "
                f"({low:.2f} to {high:.2f}) as fast as eager, cosine {cell[what]['cosine']:.5f}, "
                f"error {cell[what]['error']:.2%}"
            )
        cell["plan"]["watching"] = watching
        self.say(f"{name:<20} {threads} threads  looking at ranges in every batch takes {watching:.2%} more time")
        return cell

    def watch_cost(self, runner: Executor, took_us: float) -> float:
        """What a look at the ranges of int8 inputs adds to a run, as a share: the median over pairs of short blocks."""
        rounds = max(1, int(40e3 / took_us))
        block = lambda how: statistics.median(int(each) for each in runner.ask(f"block {rounds} {how}"))  # noqa: E731
        ratios = []
        until = time.monotonic() + self.options.seconds
        while time.monotonic() < until or len(ratios) < 5:
            # Either goes first as often as the other.
            pair = {how: block(how) for how in (("", "watched") if len(ratios) % 2 else ("watched", ""))}
            ratios.append(pair["watched"] / pair[""])
        return statistics.median(ratios) - 1

    def run(self) -> dict:
        rows: dict = {}
        plans: dict = {}
        self.modules = {model: MODELS[model].build() for model in self.options.models}
        for threads in self.options.threads:
            torch.set_num_threads(threads)
            for model in self.options.models:
                plan, told = self.tune(model, threads)
                plans[f"{model} {threads}"] = {key: told[key] for key in ("plan", "verdict", "planning_s", "curve")}
                if (found := self.top1(model, plan, threads)) is not None:
                    plans[f"{model} {threads}"]["top1"] = found
                for shape in MODELS[model].shapes:
                    name = f"{model} {shape}"
                    rows.setdefault(name, {})[str(threads)] = self.row(name, model, shape, plan, threads)
        return {"rows": rows, "plans": plans}


def targets_of(result: dict) -> dict:
    """Each target over all threads: the worst of them, the limit, whether it is met."""
    targets = {}
    for name, wanted in FASTER.items():
        cells = result["rows"].get(name, {}).values()
        if not cells:
            continue
        value = min(cell["plan"]["faster"] for cell in cells)
        targets[f"{name}: times as fast as eager fp32"] = {"value": value, "limit": wanted, "met": value >= wanted}
        over = [cell["plan"]["faster"] / cell[kind]["faster"] for cell in cells for kind in cell if kind.startswith("ort")]
        if over:
            targets[f"{name}: times as fast as ONNX Runtime int8"] = {
                "value": min(over), "limit": FASTER_THAN_ORT, "met": min(over) >= FASTER_THAN_ORT,
            }  # fmt: skip
    for name, plan in result["plans"].items():
        if "top1" in plan:
            loss = plan["top1"]["loss"]
            targets[f"{name} threads: points of top-1 lost"] = {"value": loss, "limit": MOST_LOST, "met": loss <= MOST_LOST}
    watching = [cell["plan"]["watching"] for cells in result["rows"].values() for cell in cells.values()]
    if watching:
        # A worker looks at every eighth batch.
        targets["watching ranges, % of the time"] = {"value": 100 * max(watching) / 8, "limit": 1, "met": max(watching) / 8 <= 0.01}
    planning = max((plan["planning_s"] for name, plan in result["plans"].items() if name.startswith("minilm")), default=0)
    targets["planning MiniLM (s)"] = {"value": planning, "limit": PLANNING_S, "met": planning <= PLANNING_S}
    return targets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_executor")
    parser.add_argument("--shoal", type=Path, default=ROOT / "build/release/bin/shoal")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--data", type=Path, help="requests as bench/peers/mixes.py writes them")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_precision.json")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5, help="per cell")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["minilm"])
    return parser.parse_args()


def main() -> None:
    options = arguments()
    conditions = {"torch": torch.__version__, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0],
                  "seconds": options.seconds}  # fmt: skip
    if ort.PYTHON.exists():
        subprocess.run([ort.PYTHON, Path(__file__).parent / "onnx_models.py"], check=True, stdout=subprocess.DEVNULL)
    else:
        print("no ONNX Runtime: its rows are left out (bench/peers/run --only ... --stages raw makes its environment)")
    folder = Path(tempfile.mkdtemp())
    try:
        result = {"conditions": conditions} | Bench(options, folder).run()
    finally:
        shutil.rmtree(folder)
    result["targets"] = targets_of(result)
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.2f} (limit {target['limit']}): {'met' if target['met'] else 'missed'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
