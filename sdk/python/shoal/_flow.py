"""Many requests of one model with a bounded number in flight or not yet taken: what `map` and `stream` are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import InvalidArgument, ShoalError
from .progress import Report, Tally
from .types import Result

if TYPE_CHECKING:
    from .mesh import Mesh

Inputs: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = Result | ShoalError


def checked_window(window: int) -> int:
    if not isinstance(window, int) or window < 1:
        raise InvalidArgument(f"window must be a number from 1, not {window!r}")
    return window


def raised(outcome: Outcome, return_errors: bool) -> Any:
    """What the loop over a flow gets of it."""
    if isinstance(outcome, ShoalError) and not return_errors:
        raise outcome
    return outcome


class Flow:
    """A task draws the inputs and submits them while there is room; the caller takes the outcomes."""

    def __init__(
        self, mesh: Mesh, many: Iterable[Inputs] | AsyncIterable[Inputs], window: int, progress: Report | bool
    ) -> None:
        self._mesh = mesh
        self._many = many
        self._room = asyncio.Semaphore(checked_window(window))
        self._tally = Tally(progress, many)
        self._futures: set[asyncio.Future[Result]] = set()
        # In the order of the inputs, or in that of the outcomes; None: there are no more.
        self._line: asyncio.Queue[tuple[int, asyncio.Future[Result]] | None] = asyncio.Queue()
        self._feeder: asyncio.Task[None] | None = None
        self._drawn = 0

    async def in_order(self, model: str, **how: Any) -> AsyncIterator[tuple[int, Outcome]]:
        self._feeder = asyncio.create_task(self._feed(model, how, self._line.put_nowait))
        self._feeder.add_done_callback(lambda _: self._line.put_nowait(None))
        while (one := await self._line.get()) is not None:
            yield await self._taken(*one)
        self._feeder.result()  # what the source raised
        self._tally.end()

    async def as_they_come(self, model: str, **how: Any) -> AsyncIterator[tuple[int, Outcome]]:
        def later(one: tuple[int, asyncio.Future[Result]]) -> None:
            one[1].add_done_callback(lambda _: self._line.put_nowait(one))

        self._feeder = asyncio.create_task(self._feed(model, how, later))
        self._feeder.add_done_callback(lambda _: self._line.put_nowait(None))
        taken = 0
        is_over = False
        while not is_over or taken < self._drawn:
            one = await self._line.get()
            if one is None:
                is_over = True
            else:
                taken += 1
                yield await self._taken(*one)
        self._feeder.result()  # what the source raised
        self._tally.end()

    async def stop(self) -> None:
        """Takes back what is still in flight."""
        if self._feeder is not None and not self._feeder.done():
            self._feeder.cancel()
            await asyncio.wait([self._feeder])
        for future in self._futures:
            future.cancel()

    async def _feed(self, model: str, how: dict[str, Any], put: Any) -> None:
        async for inputs in _each(self._many, self._room):
            try:
                future = await self._mesh.submit(model, inputs, **how)
            except ShoalError as error:  # this request's own
                future = asyncio.get_running_loop().create_future()
                future.set_exception(error)
            self._futures.add(future)
            future.add_done_callback(_look_at)
            put((self._drawn, future))
            self._drawn += 1

    async def _taken(self, index: int, future: asyncio.Future[Result]) -> tuple[int, Outcome]:
        try:
            outcome: Outcome = await future
        except ShoalError as error:
            outcome = error
        self._futures.discard(future)
        self._room.release()
        self._tally.add(outcome)
        return index, outcome


async def _each(
    many: Iterable[Inputs] | AsyncIterable[Inputs], room: asyncio.Semaphore
) -> AsyncIterator[Inputs]:
    """Draws one only when there is room for it."""
    await room.acquire()
    if isinstance(many, AsyncIterable):
        async for inputs in many:
            yield inputs
            await room.acquire()
    else:
        for inputs in many:
            yield inputs
            await room.acquire()


def _look_at(future: asyncio.Future[Result]) -> None:
    """So that nobody is warned of an error that was never retrieved: whoever stops early does not want it."""
    if not future.cancelled():
        future.exception()
