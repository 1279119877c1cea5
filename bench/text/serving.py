"""What text costs over token ids, and what is left of the executor's throughput in `shoal embed`.

1. `/v1/embeddings` with 8 texts of 64 tokens, against the same as token ids there, and against Open Inference Protocol
   with binary token ids: closed loop over one connection, by turns in short blocks.
2. `shoal embed` of many lines like STS-B's, against the executor alone: as many processes as the mesh has workers, with
   its threads, on batches of 32 lines sorted by their lengths (no gateway, no queue, no waiting for a line), by turns.

Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
for folder in ("bench/executor", "tests/support", "tools/export"):
    sys.path.insert(0, str(ROOT / folder))
os.environ.setdefault("SHOAL_BIN", str(ROOT / "build/release/bin"))
from compare import Executor, bootstrap_bounds  # noqa: E402
from running_mesh import BIN, RunningMesh  # noqa: E402

MOST_COST = 0.05
LEAST_SHARE = 0.95
ROWS, TOKENS = 8, 64


def lines_like_sts(count: int) -> list[str]:
    """Seeded: 5 to 53 tokens, most of them 8 to 16, as the sentence pairs of STS-B have."""
    words = "the a man woman dog is playing running on in with guitar street red car two people standing near water and".split()
    draw = random.Random(5)
    return [" ".join(draw.choice(words) for _ in range(min(51, 3 + int(draw.gammavariate(4, 2.5))))) for _ in range(count)]


class Door:
    """One connection that is kept."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def post(self, path: str, body: bytes, fields: dict[str, str]) -> bytes:
        self.connection.request("POST", path, body, fields)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
        return text


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model = options.fixtures / "models/minilm"
        self.tokenizer = Tokenizer.from_file(str(self.model / "1/tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def requests(self) -> dict[str, tuple[str, bytes, dict[str, str]]]:
        word = lambda n: "house " * (TOKENS - 3) + str(n % 10)  # noqa: E731
        texts = [word(n) for n in range(ROWS)]
        ids = [self.tokenizer.encode(text).ids for text in texts]
        assert all(len(each) == TOKENS for each in ids), [len(each) for each in ids]
        plain = {"Content-Type": "application/json"}
        openai = lambda what: json.dumps({"model": "minilm", "input": what, "encoding_format": "base64"}).encode()  # noqa: E731
        arrays = (numpy.array(ids, numpy.int64), numpy.ones((ROWS, TOKENS), numpy.int64))
        head = json.dumps({
            "inputs": [{"name": name, "datatype": "INT64", "shape": [ROWS, TOKENS], "parameters": {"binary_data_size": array.nbytes}}
                       for name, array in zip(("input_ids", "attention_mask"), arrays)],
            "parameters": {"binary_data_output": True},
        }).encode()  # fmt: skip
        body = head + b"".join(array.tobytes() for array in arrays)
        return {
            "text": ("/v1/embeddings", openai(texts), plain),
            "token_ids": ("/v1/embeddings", openai(ids), plain),
            "infer": ("/v2/models/minilm/infer", body, {"Inference-Header-Content-Length": str(len(head))}),
        }

    def door(self, mesh: RunningMesh) -> dict:
        requests = self.requests()
        doors = {name: Door(mesh.http) for name in requests}
        took: dict[str, list[float]] = {name: [] for name in requests}
        medians: dict[str, list[float]] = {name: [] for name in requests}
        order = list(requests)
        until = time.monotonic() + self.options.seconds
        rounds = -1
        while time.monotonic() < until or rounds < 9:
            for name in order:
                block = []
                for _ in range(6):
                    begin = time.perf_counter_ns()
                    doors[name].post(*requests[name])
                    block.append((time.perf_counter_ns() - begin) / 1e3)
                if rounds >= 0:
                    took[name] += block
                    medians[name].append(statistics.median(block))
            order.append(order.pop(0))
            rounds += 1
        row = {name: {"p50_us": statistics.median(took[name])} for name in requests}
        for against in ("token_ids", "infer"):
            ratios = [a / b for a, b in zip(medians["text"], medians[against])]
            low, high = bootstrap_bounds(ratios)
            row["text"][f"over_{against}"] = statistics.median(ratios) - 1
            row["text"][f"over_{against}_95"] = [low - 1, high - 1]
            print(f"/v1/embeddings, {ROWS} texts of {TOKENS} tokens: {row['text']['p50_us']:.0f} us, {row['text'][f'over_{against}']:+.2%} "
                  f"({low - 1:+.2%} to {high - 1:+.2%}) over {against} ({row[against]['p50_us']:.0f} us)", flush=True)  # fmt: skip
        return row

    def batches(self, lines: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        ids = sorted((each.ids for each in self.tokenizer.encode_batch(lines)), key=len)
        made = []
        for first in range(0, len(ids), 32):
            rows = ids[first : first + 32]
            length = len(rows[-1])
            made.append((torch.tensor([row + [0] * (length - len(row)) for row in rows]),
                         torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])))  # fmt: skip
        return made

    def executor(self, lines: list[str], processes: int, threads: int, folder: Path) -> float:
        """Lines a second of processes that do nothing but run the model, all at once."""
        batches = self.batches(lines)
        # Spread over all lengths: a sample stands for the whole.
        chosen = batches[:: max(1, len(batches) // self.options.batches)]
        share = sum(len(ids) for ids, _ in chosen)
        seconds = [0.0] * processes

        def run(which: int) -> None:
            mine = folder / str(which)
            mine.mkdir(exist_ok=True)
            with Executor(Path(BIN) / "bench_executor", self.model / "1/model.pt2", threads) as runner:
                runner.load("all")
                for inputs in chosen:
                    runner.take(inputs, mine)
                    seconds[which] += statistics.median(runner.block(3)) / 1e6

        together = [threading.Thread(target=run, args=(n,)) for n in range(processes)]
        for each in together:
            each.start()
        for each in together:
            each.join()
        return sum(share / each for each in seconds)

    def embed(self, mesh: RunningMesh, file: Path, count: int) -> float:
        out = file.with_suffix(".npy")
        out.unlink(missing_ok=True)
        command = [Path(BIN) / "shoal", "embed", "minilm", file, "--out", out, "--at", mesh.address, "--json"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return count / told["seconds"]

    def run(self) -> dict:
        with tempfile.TemporaryDirectory() as made, RunningMesh("--workers", str(self.options.processes), "--threads", str(self.options.threads), models=[self.model]) as mesh:
            folder = Path(made)
            row = self.door(mesh)
            lines = self.options.lines.read_text().splitlines() if self.options.lines else lines_like_sts(self.options.count)
            file = folder / "lines.txt"
            file.write_text("\n".join(lines) + "\n")
            ours, alone = [], []
            for round_ in range(self.options.rounds):
                ours.append(self.embed(mesh, file, len(lines)))
                alone.append(self.executor(lines, self.options.processes, self.options.threads, folder))
                print(f"shoal embed: {ours[-1]:.0f} lines/s, the executor alone {alone[-1]:.0f}: {ours[-1] / alone[-1]:.1%}", flush=True)
        shares = [a / b for a, b in zip(ours, alone)]
        return {"door": row, "embed": {"lines": len(lines), "lines_per_s": ours, "executor_per_s": alone,
                                       "share": statistics.median(shares), "shares": shares}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--lines", type=Path, help="a text a line; seeded ones if none are given")
    parser.add_argument("--count", type=int, default=10_000, help="of seeded lines")
    parser.add_argument("--seconds", type=float, default=20, help="for the door")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=60, help="of the executor alone, a round")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_text_serving.json")
    options = parser.parse_args()
    conditions = {"cores": os.cpu_count(), "load_at_start": os.getloadavg()[0], "processes": options.processes, "threads": options.threads}
    result = {"conditions": conditions} | Bench(options).run()
    cost, share = result["door"]["text"]["over_infer"], result["embed"]["share"]
    result["targets"] = {
        "text over token ids, % of the time": {"value": 100 * cost, "limit": 100 * MOST_COST, "met": cost <= MOST_COST},
        "shoal embed, % of the executor's throughput": {"value": 100 * share, "limit": 100 * LEAST_SHARE, "met": share >= LEAST_SHARE},
    }  # fmt: skip
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.2f} (limit {target['limit']:.0f}): {'met' if target['met'] else 'missed'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
