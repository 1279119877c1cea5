"""A decoder (gpt.py) one token at a time, its keys and values as inputs: plans against eager PyTorch in fp32, in time
and in the perplexity of text that it was not trained on.

    build/venv/bin/python bench/precision/decoder.py TEXT

The first run trains it on the first nine tenths of TEXT, some minutes on one core, and keeps the weights in
build/bench/decoder. Plans: all linears in int8_weight, and what `shoal tune` chooses by a few steps of that text. Times
by turns in short blocks (bench/executor/compare.py), with all slots of the caches taken. Perplexity over windows of the
last tenth, each from empty caches on, step by step in the executor. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch

ROOT = Path(__file__).resolve().parents[2]
for folder in ("bench/executor", "tools/export"):
    sys.path.insert(0, str(ROOT / folder))
import gpt  # noqa: E402
from compare import Eager, Executor, compare  # noqa: E402
from exporting import export, stamp_of  # noqa: E402

FASTER, MOST_LOSS = 3.0, 0.005
TUNED_ON = (40, 100, 170, 250)  # positions of the steps that `shoal tune` sees

Inputs = tuple[torch.Tensor, ...]


def step_at(step: gpt.Step, text: torch.Tensor) -> Inputs:
    """The inputs of the step after all of `text` but its last byte, which is the step's token."""
    keys, values = gpt.empty_caches()
    for position, token in enumerate(text[:-1]):
        made = step(token[None], torch.tensor([position]), keys, values)
        keys[:, :, position], values[:, :, position] = made["key"][:, :, 0], made["value"][:, :, 0]
    return text[-1:], torch.tensor([len(text) - 1]), keys, values


def perplexity(losses: numpy.ndarray) -> float:
    return math.exp(losses.mean())


def change_bounds(losses: numpy.ndarray, plain: numpy.ndarray, rounds: int = 4000) -> list[float]:
    """95% bounds of the change of perplexity over the same windows, drawn again and again."""
    apart = (losses - plain).mean(axis=1)
    drawn = numpy.random.default_rng(0).choice(apart, (rounds, len(apart))).mean(axis=1)
    return [math.exp(bound) - 1 for bound in numpy.percentile(drawn, (2.5, 97.5))]


