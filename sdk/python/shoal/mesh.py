"""The client of a mesh: requests, their deadlines and cancellation, credit, and reconnection.

Everything here happens on one asyncio loop, without tasks of its own: links call in, timers end what is late.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ._link import Link
from ._wire import MAX_TENSORS, Outcome, Payload, Welcome, check_name
from .errors import Cancelled, DeadlineExceeded, InvalidArgument, ShoalError, TooLarge, Unavailable
from .types import ModelSpec, Result, ServiceReport

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Mesh", "connect"]

T = TypeVar("T")

DEFAULT_DEADLINE = 10.0  # seconds
GRACE = 0.1  # seconds after the deadline in which the gateway's own answer is preferred to ours
REPLY_ROOM = 64 * 1024  # bytes of credit for the reply to each request, as the gateway counts (actors/link/options.hpp)
_FIRST_BACKOFF = 0.05  # seconds
_LAST_BACKOFF = 2.0
_MAX_DEADLINE = 12 * 24 * 3600.0  # the wire's limit is 2^40 microseconds
_MAX_VERSION = 2**64 - 1


class _Request:
    __slots__ = ("deadline", "future", "id", "model", "outputs", "payload", "sent", "timer", "version")

    def __init__(
        self,
        id: int,
        model: str,
        version: int,
        payload: Payload,
        outputs: Sequence[str],
        deadline: float,
        future: asyncio.Future[Result],
    ) -> None:
        self.id = id
        self.model = model
        self.version = version
        self.payload = payload
        self.outputs = outputs
        self.deadline = deadline
        self.future = future
        self.sent = False
        self.timer: asyncio.TimerHandle | None = None


class Mesh:
    """A connection to a mesh that heals itself. Made by `shoal.connect`; belongs to the asyncio loop it was opened on.

    Any number of tasks of that loop may infer at once; their requests share one socket. Not for use from other threads
    (see `shoal.connect_sync`) nor in a forked child: open a mesh of its own there.
    """

    def __init__(self, address: str, *, timeout: float, default_deadline: float, max_message_bytes: int) -> None:
        if not isinstance(address, str) or not address.startswith(("tcp://", "ipc://")):
            raise InvalidArgument(f"'{address}' is no address of a gateway: tcp://HOST:PORT or ipc://PATH")
        if not 0 < max_message_bytes < 2**63:
            raise InvalidArgument(f"max_message_bytes must be positive, not {max_message_bytes}")
        self._address = address
        self._timeout = _checked_deadline(timeout, "timeout")
        self._default_deadline = _checked_deadline(default_deadline, "default_deadline")
        self._max_message_bytes = max_message_bytes
        self._instance = secrets.randbits(64)
        self._epoch = time.time_ns() // 1000
        self._pid = os.getpid()
        self._counts: Counter[str] = Counter()

        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Link | None = None
        self._welcome: Welcome | None = None  # while the link is up
        self._opened: asyncio.Future[None] | None = None
        self._ended: ShoalError | None = None  # why nothing can be asked any more
        self._reason = Unavailable(f"no gateway has answered at {address} yet")
        self._backoff = _FIRST_BACKOFF
        self._backoff_timer: asyncio.TimerHandle | None = None

        self._next_id = 1
        self._waiting: deque[_Request] = deque()  # for a link or for credit, first come first served
        self._in_flight: dict[int, _Request] = {}
        self._charged: dict[int, int] = {}  # bytes of credit by request; outlives a request that is being cancelled
        self._charged_bytes = 0
        self._models_asked: list[asyncio.Future[list[ModelSpec]]] = []
        self._reports_asked: list[asyncio.Future[list[ServiceReport]]] = []

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> Mesh:
        """Connects; `async with` and `await shoal.connect(...)` do it for you.

        Raises:
            Unavailable: no gateway welcomed us within the timeout given to `connect`.
            Incompatible: it speaks another version of the protocol.
            InvalidArgument: the address cannot be one.
        """
        if self._loop is not None:
            raise InvalidArgument("this mesh has been opened before: connect again for another one")
        self._loop = asyncio.get_running_loop()
        self._opened = self._loop.create_future()
        try:
            self._connect()
            async with asyncio.timeout(self._timeout):
                await self._opened
        except TimeoutError:
            self._end(self._reason)
            raise self._reason from None
        except BaseException:
            self._end(self._reason)
            raise
        return self

    async def close(self) -> None:
        """Ends the connection. Requests without an outcome raise `Unavailable` and are cancelled at the mesh."""
        self._end(Unavailable("this mesh has been closed", retryable=False))

    def __await__(self) -> Generator[Any, None, Mesh]:
        return self.open().__await__()

    async def __aenter__(self) -> Mesh:
        return self if self._loop is not None else await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- what users ask ----------------------------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
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
            deadline: seconds from now in which the answer must be there; None takes the default of `connect`. There is
                an outcome at the deadline, a tenth of a second later at most, even if no gateway is there any more.

        Raises:
            InvalidArgument, NotFound, Unsupported, TooLarge: change the request; the message says how.
            DeadlineExceeded: the time is over.
            Overloaded: refused at once; try again after `retry_after` seconds.
            Unavailable: no gateway, or it was lost while it held the request (retryable: the request may have run).
            asyncio.CancelledError: the task was cancelled; the mesh is told so.
        """
        loop = self._running()
        request = self._request(loop, model, inputs, version, outputs, deadline)
        request.timer = loop.call_at(request.deadline, self._on_deadline, request)
        self._waiting.append(request)
        self._send_waiting()
        try:
            return await request.future
        except asyncio.CancelledError:
            self._abandon(request)
            raise
        finally:
            request.timer.cancel()

    async def models(self, *, deadline: float | None = None) -> list[ModelSpec]:
        """All models that the mesh serves, is loading or has failed to load."""
        return await self._ask(self._models_asked, Link.describe, deadline)

    async def status(self, *, deadline: float | None = None) -> list[ServiceReport]:
        """The figures that every service of the mesh tells about itself."""
        return await self._ask(self._reports_asked, Link.inquire, deadline)

    @property
    def in_flight(self) -> int:
        """Requests that have been sent and have no outcome yet."""
        return len(self._in_flight)

    def counts(self) -> dict[str, int]:
        """What was dropped or happened to this connection so far: frames that were "junk" or of a "stale" epoch, "late"
        answers, messages "unsent" because the connection was gone, connections "lost"."""
        return dict(self._counts)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._ended is not None:
            # A fresh one: an exception that is raised twice collects tracebacks.
            raise type(self._ended)(str(self._ended), retryable=self._ended.retryable)
        if self._loop is None:
            raise InvalidArgument("this mesh is not open yet: use `async with` or `await` on it")
        if os.getpid() != self._pid:
            raise InvalidArgument("this mesh was opened before a fork: open another one in the child")
        return self._loop

    def _request(
        self,
        loop: asyncio.AbstractEventLoop,
        model: str,
        inputs: Mapping[str, ArrayLike],
        version: int,
        outputs: Sequence[str],
        deadline: float | None,
    ) -> _Request:
        check_name(model, "a model's name")
        if not isinstance(version, int) or not 0 <= version <= _MAX_VERSION:
            raise InvalidArgument(f"version must be a number from 0, not {version!r}")
        if isinstance(outputs, str) or len(outputs) > MAX_TENSORS:
            raise InvalidArgument(f"outputs must be a list of at most {MAX_TENSORS} names")
        for name in outputs:
            check_name(name, "an output's name")
        seconds = self._default_deadline if deadline is None else _checked_deadline(deadline, "deadline")
        request_id = self._next_id
        self._next_id += 1
        return _Request(
            request_id, model, version, Payload(inputs), outputs, loop.time() + seconds, loop.create_future()
        )

    def _send_waiting(self) -> None:
        """Sends what the link and its credit allow, first come first served."""
        while self._waiting and self._link is not None and (welcome := self._welcome) is not None:
            request = self._waiting[0]
            if request.future.done():
                self._waiting.popleft()
                continue
            size = request.payload.size
            if size > welcome.max_message_bytes:
                self._waiting.popleft()
                request.future.set_exception(
                    TooLarge(
                        f"the inputs have {size} bytes; the gateway takes {welcome.max_message_bytes} in a request",
                        request_id=request.id,
                    )
                )
                continue
            # What is larger than all the credit goes alone.
            if len(self._charged) >= welcome.credit_messages or (
                self._charged and self._charged_bytes + size + REPLY_ROOM > welcome.credit_bytes
            ):
                return
            self._waiting.popleft()
            self._send(self._link, request)

    def _send(self, link: Link, request: _Request) -> None:
        request.sent = True
        self._in_flight[request.id] = request
        self._charged[request.id] = request.payload.size + REPLY_ROOM
        self._charged_bytes += request.payload.size + REPLY_ROOM
        link.infer(request.id, request.deadline, request.model, request.version, request.payload, request.outputs)

    def _release(self, request_id: int) -> None:
        self._charged_bytes -= self._charged.pop(request_id, 0)
        if self._waiting:
            self._send_waiting()

    def _on_deadline(self, request: _Request) -> None:
        assert self._loop is not None
        if request.future.done():
            return
        if not request.sent:
            error: ShoalError
            if self._welcome is None:
                error = Unavailable(f"the request could not be sent in time: {self._reason}", request_id=request.id)
            else:
                error = DeadlineExceeded(
                    "the deadline was over before the gateway had room for the request: give it more time, or keep "
                    "fewer in flight",
                    request_id=request.id,
                )
            request.future.set_exception(error)
        elif (grace := request.deadline + GRACE - self._loop.time()) > 0:
            request.timer = self._loop.call_later(grace, self._on_deadline, request)
        else:
            request.future.set_exception(
                DeadlineExceeded("the deadline was over before the gateway answered", request_id=request.id)
            )
            self._abandon(request)

    def _abandon(self, request: _Request) -> None:
        """Nobody waits for `request` any more. Its credit comes back with its outcome, as at the gateway."""
        if not request.future.done():
            request.future.cancel()
        if self._in_flight.pop(request.id, None) is not None and self._link is not None:
            self._link.cancel(request.id)

    async def _ask(self, asked: list[asyncio.Future[T]], ask: Callable[[Link], None], deadline: float | None) -> T:
        loop = self._running()
        seconds = self._default_deadline if deadline is None else _checked_deadline(deadline, "deadline")
        future: asyncio.Future[T] = loop.create_future()
        asked.append(future)
        # One question is on its way at a time; all who ask meanwhile share its answer.
        if len(asked) == 1 and self._link is not None and self._welcome is not None:
            ask(self._link)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            if self._welcome is None:
                raise Unavailable(f"the question could not be sent in time: {self._reason}") from None
            raise DeadlineExceeded("the deadline was over before the gateway answered") from None
        finally:
            if future in asked:
                asked.remove(future)

    # --- what the link tells -----------------------------------------------------------------------------------------

    def is_waiting(self, request_id: int) -> bool:
        return request_id in self._in_flight

    def on_up(self, welcome: Welcome) -> None:
        assert self._opened is not None and self._link is not None
        self._welcome = welcome
        self._backoff = _FIRST_BACKOFF
        if not self._opened.done():
            self._opened.set_result(None)
        if self._models_asked:
            self._link.describe()
        if self._reports_asked:
            self._link.inquire()
        self._send_waiting()

    def on_outcome(self, outcome: Outcome, arrays: list[np.ndarray[Any, Any]]) -> None:
        request = self._in_flight.pop(outcome.id, None)
        if request is None:
            # The answer to a cancel is what gives the credit back; anything else came too late.
            self._counts["late"] += not isinstance(outcome.error, Cancelled)
        elif not request.future.done():
            if outcome.error is not None:
                request.future.set_exception(outcome.error)
            else:
                request.future.set_result(outcome.result(arrays))
        self._release(outcome.id)

    def on_never_sent(self, request_id: int) -> None:
        self._release(request_id)

    def on_models(self, models: list[ModelSpec]) -> None:
        _answer(self._models_asked, models)

    def on_reports(self, reports: list[ServiceReport]) -> None:
        _answer(self._reports_asked, reports)

    def on_down(self, reason: ShoalError) -> None:
        assert self._loop is not None and self._opened is not None
        self._counts["lost"] += 1
        self._reason = Unavailable(str(reason)) if not isinstance(reason, Unavailable) else reason
        self._drop_link()
        if not reason.retryable:
            if not self._opened.done():
                self._opened.set_exception(reason)
            self._end(reason)
            return
        for request in self._take_in_flight():
            request.future.set_exception(
                Unavailable(f"{reason}; the request may have run: try it again", request_id=request.id)
            )
        self._backoff_timer = self._loop.call_later(self._backoff * random.uniform(0.5, 1.0), self._connect)
        self._backoff = min(self._backoff * 2, _LAST_BACKOFF)

    # --- the link's life ---------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        assert self._loop is not None
        self._backoff_timer = None
        self._link = Link(
            self._loop,
            self._address,
            epoch=self._epoch,
            instance=self._instance,
            max_message_bytes=self._max_message_bytes,
            counts=self._counts,
            sink=self,
        )

    def _drop_link(self) -> None:
        self._link = None
        self._welcome = None
        self._charged.clear()
        self._charged_bytes = 0

    def _take_in_flight(self) -> list[_Request]:
        requests = [request for request in self._in_flight.values() if not request.future.done()]
        self._in_flight.clear()
        return requests

    def _end(self, reason: ShoalError) -> None:
        """Nothing can be asked from now on; whoever waits is told why."""
        if self._ended is not None:
            return
        self._ended = reason
        if self._backoff_timer is not None:
            self._backoff_timer.cancel()
        if self._link is not None:
            self._link.close()
        self._drop_link()
        futures: list[asyncio.Future[Any]] = [request.future for request in (*self._waiting, *self._take_in_flight())]
        self._waiting.clear()
        for future in (*futures, *self._models_asked, *self._reports_asked):
            if not future.done():
                future.set_exception(type(reason)(str(reason), retryable=reason.retryable))


def _answer(asked: list[asyncio.Future[Any]], answer: Any) -> None:
    for future in asked:
        if not future.done():
            future.set_result(answer)
    asked.clear()


def _checked_deadline(seconds: float, what: str) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds) or seconds <= 0:
        raise InvalidArgument(f"{what} must be a positive number of seconds, not {seconds!r}")
    return min(float(seconds), _MAX_DEADLINE)


def connect(
    address: str = "tcp://127.0.0.1:8002",
    *,
    timeout: float = 5.0,
    default_deadline: float = DEFAULT_DEADLINE,
    max_message_bytes: int = 1 << 30,
) -> Mesh:
    """A mesh to be opened: ``async with shoal.connect(address) as mesh:`` or ``mesh = await shoal.connect(address)``.

    Args:
        address: of a gateway's native door, "tcp://HOST:PORT" or "ipc://PATH". Names are resolved at each attempt.
        timeout: seconds in which the first welcome must come; attempts are repeated with back-off until then. Later
            losses are healed in the background without a limit.
        default_deadline: seconds for requests that name none.
        max_message_bytes: the largest sum of bytes of one request's outputs that is accepted.
    """
    return Mesh(address, timeout=timeout, default_deadline=default_deadline, max_message_bytes=max_message_bytes)
