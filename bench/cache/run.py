"""The cache against the plain baseline, mmap of the archive's stored weights: time to have weights, memory of one and of
four workers, rate of import against the disk's own. Keys of the result: bench/README.md.

PSS is what the kernel charges a process of pages that several map (/proc/PID/smaps): a weight mapped by four counts a
quarter in each, so the sum over the workers is what the host holds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY_MS, PSS_RATIO, IMPORT_MB = 50.0, 1.1, 500.0


class Worker:
    def __init__(self, program: Path, archive: Path, cache: str, memory: str) -> None:
        self.process = subprocess.Popen(
            [program, "worker", archive, cache, memory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        word, *figures = self.process.stdout.readline().split() or ["ended"]
        if word != "loaded":
            raise SystemExit("bench_cache worker did not load")
        self.acquire_ms, self.weights_ms, self.load_ms = map(float, figures[:3])
        self.objects = int(figures[3])

    def wait_published(self, objects: int) -> float:
        """Seconds until the cache has acknowledged that many objects."""
        begin = time.monotonic()
        while True:
            self.process.stdin.write("published\n")
            self.process.stdin.flush()
            if float(self.process.stdout.readline().split()[1]) >= objects:
                return time.monotonic() - begin
            if time.monotonic() - begin > 60:
                raise SystemExit("the cache does not acknowledge what was published")
            time.sleep(0.02)

    def memory(self, files: tuple[str, ...]) -> tuple[int, int]:
        """Bytes: PSS of the mappings of these files, and what is the process's own (anonymous)."""
        mapped = private = 0
        ours = False
        for line in Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                ours = len(words) > 5 and words[5].startswith(files)
            elif words[0] == "Pss:" and ours:
                mapped += int(words[1]) * 1024
            elif words[0] == "Anonymous:":
                private += int(words[1]) * 1024
        return mapped, private

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=20)


def memory_of(workers: list[Worker], files: tuple[str, ...]) -> dict:
    each = [worker.memory(files) for worker in workers]
    return {"pss": sum(m for m, _ in each), "private": [p for _, p in each]}


def several(program: Path, archive: Path, cache: str, memory: str, files: tuple[str, ...]) -> dict:
    first = Worker(program, archive, cache, memory)
    workers = [first]
    alone = memory_of(workers, files)
    workers += [Worker(program, archive, cache, memory) for _ in range(3)]
    four = memory_of(workers, files)
    result = {
        "load_ms": [w.load_ms for w in workers], "acquire_ms": [w.acquire_ms for w in workers],
        "weights_ms": [w.weights_ms for w in workers], "objects": [w.objects for w in workers],
        "pss_one": alone["pss"], "pss_four": four["pss"],
        "pss_ratio": four["pss"] / max(1, alone["pss"]),
        "private_one": alone["private"][0], "private_four": four["private"],
    }  # fmt: skip
    for worker in workers:
        worker.close()
    return result


