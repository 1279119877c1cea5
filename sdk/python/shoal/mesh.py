"""The asyncio client: `connect` and `Mesh`, what users call. The work is done in `_session.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._flow import Flow, Inputs, raised
from ._key import ClientKey
from ._options import DEFAULT_DEADLINE, Options
from ._session import Session
from .errors import InvalidArgument, Unavailable
from .progress import Report
from .text import EMBED_DEADLINE, Collector, Embeddings
from .types import ModelSpec, Result, ServiceReport, WorkerAnswer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Mesh", "connect"]


class Mesh:
    """A connection to a mesh that heals itself. Made by `shoal.connect`; belongs to the asyncio loop it was opened on.

    Any number of tasks of that loop may infer at once; their requests share one socket for each gateway. Not for use from
    other threads (see `shoal.connect_sync`) nor in a forked child: open a mesh of its own there.
    """

    def __init__(self, addresses: Sequence[str], options: Options) -> None:
        if not addresses:
            raise InvalidArgument("at least one address of a gateway is needed: tcp://HOST:PORT or ipc://PATH")
        for address in addresses:
            if not isinstance(address, str) or not address.startswith(("tcp://", "ipc://")):
                raise InvalidArgument(f"'{address}' is no address of a gateway: tcp://HOST:PORT or ipc://PATH")
        self._session = Session(addresses, options)

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> Mesh:
        """Connects; `async with` and `await shoal.connect(...)` do it for you.

        Raises:
            Unavailable: no gateway welcomed us within the timeout given to `connect`.
            Incompatible: they speak other versions of the protocol.
            InvalidArgument: an address cannot be one.
        """
        await self._session.open()
        return self

    async def close(self) -> None:
        """Ends the connections. Requests without an outcome raise `Unavailable` and are cancelled at the mesh."""
        self._session.end(Unavailable("this mesh has been closed", retryable=False))

    def __await__(self) -> Generator[Any, None, Mesh]:
        return self.open().__await__()

    async def __aenter__(self) -> Mesh:
        return self if self._session.is_open else await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- inference ---------------------------------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
    ) -> Result:
        """Runs `model` on `inputs` and gives its outputs.

        Args:
            model: its name.
            inputs: an array per input, of the very dtype and rank that `models()` tells; Python numbers become int64,
                float64 or bool as numpy has it. Contiguous little-endian arrays are not copied: leave them as they are
                until the answer is there (after a cancellation or a passed deadline, until the mesh is closed).
            version: zero takes the highest that is ready.
            outputs: the names wanted, in this order; empty takes all.
            priority: "critical" goes before "standard", and that before "batch", among those that wait; none starves.
            deadline: seconds from now in which the answer must be there; None takes the default of `connect`. There is
                an outcome at the deadline, a tenth of a second later at most, even if no gateway is there any more.

        Raises:
            InvalidArgument, NotFound, Unsupported, TooLarge: change the request; the message says how.
            DeadlineExceeded: the time is over; retryable if the request was never sent (no gateway, no room).
            Overloaded: refused, also after the retries that there were; try again after `retry_after` seconds.
            Unavailable: the gateway was lost while it held the request and no retry was left (it may have run); or there is
                none, and `connect` was told not to wait for one.
            asyncio.CancelledError: the task was cancelled; the mesh is told so.
        """
        session = self._session
        request = session.prepare(model, inputs, version, outputs, priority, deadline)
        if not session.enter_at_once(request):
            await session.enter(request)
        session.launch(request)
        try:
            return await request.future
        finally:
            session.finish(request)

    async def submit(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
    ) -> asyncio.Future[Result]:
        """`infer` without waiting for the outcome: it waits only while the window is full (`connect`'s `max_in_flight`)
        and gives a future. Cancelling the future takes the request back."""
        session = self._session
        request = session.prepare(model, inputs, version, outputs, priority, deadline)
        if not session.enter_at_once(request):
            await session.enter(request)
        session.launch(request)
        request.future.add_done_callback(lambda _: session.finish(request))
        return request.future

    async def map(
        self,
        model: str,
        many: Iterable[Inputs] | AsyncIterable[Inputs],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
        window: int = 64,
        return_errors: bool = False,
        progress: Report | bool = False,
    ) -> AsyncIterator[Result]:
        """The outcomes of many requests, in the order of their inputs: `async for result in mesh.map(...)`.

        Inputs are drawn only when there is room for them: no more than `window` are in flight or not yet taken by the
        loop. Each request has the deadline for itself, from when it is drawn.

        Args:
            many: the inputs of each request, from anything to iterate over. What is no `async` iterable is iterated on the
                event loop and should not block.
            return_errors: an outcome that is an error is yielded like a result, as the exception object. Without it the
                first one is raised, and what is in flight is taken back.
            progress: called with (done, failed, total) after each outcome, total None if `many` has no length; True
                prints to standard error (`shoal.Progress`).

        Raises: as `infer`; what `many` raises.
        """
        flow = Flow(self, many, window, progress)
        try:
            how = {"version": version, "outputs": outputs, "priority": priority, "deadline": deadline}
            async for _, outcome in flow.in_order(model, **how):
                yield raised(outcome, return_errors)
        finally:
            await flow.stop()

    async def stream(
        self,
        model: str,
        many: Iterable[Inputs] | AsyncIterable[Inputs],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
        window: int = 64,
        return_errors: bool = False,
        progress: Report | bool = False,
    ) -> AsyncIterator[tuple[int, Result]]:
        """As `map`, but each outcome as soon as it is there, with the index of its inputs."""
        flow = Flow(self, many, window, progress)
        try:
            how = {"version": version, "outputs": outputs, "priority": priority, "deadline": deadline}
            async for index, outcome in flow.as_they_come(model, **how):
                yield index, raised(outcome, return_errors)
        finally:
            await flow.stop()

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        truncate: bool = False,
        version: int = 0,
        batch: int = 1024,
        window: int = 3,
        priority: str = "standard",
        deadline: float = EMBED_DEADLINE,
        progress: Report | bool = False,
    ) -> Embeddings:
        """Vectors for texts, in their order, by a model that was imported with its tokenizer (`shoal import --tokenizer`).

        Args:
            texts: a list of strings, of any length.
            truncate: texts that are longer than the model takes are cut; otherwise they are refused.
            batch: texts of one request, at most `shoal.text.MOST_TEXTS`; they are sorted by length together.
            window: requests in flight, so that all workers have some.
            deadline: seconds for each request.
            progress: called with (done, failed, total) in texts; True prints to standard error (`shoal.Progress`).

        Raises: as `infer`, and says which texts; Unsupported if the model has no tokenizer.
        """
        collector = Collector(texts, truncate, batch, progress)
        how = {"version": version, "priority": priority, "deadline": deadline}
        async for outcome in self.map(model, collector.requests(), window=window, return_errors=True, **how):  # type: ignore[arg-type]
            collector.take(outcome)
        return collector.embeddings()

    # --- the mesh itself ---------------------------------------------------------------------------------------------

    async def models(self, *, deadline: float | None = None) -> list[ModelSpec]:
        """All models that the mesh serves, is loading or has failed to load."""
        return await self._session.models(deadline)

    async def status(self, *, deadline: float | None = None) -> list[ServiceReport]:
        """The figures that every service of the mesh tells about itself."""
        return await self._session.status(deadline)

    async def load(
        self, model: str, version: int = 0, *, replace: bool = False, deadline: float = 60.0
    ) -> list[WorkerAnswer]:
        """Takes a model of the workers' directory into service, at every worker; what each of them said.

        Args:
            version: zero takes the newest in the directory.
            replace: older versions are unloaded once this one serves.

        Raises: InvalidArgument, Unavailable (also if the gateway is lost meanwhile: look at `models()`),
            DeadlineExceeded. What one worker could not do stands in its answer.
        """
        return await self._session.manage("load", model, version, replace, deadline)

    async def unload(self, model: str, version: int = 0, *, deadline: float = 60.0) -> list[WorkerAnswer]:
        """Takes a model out of service and frees its memory, at every worker; version zero: all of them."""
        return await self._session.manage("unload", model, version, False, deadline)

    @property
    def in_flight(self) -> int:
        """Requests that have been sent and have no outcome yet."""
        return self._session.in_flight

    def counts(self) -> dict[str, int]:
        """What was dropped or happened so far: "retries", "retries_refused" (the budget was spent), frames that were
        "junk" or of a "stale" epoch, "late" answers, messages "unsent" because the connection was gone, connections
        "lost", and "moved" away from a gateway that another address has, too."""
        return dict(self._session.counts)


def connect(
    *addresses: str,
    timeout: float = 5.0,
    default_deadline: float = DEFAULT_DEADLINE,
    max_message_bytes: int = 1 << 30,
    wait_for_gateway: bool = True,
    retry_ratio: float = 0.25,
    retry_reserve: int = 10,
    max_in_flight: int = 1024,
    max_in_flight_bytes: int = 256 << 20,
    wait_for_room: bool = True,
    key: str | os.PathLike[str] | None = None,
) -> Mesh:
    """A mesh to be opened: ``async with shoal.connect(address) as mesh:`` or ``mesh = await shoal.connect(address)``.

    Args:
        addresses: of gateways' native doors, "tcp://HOST:PORT" or "ipc://PATH"; none: that of `shoal up`. Names are
            resolved at each attempt. Each request goes to the gateway that has the least of ours in flight; what was in
            flight at one that is lost goes to another.
        timeout: seconds in which the first welcome must come; attempts are repeated with back-off until then. Later
            losses are healed in the background without a limit.
        default_deadline: seconds for requests that name none.
        max_message_bytes: the largest sum of bytes of one request's outputs that is accepted.
        wait_for_gateway: without a gateway a request waits for one until its deadline; False: it fails at once.
        retry_ratio, retry_reserve: retries of what was lost with its gateway, refused as overloaded, or unavailable: so
            many for each request made, and the reserve in any case (one comes back each second). 0 and 0: none.
        max_in_flight, max_in_flight_bytes: requests without an outcome, and bytes of their inputs, that there may be. A
            request alone may always go, however large.
        wait_for_room: a call that finds the window full waits for room until its deadline; False: it raises `Overloaded`.
        key: the key file of a client (`shoal keys new NAME`), for gateways that let in nobody without a key: connections
            over tcp are encrypted then, and only the gateways named in it are believed. None: in the clear.
    """
    return Mesh(
        addresses or ("tcp://127.0.0.1:8002",),
        Options(
            timeout=timeout,
            default_deadline=default_deadline,
            max_message_bytes=max_message_bytes,
            wait_for_gateway=wait_for_gateway,
            retry_ratio=retry_ratio,
            retry_reserve=retry_reserve,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
            wait_for_room=wait_for_room,
            key=None if key is None else ClientKey.read(key),
        ),
    )
