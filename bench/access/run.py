"""What keys cost: a mesh of separate services joined over tcp on loopback, in the clear and by CURVE on every link.

Both run side by side; one native client in a closed loop asks the identity model for little and for large tensors, and MiniLM for a
sentence, by turns in short blocks, so that what disturbs one disturbs the other. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for used in ("bench/executor", "tools/export"):
    sys.path.insert(0, str(ROOT / used))
from compare import bootstrap_bounds  # noqa: E402

MOST_COST = 0.15
ASKED = {
    "64 bytes": ("identity", ["x=1x16"]),
    "4 KiB": ("identity", ["x=1x1024"]),
    "256 KiB": ("identity", ["x=64x1024"]),
    "4 MiB": ("identity", ["x=1024x1024"]),
    "MiniLM, 16 tokens": ("minilm", ["input_ids=1x16", "attention_mask=1x16"]),
}


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Mesh:
    """A scheduler, a gateway and a worker, each a process of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path, keys: bool) -> None:
        self.options, self.folder = options, folder
        self.key = folder / "keys/me.key" if keys else None
        own = []
        if keys:
            for role in ("scheduler", "gateway", "worker"):
                self.shoal("keys", "new", role, "--role", role, "--keys", folder / "keys")
            self.shoal("keys", "new", "me", "--keys", folder / "keys")
            own = [f"access.key={folder}/keys/{{role}}.key", f"access.allowed={folder}/keys/allowed.toml"]
        scheduler, gateway = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        self.address = gateway
        self.services: list[subprocess.Popen[bytes]] = []
        self.start("scheduler", own, f"scheduler.listen={scheduler}", "scheduler.metrics=", "scheduler.profiles=")
        self.start("gateway", own, f"gateway.listen={gateway}", f"gateway.schedulers={scheduler}", "gateway.http=", "gateway.grpc=")
        self.start("worker", own, f"worker.schedulers={scheduler}", f"worker.gateways={gateway}", "worker.metrics=",
                   f"worker.models={options.fixtures / 'models'}", "worker.precision=fp32")  # fmt: skip

    def shoal(self, *words: object) -> str:
        return subprocess.run([self.options.bin / "shoal", *map(str, words)], check=True, capture_output=True, text=True).stdout

    def start(self, service: str, *settings: object) -> None:
        sets = [word for each in settings for one in (each if isinstance(each, list) else [each]) for word in ("--set", one)]
        log = (self.folder / f"{service}.log").open("wb")
        self.services.append(subprocess.Popen([self.options.bin / f"shoal-{service}", *sets], stdout=log, stderr=log))

    def p50_us(self, model: str, shapes: list[str], seconds: float) -> float:
        key = [] if self.key is None else ["--key", self.key]
        told = self.shoal("bench", "--at", self.address, *key, "--model", model, *(word for each in shapes for word in ("--shape", each)), "--closed", 1,
                          "--duration", seconds, "--warmup", 0.2, "--timeout", 60, "--json", "-")  # fmt: skip
        return 1000 * json.loads(told)["steps"][0]["all"]["latency"]["p50_ms"]

    def stop(self) -> None:
        for each in reversed(self.services):
            each.terminate()
        for each in self.services:
            each.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a block")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_access.json")
    options = parser.parse_args()
    result = {"conditions": {"cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}, "sizes": {}}
    with tempfile.TemporaryDirectory() as made:
        meshes = {}
        try:
            for name in ("clear", "curve"):
                folder = Path(made) / name
                folder.mkdir()
                meshes[name] = Mesh(options, folder, keys=name == "curve")
            time.sleep(2)
            for size, asked in ASKED.items():
                took: dict[str, list[float]] = {name: [] for name in meshes}
                for round_ in range(-1, options.rounds):
                    for name in sorted(meshes, reverse=round_ % 2 == 1):
                        p50 = meshes[name].p50_us(*asked, options.seconds)
                        if round_ >= 0:
                            took[name].append(p50)
                ratios = [b / a for a, b in zip(took["clear"], took["curve"])]
                low, high = bootstrap_bounds(ratios)
                row = {f"{name}_p50_us": statistics.median(each) for name, each in took.items()}
                row |= {"cost": statistics.median(ratios) - 1, "cost_95": [low - 1, high - 1]}
                result["sizes"][size] = row
                print(f"{size}: {row['clear_p50_us']:.0f} us in the clear, {row['curve_p50_us']:.0f} by CURVE: {row['cost']:+.1%} "
                      f"({low - 1:+.1%} to {high - 1:+.1%})", flush=True)  # fmt: skip
        finally:
            for each in meshes.values():
                each.stop()
    cost = result["sizes"]["4 KiB"]["cost"]
    result["targets"] = {"CURVE, % of the native p50 (4 KiB, as bench_overhead)": {"value": 100 * cost, "limit": 100 * MOST_COST, "met": cost <= MOST_COST}}
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.1f} (limit {target['limit']:.0f}): {'met' if target['met'] else 'missed'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
