"""What is asked, and what the answer must be: requests whose answers tell them apart, so that a mix-up of rows is seen.

- identity: every request has values of its own; the answer is these very bits.
- sentences for MiniLM, as token ids and as text. Their answers are computed once by the calm mesh, one at a time. Rows that
  run together are computed in other blocks than alone, which moves the last bits of fp32: up to TOLERANCE is equal. Any two
  reference answers are DISTANCE apart at least, a thousand times as much, so another row's answer is never taken for right.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4  # of each element, whose vectors have length 1; the C++ tests have the same
DISTANCE = 1e-2
SENTENCES = 24
WORDS = (
    "a the cat dog man woman boat river mountain plays guitar reads writes sees old new green red quick slow music bread "
    "water city street child opens closes builds breaks small large two seven winter summer night morning with without"
).split()

Array = NDArray[Any]


@dataclass(slots=True)
class Question:
    """One request and how its answer is known."""

    model: str
    inputs: dict[str, Array]
    output: str
    texts: list[str] | None = None
    wanted: Array | None = None
    known: tuple[str, int] | None = None  # which reference
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    is_right: bool
    difference: float
    said: str = ""


class Content:
    def __init__(self, seed: int, tolerance: float = TOLERANCE, identities: bool = True) -> None:
        """`identities`: the mesh has the model identity."""
        self._tolerance = tolerance
        self._identities = identities
        self._kinds: tuple[str, ...] = ("sentence", "text")
        draw = random.Random(f"content/{seed}")
        self._sentences = [self._sentence(draw) for _ in range(SENTENCES)]
        self._texts = [" ".join(draw.choices(WORDS, k=draw.randint(3, 24))) + f" {i}" for i in range(SENTENCES)]
        self.references: dict[str, list[Array]] = {"sentence": [], "text": []}

    def every_known(self) -> list[Question]:
        """What references are needed of."""
        return [self._known(kind, i) for kind in self._kinds for i in range(SENTENCES)]

    def leave_out(self, kind: str) -> None:
        """No sentences as ids ("sentence") or no sentences as text ("text") are asked, but more of the other."""
        self._kinds = tuple(each for each in self._kinds if each != kind)

    def learn(self, question: Question, answer: Array) -> None:
        assert question.known is not None
        self.references[question.known[0]].append(np.array(answer, np.float32))

    def least_distance(self) -> float:
        """Between any two references: the greatest difference of an element."""
        least = float("inf")
        for known in self.references.values():
            for i, one in enumerate(known):
                for other in known[i + 1 :]:
                    least = min(least, float(np.abs(one - other).max()))
        return least

    def draw(self, random_: random.Random, number: int) -> Question:
        chance = random_.random()
        if not self._identities:
            chance = 0.58 + 0.42 * chance
        if chance < 0.55:
            return self._identity(number, 1 + random_.randrange(3), 64)
        if chance < 0.58:
            return self._identity(number, 64, 1024)  # more than rides along with the head: fetched by the worker
        index = random_.randrange(SENTENCES)
        kind = "sentence" if chance < 0.9 else "text"
        return self._known(kind if kind in self._kinds else self._kinds[0], index)

    def judge(self, question: Question, answer: Array) -> Verdict:
        """Pure."""
        if question.exact:
            wanted = question.wanted
            assert wanted is not None
            if answer.shape == wanted.shape and answer.dtype == wanted.dtype and answer.tobytes() == wanted.tobytes():
                return Verdict(True, 0.0)
            return Verdict(False, float("inf"), f"identity gave {answer.dtype}{list(answer.shape)} with other bits")
        assert question.known is not None
        kind, index = question.known
        wanted = self.references[kind][index]
        if answer.shape != wanted.shape:
            return Verdict(False, float("inf"), f"an answer of shape {list(answer.shape)}, not {list(wanted.shape)}")
        difference = float(np.abs(answer - wanted).max())
        if difference <= self._tolerance:
            return Verdict(True, difference)
        distances = [float(np.abs(answer - each).max()) for each in self.references[kind]]
        nearest = int(np.argmin(distances))
        return Verdict(False, difference, f"off by {difference:.2e}; nearest to {kind} {nearest} ({distances[nearest]:.1e}), asked was {index}")

    def _known(self, kind: str, index: int) -> Question:
        if kind == "text":
            return Question("minilm", {}, "sentence_embedding", texts=[self._texts[index]], known=(kind, index))
        return Question("minilm", self._sentences[index], "sentence_embedding", known=(kind, index))

    @staticmethod
    def _sentence(draw: random.Random) -> dict[str, Array]:
        ids = [101, *(draw.randrange(1000, 21000) for _ in range(draw.randint(3, 38))), 102]
        return {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}

    @staticmethod
    def _identity(number: int, rows: int, columns: int) -> Question:
        values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) % 1009 + number % 1_000_000
        return Question("identity", {"x": values}, "y", wanted=values, exact=True)


def exported_cases(folder: Path) -> list[tuple[dict[str, Array], Array]]:
    """What eager PyTorch gave for MiniLM when it was exported (tools/export); empty if it lies elsewhere."""
    listed = folder / "minilm" / "1" / "reference" / "cases.json"
    if not listed.exists():
        return []
    cases = []
    for case in json.loads(listed.read_text())["cases"]:
        arrays = {}
        for each in (*case["inputs"], *case["outputs"]):
            dtype = {"INT64": np.int64, "FP32": np.float32}[each["type"]]
            arrays[each["name"]] = np.fromfile(listed.parent / each["file"], dtype).reshape(each["shape"])
        output = case["outputs"][0]["name"]
        cases.append(({each["name"]: arrays[each["name"]] for each in case["inputs"]}, arrays[output]))
    return cases