class Bench:
    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.begin = time.monotonic()
        self.seen, self.held_back = gpt.split(gpt.bytes_of(options.text))
        self.step = gpt.Step(self.trained()).eval()
        self.archive = self.exported()
        with torch.inference_mode():
            self.full = step_at(self.step, self.seen[-gpt.SLOTS - 1 :])

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begin:>5.0f} s  {text}", flush=True)

    def trained(self) -> gpt.Decoder:
        """Trained now, or read: what was trained from the same sources on the same text is the same."""
        stamp = stamp_of(Path(gpt.__file__), self.options.text)
        file = self.options.folder / "weights.pt"
        if file.is_file() and (kept := torch.load(file))["stamp"] == stamp:
            decoder = gpt.Decoder()
            decoder.load_state_dict(kept["weights"])
            return decoder.eval()
        torch.set_num_threads(1)
        decoder = gpt.train(self.seen, self.say)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"stamp": stamp, "weights": decoder.state_dict()}, file)
        return decoder

    def exported(self) -> Path:
        case = (torch.tensor([1]), torch.tensor([0]), *gpt.empty_caches())
        stamp = stamp_of(Path(gpt.__file__), self.options.text)
        export(self.options.folder, "gpt", lambda: self.step, case, None, [case], stamp)
        return self.options.folder / "gpt/1/model.pt2"

    def tune(self, threads: int) -> dict:
        """What `shoal tune` told; its plan is in a folder of this run."""
        folder = self.scratch / f"tuned-{threads}"
        folder.mkdir()
        os.symlink(self.archive, folder / "model.pt2")
        requests = self.scratch / "requests.jsonl"
        if not requests.exists():
            names = ("token", "position", "keys", "values")
            with torch.inference_mode(), requests.open("w") as file:
                for index, position in enumerate(TUNED_ON):
                    text = self.seen[(index + 1) * 1000 :][: position + 1]
                    given = [each.double().numpy().round(5) if each.is_floating_point() else each
                             for each in step_at(self.step, text)]  # fmt: skip
                    file.write(json.dumps({name: each.tolist() for name, each in zip(names, given)}) + "\n")
        command = [self.options.shoal, "tune", str(folder / "model.pt2"), "--threads", str(threads), "--json",
                   "--data", str(requests)]  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"shoal tune failed: {done.stdout}")
        told = json.loads(done.stdout)
        told["planning_s"] = time.monotonic() - began
        self.say(f"{threads} threads: planned in {told['planning_s']:.0f} s: {told['verdict']}")
        return told

    def int8_weight(self, told: dict) -> Path:
        """A plan with all linears in int8_weight, scales of the least squared error as the planner has them."""
        plan = json.loads(Path(told["file"]).read_text())
        plan["policy"] = "file"
        plan["nodes"] = {
            node["name"]: {"precision": "int8_weight", "clip": True}
            for node in told["nodes"]
            if any(choice["precision"] == "int8_weight" for choice in node["choices"])
        }
        plan["measured"] = {"speedup": 0, "error": 0, "budget": 0}
        file = self.scratch / "int8_weight.json"
        file.write_text(json.dumps(plan))
        return file

    def speed(self, what: str, plan: Path | None, threads: int) -> dict:
        with Executor(self.options.program, self.archive, threads) as runner:
            runner.load("all", plan)
            runner.take(self.full, self.scratch)
            with torch.inference_mode():
                timed = compare(Eager(self.step, self.full), runner, self.options.seconds, ("eager", "plan"))
        cell = {
            "eager_us": timed["eager_us"], "eager_quartiles_us": timed["eager_quartiles_us"],
            "us": timed["plan_us"], "quartiles_us": timed["plan_quartiles_us"], "faster": 1 / timed["ratio"],
            "faster_95": [1 / bound for bound in reversed(timed["ratio_95"])], "pairs": timed["pairs"],
        }  # fmt: skip
        low, high = cell["faster_95"]
        self.say(
            f"{what:<12} {threads} threads: {cell['us']:.0f} us a token, eager {cell['eager_us']:.0f} us: "
            f"{cell['faster']:.2f} times ({low:.2f} to {high:.2f}) as fast"
        )
        return cell

    def windows(self) -> torch.Tensor:
        """[windows, SLOTS + 1], evenly over the text held back."""
        begins = numpy.linspace(0, len(self.held_back) - gpt.SLOTS - 1, self.options.windows).astype(int)
        return torch.stack([self.held_back[begin : begin + gpt.SLOTS + 1] for begin in begins])

    def losses(self, plan: Path | None) -> numpy.ndarray:
        """Of each byte of each window but its first, in nats: [windows, SLOTS]."""
        rows = []
        with Executor(self.options.program, self.archive, self.options.threads[0]) as runner:
            runner.load("all", plan)
            for window in self.windows():
                runner.take((window[:1], torch.tensor([0]), *gpt.empty_caches()), self.scratch)
                row = []
                for position, (token, wanted) in enumerate(zip(window[:-1].tolist(), window[1:].tolist())):
                    runner.ask(f"number 0 {token}")
                    runner.ask(f"number 1 {position}")
                    logits = runner.run(self.scratch)[0][0].astype(numpy.float64)
                    top = logits.max()
                    row.append(top + math.log(numpy.exp(logits - top).sum()) - logits[wanted])
                    runner.ask(f"put 1 2 2 {position}")
                    runner.ask(f"put 2 3 2 {position}")
                rows.append(row)
        return numpy.array(rows)

    def eager_losses(self) -> numpy.ndarray:
        """The same from eager PyTorch, all tokens of a window at once: what the steps must agree with."""
        windows = self.windows()
        with torch.inference_mode():
            logits = torch.cat([self.step.decoder(window[None, :-1]) for window in windows])
            return -logits.log_softmax(-1).gather(2, windows[:, 1:, None])[..., 0].double().numpy()

    def run(self) -> dict:
        rows: dict = {}
        tuned: dict = {}
        plans: dict = {"fp32": None}
        for threads in self.options.threads:
            torch.set_num_threads(threads)
            told = self.tune(threads)
            tuned[str(threads)] = {key: told[key] for key in ("plan", "verdict", "planning_s", "curve")}
            plans.setdefault("int8_weight", self.int8_weight(told))
            for name, plan in {**plans, "tuned": Path(told["file"])}.items():
                rows.setdefault(name, {})[str(threads)] = self.speed(name, plan, threads)
            if threads == self.options.threads[0]:
                first_tuned = Path(told["file"])
        plain = self.eager_losses()
        figures = {"eager": {"perplexity": perplexity(plain)}}
        for name, plan in {**plans, "tuned": first_tuned}.items():
            losses = self.losses(plan)
            figures[name] = {
                "perplexity": perplexity(losses), "change": perplexity(losses) / perplexity(plain) - 1,
                "change_95": change_bounds(losses, plain),
            }  # fmt: skip
            low, high = figures[name]["change_95"]
            self.say(
                f"{name:<12} perplexity {figures[name]['perplexity']:.4f} (eager {figures['eager']['perplexity']:.4f}): "
                f"{figures[name]['change']:+.3%} ({low:+.3%} to {high:+.3%})"
            )
        weights = sum(each.numel() for each in self.step.parameters())
        return {"parameters": weights, "bytes": plain.size, "rows": rows, "tuned": tuned, "perplexity": figures}


def targets_of(result: dict) -> dict:
    """Of the worst number of threads."""
    targets = {}
    for name in ("int8_weight", "tuned"):
        value = min(cell["faster"] for cell in result["rows"][name].values())
        targets[f"{name}: times as fast as eager fp32"] = {"value": value, "limit": FASTER, "met": value >= FASTER}
        value = result["perplexity"][name]["change"]
        targets[f"{name}: perplexity above fp32's"] = {"value": value, "limit": MOST_LOSS, "met": value <= MOST_LOSS}
    return targets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="plain text, a megabyte or so: trained and tested on")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_executor")
    parser.add_argument("--shoal", type=Path, default=ROOT / "build/release/bin/shoal")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/bench/decoder", help="of weights and archive")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_decoder.json")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10, help="per cell")
    parser.add_argument("--windows", type=int, default=16, help=f"of {gpt.SLOTS} bytes, for the perplexity")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    conditions = {"torch": torch.__version__, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0],
                  "seconds": options.seconds}  # fmt: skip
    scratch = Path(tempfile.mkdtemp())
    try:
        result = {"conditions": conditions} | Bench(options, scratch).run()
    finally:
        shutil.rmtree(scratch)
    result["conditions"]["load_at_end"] = os.getloadavg()[0]
    result["targets"] = targets_of(result)
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.4f} (limit {target['limit']}): {'met' if target['met'] else 'missed'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
