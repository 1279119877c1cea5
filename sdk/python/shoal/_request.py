"""One request, from the call to its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ._wire import MAX_TENSORS, Payload, check_name
from .errors import InvalidArgument, ShoalError
from .types import Result

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._gateway import Gateway

_MAX_VERSION = 2**64 - 1
PRIORITIES = ("standard", "critical", "batch")


class Request:
    """`deadline` in the loop's time. At most one of its tries is in flight: at `gateway`, under the number `wire`."""

    __slots__ = (
        "deadline",
        "future",
        "gateway",
        "id",
        "last_error",
        "last_gateway",
        "model",
        "outputs",
        "payload",
        "priority",
        "rest",
        "timer",
        "tries",
        "version",
        "wire",
    )

    def __init__(
        self,
        id: int,
        model: str,
        inputs: Mapping[str, ArrayLike],
        version: int,
        outputs: Sequence[str],
        priority: str,
        deadline: float,
        future: asyncio.Future[Result],
    ) -> None:
        """Raises InvalidArgument for what no mesh could take."""
        check_name(model, "a model's name")
        if not isinstance(version, int) or not 0 <= version <= _MAX_VERSION:
            raise InvalidArgument(f"version must be a number from 0, not {version!r}")
        if isinstance(outputs, str) or len(outputs) > MAX_TENSORS:
            raise InvalidArgument(f"outputs must be a list of at most {MAX_TENSORS} names")
        for name in outputs:
            check_name(name, "an output's name")
        if priority not in PRIORITIES:
            raise InvalidArgument(f"priority must be one of {', '.join(PRIORITIES)}, not {priority!r}")
        self.id = id
        self.model = model
        self.version = version
        self.payload = Payload(inputs)
        self.outputs = outputs
        self.priority = priority
        self.deadline = deadline
        self.future = future
        self.timer: asyncio.TimerHandle | None = None  # for the deadline
        self.rest: asyncio.TimerHandle | None = None  # before the next try
        self.gateway: Gateway | None = None  # where it is in flight
        self.last_gateway: Gateway | None = None
        self.wire = id
        self.tries = 0
        self.last_error: ShoalError | None = None

    def fail(self, error: ShoalError) -> None:
        if not self.future.done():
            error.request_id = self.id
            self.future.set_exception(error)
