"""Text to ids on one core: Shoal's tokenizers and the library `tokenizers` by turns, on the same lines in one run. The
library is asked as it is fastest (encode_batch_fast, no offsets), without its threads.

Rows are a tokenizer and a kind of text: `english` are CPython's own documents, `mixed` translations of installed
programs in all their languages with sentences in some thirty more. Keys of the result: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}

import tokenizers  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/export"))
import random  # noqa: E402

from tokenizer_texts import SENTENCES, documentation, translations  # noqa: E402

TOKENIZERS = {"minilm": "WordPiece", "gpt2": "byte-level BPE"}
MB_PER_S = 20.0
FASTER = 1.0


def corpora() -> dict[str, list[str]]:
    draw = random.Random(7)
    mixed = translations(draw, 8_000) + 20 * SENTENCES
    draw.shuffle(mixed)
    flat = lambda lines: [" ".join(line.split()) for line in lines]  # noqa: E731
    return {"english": flat(documentation()), "mixed": flat(mixed)}


def library_speed(tokenizer: tokenizers.Tokenizer, lines: list[str], size: int, seconds: float) -> float:
    speeds: list[float] = []
    until = time.monotonic() + seconds
    while not speeds or time.monotonic() < until:
        began = time.perf_counter()
        tokenizer.encode_batch_fast(lines)
        speeds.append(size / (time.perf_counter() - began) / 1e6)
    return statistics.median(speeds)


def library_ids(tokenizer: tokenizers.Tokenizer, lines: list[str]) -> int:
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(lines))


def row(options: argparse.Namespace, name: str, lines: list[str], folder: Path) -> dict:
    file = options.fixtures / "tokenizers" / name / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = folder / "lines"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = sum(len(line.encode()) for line in lines)
    command = [str(options.program), str(file), str(text), str(options.seconds / options.turns / 2)]
    shoal, library = [], []
    for _ in range(options.turns):
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if told["ids"] != (ids := library_ids(tokenizer, lines)):
            raise SystemExit(f"{name}: Shoal gives {told['ids']} ids, the library {ids}")
        shoal.append(told["mb_per_s"])
        library.append(library_speed(tokenizer, lines, size, options.seconds / options.turns / 2))
    ratios = sorted(ours / theirs for ours, theirs in zip(shoal, library, strict=True))
    return {
        "bytes": size, "lines": len(lines), "ids": told["ids"],
        "mb_per_s": statistics.median(shoal), "mb_per_s_spread": [min(shoal), max(shoal)],
        "library_mb_per_s": statistics.median(library), "library_mb_per_s_spread": [min(library), max(library)],
        "ratio": statistics.median(ratios), "ratio_spread": [ratios[0], ratios[-1]],
    }  # fmt: skip


def targets_of(rows: dict) -> dict:
    """The slowest text of each tokenizer."""
    targets = {}
    for name, kind in TOKENIZERS.items():
        own = [each for key, each in rows.items() if key.startswith(f"{name} ")]
        if kind == "WordPiece":
            value = min(each["mb_per_s"] for each in own)
            targets[f"{kind}, MB/s on one core"] = {"value": value, "limit": MB_PER_S, "met": value >= MB_PER_S}
        value = min(each["ratio"] for each in own)
        targets[f"{kind}, times as fast as tokenizers"] = {"value": value, "limit": FASTER, "met": value > FASTER}
    return targets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/bench_text")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build/fixtures")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/bench_text.json")
    parser.add_argument("--seconds", type=float, default=8, help="per row")
    parser.add_argument("--turns", type=int, default=5, help="of either, per row")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    conditions = {"tokenizers": tokenizers.__version__, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0],
                  "seconds": options.seconds}  # fmt: skip
    rows = {}
    print(f"{'':<16} {'MB/s':>8} {'spread':>15} {'library':>8} {'spread':>13} {'times':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, lines in corpora().items():
            for name in TOKENIZERS:
                cell = rows[f"{name} {kind}"] = row(options, name, lines, Path(folder))
                low, high = cell["mb_per_s_spread"]
                slow, fast = cell["library_mb_per_s_spread"]
                print(f"{name + ' ' + kind:<16} {cell['mb_per_s']:>8.1f} {low:>7.1f}-{high:<7.1f} "
                      f"{cell['library_mb_per_s']:>8.2f} {slow:>6.2f}-{fast:<6.2f} {cell['ratio']:>7.1f}", flush=True)  # fmt: skip
    result = {"conditions": conditions, "rows": rows, "targets": targets_of(rows)}
    for name, target in result["targets"].items():
        print(f"{name}: {target['value']:.2f} (limit {target['limit']}): {'met' if target['met'] else 'missed'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
