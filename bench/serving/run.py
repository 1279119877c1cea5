"""How much MiniLM one machine serves, and how it behaves beyond that: `shoal up` under `shoal bench`, in one run.

For each mix (bench/peers/mixes.py): the highest Poisson rate whose p99 stays under 200 ms without a failure, latency at half and
four fifths of it, the rate in a closed loop, and three times that rate with deadlines of 500 ms.

usage: run.py [--sentences CSV] [--seconds S]     needs SHOAL_BIN and SHOAL_FIXTURES; without the CSV it is skipped
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from running_mesh import BIN, RunningMesh, fixture_models  # noqa: E402

LIMIT_MS, DEADLINE_MS, OVERLOAD = 200, 500, 3
CLIENTS = 32


class Load:
    """Runs of `shoal bench` for one mix."""

    def __init__(self, mesh: RunningMesh, requests: Path, seconds: float) -> None:
        self._command = [f"{BIN}/shoal", "bench", "--model", "minilm", "--at", mesh.address, "--requests", str(requests)]
        self._command += ["--json", "-", "--warmup", "1", "--duration", f"{seconds}"]

    def report(self, *how: str) -> dict:
        done = subprocess.run([*self._command, *how], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def run(self, *how: str) -> dict:
        return self.report(*how)["steps"][0]

    def latency_at(self, rate: float) -> dict:
        seen = self.run("--rate", f"{rate:.3f}")["all"]["latency"]
        return {key: seen[key] for key in ("p50_ms", "p99_ms", "p99_9_ms")}

    def highest(self, first: float) -> float:
        return self.report("--search", f"p99<{LIMIT_MS}ms", "--rate", f"{first}")["search"]["highest_rate"]


def measure(load: Load, first: float, tokens: float) -> dict:
    highest = load.highest(first)
    peak = load.run("--closed", f"{CLIENTS}")["throughput_per_second"]
    beyond = load.run("--rate", f"{OVERLOAD * peak:.3f}", "--deadline", f"{DEADLINE_MS}")
    seen = beyond["all"]
    count = {code: told["count"] for code, told in seen["failures"].items()}
    return {
        "tokens_per_request": tokens,
        "highest_per_s": highest,
        "at_half": load.latency_at(highest / 2),
        "at_four_fifths": load.latency_at(highest * 0.8),
        "closed_per_s": peak,
        "closed_tokens_per_s": peak * tokens,
        "overload": {
            "offered_per_s": beyond["offered_per_second"],
            "good_per_s": seen["goodput_per_second"],
            "good_of_peak": seen["goodput_per_second"] / peak,
            "refused": count.get("overloaded", 0),
            "refused_p99_ms": seen["refusal_latency"]["p99_ms"],
            "late": count.get("deadline_exceeded", 0),
            "other_failures": sum(n for code, n in count.items() if code not in ("overloaded", "deadline_exceeded")),
            "without_outcome": seen["no_outcome"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, default=ROOT.parent / "shared/data/stsb_dev.csv")
    parser.add_argument("--seconds", type=float, default=10)
    wanted = parser.parse_args()
    if not wanted.sentences.exists():
        print(f"SKIPPED: {wanted.sentences} is not here; --sentences names a file of sentence pairs (bench/README.md)")
        return
    folder = ROOT / "build/bench/mixes"
    subprocess.run([sys.executable, ROOT / "bench/peers/mixes.py", "--sentences", wanted.sentences, "--out", folder], check=True)
    minilm = [model for model in fixture_models("models") if model.name == "minilm"]
    result: dict = {"seconds": wanted.seconds, "limit_ms": LIMIT_MS, "deadline_ms": DEADLINE_MS, "mixes": {}}
    with RunningMesh("--workers", "2", "--threads", "1", models=minilm) as mesh:
        for name, first in (("sts", 150.0), ("long", 40.0)):
            print(f"== {name}", flush=True)
            lines = (folder / f"{name}.jsonl").read_text().splitlines()
            tokens = sum(len(json.loads(line)["input_ids"][0]) for line in lines) / len(lines)
            result["mixes"][name] = measure(Load(mesh, folder / f"{name}.jsonl", wanted.seconds), first, tokens)
    (ROOT / "build/bench/bench_serving.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["mixes"], indent=1))


if __name__ == "__main__":
    main()
