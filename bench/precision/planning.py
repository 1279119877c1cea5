"""What planning costs those who are served meanwhile: a mesh under load while it plans, beside one that does not.

Both compute in fp32 all the while (the plan is not done when the load ends), by turns, a fresh mesh each time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOAL = ROOT / "build/release/bin/shoal"
# Of the p99 without planning. Machines waver by a fifth.
MOST_P99 = 1.25


class Mesh:
    def __init__(self, policy: str, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        version = folder / "models/minilm/1"
        version.mkdir(parents=True)
        for file in ("model.pt2", "model.toml"):
            (version / file).symlink_to((ROOT / "build/fixtures/models/minilm/1" / file).resolve())
        self.address = f"ipc://{folder}/gateway"
        command = [
            SHOAL, "up", "--models", folder / "models", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--native",
            self.address, "--workers", str(os.cpu_count() // threads), "--threads", str(threads),
            "--set", f"precision.policy={policy}", "--set", "precision.seconds=600",
        ]  # fmt: skip
        self._process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("ready"):
            raise SystemExit("the mesh did not come up")

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

    def bench(self, requests: Path, seconds: float, *load: str) -> dict:
        command = [SHOAL, "bench", "--at", self.address, "--model", "minilm", "--requests", requests, "--duration", seconds,
                   "--warmup", "1", "--json", "-", *load]  # fmt: skip
        told = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        return json.loads(told)["steps"][0]["all"]

    def planning(self) -> bool:
        told = subprocess.run([SHOAL, "status", "precision", "--at", self.address, "--json"], check=True, capture_output=True, text=True)
        return any("%" in plan["state"] for service in json.loads(told.stdout)["services"] for plan in service["plans"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "build/peers/mixes/sts.jsonl", help="as bench/peers/mixes.py writes it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.6, help="of the closed loop's rate")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_planning.json")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"bench_planning is left out: there is no {options.data} (bench/peers/mixes.py makes it of sentences)")
    with Mesh("fp32", 1) as mesh:
        rate = mesh.bench(options.data, 4, "--closed", "16")["throughput_per_second"] * options.share
    rows: dict[str, list[dict]] = {"serving alone": [], "serving and planning": []}
    for _ in range(options.rounds):
        for name, policy in (("serving alone", "fp32"), ("serving and planning", "measured")):
            with Mesh(policy, 1) as mesh:
                run = mesh.bench(options.data, options.seconds, "--rate", f"{rate:.1f}")
                if (name == "serving and planning") != mesh.planning():
                    raise SystemExit("the mesh did not plan all the while, or planned where it should not")
            times = {key: run["latency"][key] for key in ("p50_ms", "p99_ms")}
            rows[name].append(times | {"ok": run["ok"], "sent": run["sent"]})
            print(name, rows[name][-1])
    middle = {name: {key: statistics.median(run[key] for run in runs) for key in ("p50_ms", "p99_ms")} for name, runs in rows.items()}
    ratio = middle["serving and planning"]["p99_ms"] / middle["serving alone"]["p99_ms"]
    lost = sum(run["sent"] - run["ok"] for runs in rows.values() for run in runs)
    result = {
        "conditions": {"rate": rate, "share": options.share, "rounds": options.rounds, "seconds": options.seconds},
        "rows": rows, "medians": middle,
        "targets": {
            "p99 while planning / p99 alone": {"value": ratio, "limit": MOST_P99, "met": ratio <= MOST_P99},
            "requests without an answer": {"value": lost, "limit": 0, "met": lost == 0},
        },
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
