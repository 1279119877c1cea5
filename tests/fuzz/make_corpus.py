"""Writes the seeds of the corpora from the exported fixtures and the golden messages:
`make_corpus.py build/fixtures/graphs tests/fuzz/corpus`.

Metadata (stack traces with paths of the exporting machine) and sample inputs are left out; regressions stay.
"""

import json
import pathlib
import sys
import zipfile

ARCHIVES = ["tuple", "even_width", "gather"]
GRAPHS = ["arithmetic", "constants", "convolutional", "folding", "lists", "recurrent", "several", "training", "tuple",
          "writes_input"]
MODEL = "models/model.json"
CONFIGS = ["data/weights/model_weights_config.json", "data/constants/model_constants_config.json"]


def without_metadata(part):
    if isinstance(part, dict):
        if "target" in part and "metadata" in part:
            part["metadata"] = {}
        for value in part.values():
            without_metadata(value)
    elif isinstance(part, list):
        for value in part:
            without_metadata(value)
    return part


def compact(text):
    return json.dumps(without_metadata(json.loads(text)), separators=(",", ":"))


def records(archive):
    with zipfile.ZipFile(archive) as opened:
        found = {name.split("/", 1)[1]: opened.read(name) for name in opened.namelist()}
    kept = {name: data for name, data in found.items() if "sample_inputs" not in name}
    kept[MODEL] = compact(kept[MODEL]).encode()
    return kept


def envelopes(corpus):
    """Golden messages, each frame after its size (read_envelope.hpp)."""
    for message in (corpus.parent.parent / "unit" / "link" / "golden").glob("*.hex"):
        frames = [bytes.fromhex(line) for line in message.read_text().splitlines()]
        seed = b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)
        (corpus / "envelope" / f"good-{message.stem}").write_bytes(seed)


def main(fixtures, corpus):
    for folder in ("archive", "graph", "envelope"):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
    envelopes(corpus)
    for name in ARCHIVES:
        with zipfile.ZipFile(corpus / "archive" / f"good-{name}.pt2", "w", zipfile.ZIP_STORED) as made:
            for record, data in records(fixtures / name / "1" / "model.pt2").items():
                made.writestr(zipfile.ZipInfo("model/" + record), data)
    for name in GRAPHS:
        given = records(fixtures / name / "1" / "model.pt2")
        texts = [given[MODEL].decode()] + [compact(given[config]) for config in CONFIGS]
        prefix = "" if name == "training" else "good-"
        (corpus / "graph" / f"{prefix}{name}").write_text("\0".join(texts))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