def rate(command: list) -> list[float]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return [float(word) for word in done.stdout.split()[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_cache.json")
    parser.add_argument("--model", default="models/minilm")
    parser.add_argument("--rounds", type=int, default=5, help="of second workers, and of import against the disk")
    parser.add_argument("--import-mib", type=int, default=512)
    options = parser.parse_args()
    program = options.bin / "bench_cache"
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        print("bench_cache is skipped: there is no tmpfs at /dev/shm that can be written")
        return

    with tempfile.TemporaryDirectory(dir=options.out.parent if options.out.parent.exists() else None) as scratch, \
            tempfile.TemporaryDirectory(dir=shared, prefix="shoal-bench-") as memory:  # fmt: skip
        folder = Path(scratch)
        archive = folder / "model.pt2"
        archive.write_bytes((options.fixtures / options.model / "1/model.pt2").read_bytes())
        result: dict = {"conditions": {"model": options.model, "bytes": archive.stat().st_size, "cores": os.cpu_count(),
                                       "load_at_start": os.getloadavg()[0]}}  # fmt: skip
        result["mmap"] = several(program, archive, "-", memory, (str(archive),))

        address = f"ipc://{folder}/cache"
        log = open(folder / "cache.log", "w")
        command = [options.bin / "shoal-cache"]
        for key, value in {"listen": address, "ssd": folder / "ssd", "dram": memory, "metrics": ""}.items():
            command += ["--set", f"cache.{key}={value}"]
        cache = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            first = Worker(program, archive, address, memory)
            records = len(json.loads((folder / "model.objects.json").read_text())["records"])
            result["first_load_ms"] = first.load_ms
            result["published_after_s"] = first.wait_published(records)
            first.close()
            result["cache"] = several(program, archive, address, memory, (memory,))
            seconds = []
            for _ in range(options.rounds):
                worker = Worker(program, archive, address, memory)
                seconds.append(worker)
                worker.close()
            result["second_acquire_ms"] = [w.acquire_ms for w in seconds]
            result["second_weights_ms"] = [w.weights_ms for w in seconds]
            result["second_load_ms"] = [w.load_ms for w in seconds]
        finally:
            cache.terminate()
            cache.wait(timeout=20)

        imports, disks, processor = [], [], []
        for index in range(options.rounds):
            size = options.import_mib << 20
            disks += rate([program, "disk", folder / "raw", size])
            kept = rate([program, "import", folder / f"import{index}", f"{memory}/{index}", size, 4 << 20])
            imports.append(kept[0])
            processor.append(kept[1])
            subprocess.run(["rm", "-rf", folder / f"import{index}", f"{memory}/{index}"], check=True)
        result["import_mb_s"], result["disk_mb_s"], result["import_mb_per_cpu_s"] = imports, disks, processor

    second = max(result["second_acquire_ms"] + result["cache"]["acquire_ms"][1:])
    ratio = statistics.median(i / d for i, d in zip(imports, disks, strict=True))
    result["targets"] = {
        "second_ready_ms": {"value": second, "limit": READY_MS, "met": second <= READY_MS},
        "pss_four_over_one": {"value": result["cache"]["pss_ratio"], "limit": PSS_RATIO,
                              "met": result["cache"]["pss_ratio"] <= PSS_RATIO},
        "import_mb_s": {"value": statistics.median(imports), "limit": IMPORT_MB, "of_disk": ratio,
                        "met": statistics.median(imports) >= IMPORT_MB or ratio >= 0.9},
    }  # fmt: skip
    result["import_over_disk"] = ratio

    mib = 2**20
    print(f"{options.model}, {result['conditions']['bytes'] / mib:.0f} MiB; times in ms, memory in MiB")
    print(f"{'':22} {'mmap of archive':>16} {'cache':>10}")
    rows = [
        ("first load", result["mmap"]["load_ms"][0], result["first_load_ms"]),
        ("second load (median)", statistics.median(result["mmap"]["load_ms"][1:]), statistics.median(result["second_load_ms"])),
        ("PSS of weights, 1", result["mmap"]["pss_one"] / mib, result["cache"]["pss_one"] / mib),
        ("PSS of weights, 4", result["mmap"]["pss_four"] / mib, result["cache"]["pss_four"] / mib),
        ("private, 1 worker", result["mmap"]["private_one"] / mib, result["cache"]["private_one"] / mib),
        ("private, 4 workers", sum(result["mmap"]["private_four"]) / mib, sum(result["cache"]["private_four"]) / mib),
    ]  # fmt: skip
    for name, plain, cached in rows:
        print(f"{name:22} {plain:>16.1f} {cached:>10.1f}")
    print(f"second worker, asked to mapped: median {statistics.median(result['second_acquire_ms']):.1f}, "
          f"from opening the archive on: {statistics.median(result['second_weights_ms']):.1f}, worst {second:.1f}")  # fmt: skip
    print(f"import {statistics.median(imports):.0f} MB/s ({min(imports):.0f}-{max(imports):.0f}), "
          f"the disk's own {statistics.median(disks):.0f} MB/s ({min(disks):.0f}-{max(disks):.0f}); "
          f"{statistics.median(processor):.0f} MB per second of processor time")  # fmt: skip
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.2f}, limit {target['limit']}: {'met' if target['met'] else 'MISSED'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
