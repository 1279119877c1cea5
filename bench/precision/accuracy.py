"""What a plan costs in the task: sentence pairs of STS-B scored by MiniLM in fp32, by its plan, and by ONNX Runtime's
int8, each pair's cosine against people's scores (Spearman's rank correlation, in points of a hundred).

    build/venv/bin/python bench/precision/accuracy.py SENTENCES.csv --plan PLAN.json

Requests are single sentences (bench/peers/mixes.py), as they are. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy
import torch

import ort

ROOT = Path(__file__).resolve().parents[2]
for folder in ("bench/executor", "tools/export", "bench/peers"):
    sys.path.append(str(ROOT / folder))
import mixes  # noqa: E402
from compare import Executor  # noqa: E402

LEAST_COSINE, MOST_LOSS = 0.999, 0.1


def ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Of equal values the mean of their ranks."""
    order = values.argsort(kind="stable")
    rank = numpy.empty(len(values))
    rank[order] = numpy.arange(len(values))
    _, inverse, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    return (numpy.bincount(inverse, rank) / counts)[inverse]


def spearman(a: numpy.ndarray, b: numpy.ndarray) -> float:
    return float(numpy.corrcoef(ranks(a), ranks(b))[0, 1])


def embeddings(runner: Executor, sentences: list[list[int]], folder: Path) -> numpy.ndarray:
    rows = []
    for ids in sentences:
        tensor = torch.tensor([ids])
        runner.take((tensor, torch.ones_like(tensor)), folder)
        rows.append(runner.run(folder)[0][0])
    return numpy.stack(rows)


def pair_bootstrap(a: numpy.ndarray, b: numpy.ndarray, scores: numpy.ndarray, rounds: int = 1000) -> list[float]:
    """95% bounds of the difference of two correlations over the same pairs, drawn again and again."""
    random = numpy.random.default_rng(0)
    drawn = random.integers(0, len(scores), (rounds, len(scores)))
    losses = [spearman(a[d], scores[d]) - spearman(b[d], scores[d]) for d in drawn]
    return [float(bound) * 100 for bound in numpy.percentile(losses, (2.5, 97.5))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=Path, help="CSV: two sentences and a score a row (STS-B)")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--archive", type=Path, default=ROOT / "build/fixtures/models/minilm/1/model.pt2")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_executor")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_accuracy.json")
    options = parser.parse_args()
    with options.sentences.open(newline="", encoding="utf-8") as file:
        scores = numpy.array([float(row[2]) for row in csv.reader(file)])
    tokens = list(mixes.sts(mixes.sentences(options.sentences), mixes.tokenizer()))
    runners = {"fp32": (options.program, options.archive, None), "plan": (options.program, options.archive, options.plan)}
    if ort.PYTHON.exists():
        runners |= {f"ort_{kind}": (ort.runner(), file, None) for kind, file in ort.QUANTISED.items() if file.exists()}
    figures: dict = {}
    similarities: dict = {}
    plain = None
    with tempfile.TemporaryDirectory() as scratch:
        for name, (program, archive, plan) in runners.items():
            with Executor(program, archive, 1) as runner:
                runner.load("all", plan)
                found = embeddings(runner, tokens, Path(scratch))
            found /= numpy.linalg.norm(found, axis=1, keepdims=True)
            plain = found if plain is None else plain
            similarities[name] = (found[0::2] * found[1::2]).sum(1)
            cosines = (found * plain).sum(1)
            figures[name] = {
                "spearman": 100 * spearman(similarities[name], scores),
                "mean_cosine": float(cosines.mean()), "least_cosine": float(cosines.min()),
            }  # fmt: skip
            if name != "fp32":
                figures[name]["loss"] = figures["fp32"]["spearman"] - figures[name]["spearman"]
                figures[name]["loss_95"] = pair_bootstrap(similarities["fp32"], similarities[name], scores)
            print(name, {key: numpy.round(value, 5).tolist() for key, value in figures[name].items()}, flush=True)
    plan = figures["plan"]
    targets = {
        "mean cosine": {"value": plan["mean_cosine"], "limit": LEAST_COSINE, "met": plan["mean_cosine"] >= LEAST_COSINE},
        "loss of Spearman's correlation (points)": {"value": plan["loss"], "limit": MOST_LOSS, "met": plan["loss"] <= MOST_LOSS},
    }  # fmt: skip
    result = {"conditions": {"pairs": len(scores), "cores": os.cpu_count()}, "rows": figures, "targets": targets}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
