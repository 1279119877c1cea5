"""What the mesh answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ShoalError

__all__ = ["Dimension", "ModelSpec", "Result", "ServiceReport", "TensorSpec", "WorkerAnswer"]


class Result(Mapping[str, "np.ndarray[Any, Any]"]):
    """The outputs of one request by name, in the order of the model (or of `outputs`, if that was given).

    The arrays are read-only: large ones are views of the very buffers that came from the network. Copy what you want to
    change; keep a copy, too, of a small part that shall outlive a large result.

    Attributes:
        model, version: what ran.
        queue_time: seconds the request waited in the mesh for its turn.
        compute_time: seconds of the execution it was part of.
        batch_rows: rows of that execution, this request's included.
        retries: tries after the first.
        plan: epoch of the plan by which the whole execution was computed (`shoal tune`): which numbers each node used.
            "fp32": no plan. Empty: the mesh is of an older release, which does not tell.
    """

    __slots__ = ("_arrays", "batch_rows", "compute_time", "model", "plan", "queue_time", "retries", "version")

    def __init__(
        self,
        arrays: dict[str, np.ndarray[Any, Any]],
        model: str,
        version: int,
        queue_time: float,
        compute_time: float,
        batch_rows: int,
        retries: int = 0,
        plan: str = "",
    ) -> None:
        self._arrays = arrays
        self.model = model
        self.version = version
        self.queue_time = queue_time
        self.compute_time = compute_time
        self.batch_rows = batch_rows
        self.retries = retries
        self.plan = plan

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in self._arrays.items())
        return f"<Result of {self.model} version {self.version}: {outputs}>"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Sizes that one dimension may have. Dimensions of the same symbol have equal sizes within a request."""

    min: int
    max: int
    symbol: str = ""

    def __str__(self) -> str:
        if self.min == self.max:
            return str(self.min)
        return f"{self.symbol or '?'}:{self.min}..{self.max if self.max < 2**62 else ''}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model; `dtype` as Open Inference Protocol v2 names it ("FP32")."""

    name: str
    dtype: str
    dims: tuple[Dimension, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One version of a model; `state` is "loading", "ready" or "failed" (then `reason` says why)."""

    name: str
    version: int
    state: str
    reason: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The figures that one service of the mesh tells about itself, by name."""

    service: str
    instance: int
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """What one worker said to `load` or `unload`: a sentence, or why not."""

    worker: int
    said: str
    error: ShoalError | None = None
