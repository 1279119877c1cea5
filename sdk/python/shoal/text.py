"""Text in, vectors out, for models that were imported with their tokenizer. The mesh reads the text."""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy

from .errors import InvalidArgument, ShoalError
from .progress import Progress, Report
from .types import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EMBED_DEADLINE", "MOST_TEXTS", "Embeddings", "text_inputs"]

MOST_TEXTS = 4096
"""Of one request; `embed` parts longer lists."""

EMBED_DEADLINE = 60.0

MOST_PART_BYTES = 8 << 20
"""A request ends with the text that reaches it."""


def text_inputs(texts: Sequence[str], truncate: bool = False) -> dict[str, NDArray[Any]]:
    """Inputs for `infer` that carry text in place of a model's own: its result has the outputs with one row per text, and
    `token_counts`.

    Args:
        truncate: texts that are longer than the model takes are cut; otherwise they are refused.
    """
    if isinstance(texts, str):
        raise InvalidArgument("texts must be a list of strings; put a single one into a list")
    if not 0 < len(texts) <= MOST_TEXTS:
        raise InvalidArgument(f"there must be 1 to {MOST_TEXTS} texts in one request, not {len(texts)}")
    parts = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidArgument(f"text {index} is no string but {type(text).__name__}")
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"text {index} has half of a surrogate pair at {error.start}: no such text is UTF-8") from error
        parts.append(struct.pack("<I", len(encoded)) + encoded)
    inputs: dict[str, NDArray[Any]] = {"text": numpy.frombuffer(b"".join(parts), dtype=numpy.uint8)}
    if truncate:
        inputs["truncate"] = numpy.ones(1, dtype=numpy.bool_)
    return inputs


@dataclass
class Embeddings:
    """What `embed` gives; `numpy.asarray` of it is `vectors`."""

    vectors: NDArray[numpy.float32]
    """[texts, width]"""
    token_counts: NDArray[numpy.int64]
    """Per text, special tokens included."""
    model: str
    version: int
    plan: str
    """Epoch of the plan that the last request was computed by (`Result.plan`)."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: Any) -> NDArray[numpy.float32]:
        return self.vectors[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return numpy.array(self.vectors, dtype=dtype, copy=copy)


@dataclass
class Collector:
    """Puts the results of the parts of a list together."""

    texts: Sequence[str]
    truncate: bool
    batch: int
    progress: Report | bool = False
    sizes: deque[int] = field(default_factory=deque)
    """Of the requests without a result."""
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=list)
    done: int = 0
    last: Result | None = None

    def __post_init__(self) -> None:
        if isinstance(self.texts, str):
            raise InvalidArgument("texts must be a list of strings; put a single one into a list")
        if len(self.texts) == 0:
            raise InvalidArgument("there is no text to embed")
        if not 0 < self.batch <= MOST_TEXTS:
            raise InvalidArgument(f"batch must be from 1 to {MOST_TEXTS}, not {self.batch}")
        self.report: Report | None = Progress() if self.progress is True else self.progress or None

    def requests(self) -> Iterator[dict[str, NDArray[Any]]]:
        first = 0
        while first < len(self.texts):
            end, size = first, 0
            while end < len(self.texts) and end - first < self.batch and size < MOST_PART_BYTES:
                size += len(self.texts[end]) if isinstance(self.texts[end], str) else 0
                end += 1
            self.sizes.append(end - first)
            yield text_inputs(self.texts[first:end], self.truncate)
            first = end

    def take(self, outcome: Result | ShoalError) -> None:
        count = self.sizes.popleft()
        if isinstance(outcome, ShoalError):
            # A part's "text 3: ..." is another one of the whole list.
            named = re.match(r"text (\d+): (.*)", str(outcome), re.DOTALL)
            said = f"text {self.done + int(named[1])}: {named[2]}" if named else f"texts {self.done} to {self.done + count - 1}: {outcome}"
            outcome.args = (said, *outcome.args[1:])
            raise outcome
        vectors = next((a for a in outcome.values() if a.dtype == numpy.float32 and a.ndim == 2 and len(a) == count), None)
        if vectors is None:
            raise InvalidArgument(f"model '{outcome.model}' gives no embeddings: none of its outputs is a vector for each text")
        if self.last is not None and outcome.version != self.last.version:
            raise InvalidArgument(f"version {outcome.version} of '{outcome.model}' took over meanwhile: embed again")
        self.parts.append((vectors, outcome["token_counts"]))
        self.done += count
        self.last = outcome
        if self.report is not None:
            self.report(self.done, 0, len(self.texts))

    def embeddings(self) -> Embeddings:
        assert self.last is not None
        return Embeddings(
            numpy.concatenate([vectors for vectors, _ in self.parts]),
            numpy.concatenate([counts for _, counts in self.parts]),
            self.last.model,
            self.last.version,
            self.last.plan,
        )
