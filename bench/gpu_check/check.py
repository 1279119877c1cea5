"""Parity and speed of the executor on a device, against eager PyTorch on the same device. run.sh starts it.

Models are exported here, from seeds, by this machine's own torch. Parity: the exported graph, moved to the device by
torch.export.passes.move_to_device_pass and run eagerly, against the executor without passes (`none`) and with those it
uses there (`all`); inputs and outputs are bytes in host memory. Both compute in fp32 without TF32, deterministically.
Required: `none` on the CPU equal bit for bit; everything else within --tolerance of the largest value, integers and
booleans equal. Bit-equality is reported everywhere. Plans: the planner chooses bf16 and fp16 per node (bench_planner; on
the CPU with ATen's kernels alone, as on GPUs); the executor with its plan must err less than twice the budget on
inputs it was not made with, and takes turns with itself in fp32. Speed: the two take turns in blocks; each run takes inputs from host
memory and leaves outputs there, as a request does. Exit code 0: parity and plans hold; 1: they do not; 2: it cannot be tried.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch.utils._pytree import tree_map_only

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "export"))
from exporting import TYPES, flatten  # noqa: E402
from networks import all_networks  # noqa: E402

TORCH = "2.11.0"
TARGET_RATIO = 1.02
BUDGET = 0.03  # of plans: error of the outputs, root mean squares
DTYPES = {name: dtype for dtype, name in TYPES.items()}


class Executor:
    """bench_executor, spoken to line by line; what it says on standard error goes into the exception."""

    def __init__(self, archive: Path, threads: int, device: str, libraries: str) -> None:
        self.complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [HERE / "bench_executor", archive, str(threads), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "LD_LIBRARY_PATH": libraries},
        )  # fmt: skip

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)
        self.complaints.close()

    def ask(self, command: str) -> list[str]:
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is told below
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(timeout=60)
            self.complaints.seek(0)
            raise RuntimeError(self.complaints.read().strip() or f"it ended with {self.process.returncode} at `{command}`")
        return line.split()

    def give(self, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
        self.ask("clear")
        for index, value in enumerate(inputs):
            value = value.contiguous()
            file = folder / f"{index}.in"
            file.write_bytes(ctypes.string_at(value.data_ptr(), value.nbytes))
            self.ask(f"input {file} {TYPES[value.dtype]} {' '.join(map(str, value.shape))}")

    def run(self, folder: Path) -> list[torch.Tensor]:
        outputs = []
        for index, described in enumerate(self.ask(f"run {folder}")):
            kind, sizes = described.split(":")
            shape = [int(size) for size in sizes.split("x")] if sizes else []
            raw = bytearray((folder / f"{index}.bin").read_bytes())
            flat = torch.frombuffer(raw, dtype=DTYPES[kind]) if raw else torch.empty(0, dtype=DTYPES[kind])
            outputs.append(flat.reshape(shape))
        return outputs


def on(device: torch.device, values: object) -> object:
    return tree_map_only(torch.Tensor, lambda value: value.to(device), values)


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[bool, float]:
    """Whether all bits are equal, and max|ours - theirs| / max|theirs|; infinity: they cannot be compared."""
    theirs = theirs.detach().cpu().contiguous()
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False, math.inf
    if ctypes.string_at(ours.data_ptr(), ours.nbytes) == ctypes.string_at(theirs.data_ptr(), theirs.nbytes):
        return True, 0.0
    if not ours.is_floating_point():
        return False, math.inf
    a, b = ours.double(), theirs.double()
    if not torch.equal(a.isfinite(), b.isfinite()) or not torch.equal(a[~a.isfinite()].nan_to_num(), b[~b.isfinite()].nan_to_num()):
        return False, math.inf
    finite = b.isfinite()
    if not finite.any():
        return True, 0.0
    largest = b[finite].abs().max().item()
    delta = (a[finite] - b[finite]).abs().max().item()
    return False, delta / largest if largest > 0 else delta


def rms_error(wanted: torch.Tensor, given: torch.Tensor) -> float:
    if wanted.shape != given.shape:
        return math.inf
    if not wanted.is_floating_point():
        return 0.0 if torch.equal(wanted, given) else math.inf
    error = ((given.double() - wanted.double()).square().sum() / wanted.double().square().sum()).sqrt().item()
    return error if math.isfinite(error) else math.inf


class Check:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.device = torch.device(options.device)
        self.parity: list[dict] = []
        self.speed: list[dict] = []
        self.plans: list[dict] = []

    def executor(self, archive: Path) -> Executor:
        return Executor(archive, self.options.threads, self.options.device, self.options.libraries)

    def export(self, network) -> tuple[torch.nn.Module, torch.export.ExportedProgram, Path]:
        torch.manual_seed(0)
        module = network.build().eval()
        example = tuple(value.clone() for value in network.cases[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's advice on attributes
            program = torch.export.export(module, example, dynamic_shapes=network.dynamic_shapes)
            archive = self.folder / "model.pt2"
            torch.export.save(program, archive)
        return module, program, archive

    def compare(self, name: str, network, program, archive: Path) -> None:
        if self.device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self.options.device)
        reference = program.module(check_guards=False)
        for passes in ("none", "all"):
            same, worst = True, 0.0
            with self.executor(archive) as executor, torch.inference_mode():
                executor.ask(f"load {passes}")
                for case in network.cases:
                    executor.give(case, self.folder)
                    ours = executor.run(self.folder)
                    theirs = flatten(reference(*on(self.device, tuple(value.clone() for value in case))))
                    if len(ours) != len(theirs):
                        raise RuntimeError(f"{len(ours)} outputs instead of {len(theirs)}")
                    for a, (_, b) in zip(ours, theirs):
                        bits, error = apart(a, b)
                        same, worst = same and bits, max(worst, error)
            exact = passes == "none" and self.device.type == "cpu"
            self.note(name, passes, same if exact else worst <= self.options.tolerance, same, worst)

    def note(self, name: str, passes: str, holds: bool, same: bool, worst: float, why: str = "") -> None:
        self.parity.append({
            "model": name, "passes": passes, "holds": holds, "bit_equal": same,
            "relative_error": worst if math.isfinite(worst) else None, "reason": why,
        })  # fmt: skip
        verdict = "ok" if holds else "FAILED"
        print(f"{name:>20} {passes:>5} {'equal' if same else f'{worst:.1e}':>10} {verdict}{': ' + why if why else ''}", flush=True)

    def eager_block(self, module, inputs, rounds: int) -> list[float]:
        times = []
        for round_ in range(-1, rounds):
            begin = time.perf_counter_ns()
            tree_map_only(torch.Tensor, torch.Tensor.cpu, module(*on(self.device, inputs)))
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            if round_ >= 0:
                times.append((time.perf_counter_ns() - begin) / 1e3)
        return times

    def time(self, name: str, network, module, archive: Path) -> None:
        module = module.to(self.device)
        with self.executor(archive) as executor, torch.inference_mode():
            executor.ask("load all")
            for inputs in network.timed:
                executor.give(inputs, self.folder)
                once = statistics.median(self.eager_block(module, inputs, 3))
                rounds = max(1, int(60e3 / once))  # blocks of about 60 ms
                eager, ours, ratios = [], [], []
                until = time.monotonic() + self.options.seconds
                while time.monotonic() < until or len(ratios) < 3:
                    a = self.eager_block(module, inputs, rounds)
                    b = [int(each) / 1e3 for each in executor.ask(f"block {rounds}")]
                    eager += a
                    ours += b
                    ratios.append(statistics.median(b) / statistics.median(a))
                low, _, high = statistics.quantiles(ratios, n=4)
                shape = " ".join("x".join(map(str, each.shape)) for each in inputs)
                row = {
                    "model": name, "inputs": shape, "eager_us": statistics.median(eager),
                    "executor_us": statistics.median(ours), "ratio": statistics.median(ratios),
                    "ratio_quartiles": [low, high], "pairs": len(ratios),
                    "reached": statistics.median(ratios) <= TARGET_RATIO,
                }  # fmt: skip
                self.speed.append(row)
                print(
                    f"{name:>14} {shape:>24} {row['eager_us']:>10.0f} {row['executor_us']:>10.0f} "
                    f"{row['ratio']:>7.3f} ({low:.3f}-{high:.3f})",
                    flush=True,
                )

    def planned(self, name: str, network, archive: Path) -> None:
        """One row: what the planner found, and whether a model by its plan is what it promised."""
        plan, options = self.folder / "plan.json", self.options
        kind = "aten" if self.device.type == "cpu" else options.device
        planner = subprocess.run(
            [HERE / "bench_planner", archive, str(options.threads), kind, str(options.plan_seconds), str(BUDGET), plan],
            capture_output=True, text=True, timeout=60 + 10 * options.plan_seconds,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads), "LD_LIBRARY_PATH": options.libraries},
        )  # fmt: skip
        if planner.returncode != 0:
            raise RuntimeError(planner.stderr.strip() or f"bench_planner ended with {planner.returncode}")
        row = {"model": name, **json.loads(planner.stdout)}
        worst, ratios = 0.0, {}
        with self.executor(archive) as plain, self.executor(archive) as narrow:
            plain.ask("load aten")
            narrow.ask(f"load aten {plan}")
            for case in network.cases:
                outputs = []
                for each in (plain, narrow):
                    each.give(case, self.folder)
                    outputs.append(each.run(self.folder))
                worst = max(worst, *(rms_error(a, b) for a, b in zip(*outputs)))
            for inputs in network.timed:
                for each in (plain, narrow):
                    each.give(inputs, self.folder)
                pairs = [[statistics.median(int(t) for t in each.ask("block 5")) for each in (plain, narrow)] for _ in range(9)]
                shape = " ".join("x".join(map(str, each.shape)) for each in inputs)
                ratios[shape] = statistics.median(a / b for a, b in pairs)
        row |= {"error_on_other_inputs": worst, "times_as_fast": ratios, "holds": worst <= 2 * BUDGET}
        self.plans.append(row)
        measured = ", ".join(f"{ratio:.2f} at {shape}" for shape, ratio in ratios.items())
        print(f"{name:>14} {'ok' if row['holds'] else 'FAILED'}: {row['verdict']}; measured again: {measured}; error {worst:.2%}", flush=True)

    def run(self) -> None:
        timed = []
        print(f"{'model':>20} {'pass':>5} {'outputs':>10}   (largest difference / largest value)")
        for name, network in all_networks().items():
            if self.options.only and self.options.only not in name:
                continue
            try:
                module, program, archive = self.export(network)
                self.compare(name, network, program, archive)
                if network.timed and self.options.seconds > 0:
                    kept = archive.rename(self.folder / f"timed-{len(timed)}.pt2")
                    timed.append((name, network, module, kept))
            except Exception as wrong:  # one model's failure is a row; the others are still tried
                self.note(name, "-", False, False, math.inf, str(wrong).splitlines()[0] if str(wrong) else repr(wrong))
        if timed:
            print(f"{'model':>14} {'inputs':>24} {'eager us':>10} {'ours us':>10} {'ratio (quartiles)':>15}")
        for each in timed:
            self.time(*each)
        if timed and self.options.plan_seconds > 0:
            print(f"plans within an error of {BUDGET:.0%} of the outputs")
            for name, network, _, archive in timed:
                try:
                    self.planned(name, network, archive)
                except Exception as wrong:
                    self.plans.append({"model": name, "holds": False, "reason": str(wrong)})
                    print(f"{name:>14} FAILED: {wrong}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libraries", required=True, help="folders of torch's and the packed libraries; run.sh gives it")
    parser.add_argument("--device", default="cuda:0", help="cpu, or cuda:N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="per row of the bench; 0: parity only")
    parser.add_argument("--plan-seconds", type=float, default=20, help="for one plan; 0: no plans")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="largest difference / largest value")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    options = parser.parse_args()

    if torch.__version__.split("+")[0] != TORCH:
        print(f"gpu-check: built against torch {TORCH}, but this Python has {torch.__version__}", file=sys.stderr)
        return 2
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu-check: torch finds no GPU: look at nvidia-smi, or give --device cpu", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    # Warn only: where PyTorch has no deterministic kernel, both sides take the same one, and the table tells.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    with tempfile.TemporaryDirectory() as folder:
        check = Check(options, Path(folder))
        check.run()
    failed = [row for row in check.parity if not row["holds"]]
    broken = [row for row in check.plans if not row["holds"]]
    result = {
        "conditions": {
            "device": options.device, "threads": options.threads, "tolerance": options.tolerance,
            "gpu": torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else None,
            "torch": torch.__version__, "cuda": torch.version.cuda, "machine": platform.machine(),
        },
        "parity": check.parity, "speed": check.speed, "plans": check.plans,
        "holds": bool(check.parity) and not failed and not broken,
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    equal = sum(row["bit_equal"] for row in check.parity)
    print(f"parity on {options.device}: {len(check.parity) - len(failed)} of {len(check.parity)} hold, {equal} bit-equal")
    if not check.parity:
        print(f"gpu-check: no model's name contains {options.only}", file=sys.stderr)
        return 2
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
