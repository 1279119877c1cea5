"""What goes on between a mesh object and the gateways: where a request is sent, when it is tried again, and that it has
exactly one outcome, by its own timer if need be. The rules are those of actors/link/client_state.hpp.

Everything happens on one asyncio loop, without tasks of its own: links call in, timers end what is late.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ._gateway import Gateway
from ._link import Link
from ._options import Options, checked_seconds
from ._request import Request
from ._retries import RetryBudget, backoff, with_jitter
from ._window import Window
from ._wire import Outcome, check_name
from .errors import DeadlineExceeded, InvalidArgument, Overloaded, ShoalError, TooLarge, Unavailable, copy_of
from .types import ModelSpec, Result, ServiceReport, WorkerAnswer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")

_forks = 0  # that lie between the first process and this one


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)

GRACE = 0.1  # seconds after the deadline in which the gateway's own answer is preferred to ours
MANAGE_GRACE = 1.0  # the gateway says itself which workers have not answered a load in time


class _Order:
    """A load or unload: asked of the first gateway that is there, once."""

    __slots__ = ("future", "gateway", "question")

    def __init__(self, question: Callable[[Link], None], future: asyncio.Future[list[WorkerAnswer]]) -> None:
        self.question = question
        self.future = future
        self.gateway: Gateway | None = None


class Session:
    def __init__(self, addresses: Sequence[str], options: Options) -> None:
        self.options = options
        self.instance = secrets.randbits(64)
        self.epoch = time.time_ns() // 1000
        self.counts: Counter[str] = Counter()
        self.loop: asyncio.AbstractEventLoop
        self._forks = _forks
        self._gateways = [Gateway(self, address) for address in addresses]
        self._opened: asyncio.Future[None] | None = None
        self._ended: ShoalError | None = None  # why nothing can be asked any more
        self._budget = RetryBudget(options.retry_ratio, options.retry_reserve, time.monotonic())
        self._window = Window(options.max_in_flight, options.max_in_flight_bytes)
        self._next_id = 1
        self._turn = 0
        self._requests: set[Request] = set()  # without an outcome
        self._waiting: deque[Request] = deque()  # for a gateway or for credit, first come first served
        self._models_asked: list[asyncio.Future[list[ModelSpec]]] = []
        self._reports_asked: list[asyncio.Future[list[ServiceReport]]] = []
        self._managing: dict[int, _Order] = {}

    # --- opening and closing -----------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def waits(self) -> bool:
        """Something does, for a gateway or for credit."""
        return bool(self._waiting)

    @property
    def in_flight(self) -> int:
        return sum(gateway.in_flight for gateway in self._gateways)

    async def open(self) -> None:
        if self._opened is not None:
            raise InvalidArgument("this mesh has been opened before: connect again for another one")
        self.loop = asyncio.get_running_loop()
        self._opened = self.loop.create_future()
        try:
            for gateway in self._gateways:
                gateway.connect()
            async with asyncio.timeout(self.options.timeout):
                await self._opened
        except TimeoutError:
            reason = self._why_not()
            self.end(reason)
            raise reason from None
        except BaseException:
            self.end(self._why_not())
            raise

    def end(self, reason: ShoalError) -> None:
        """Nothing can be asked from now on; whoever waits is told why."""
        if self._ended is not None or self._forks != _forks:
            return
        self._ended = reason
        for gateway in self._gateways:
            gateway.close()
        self._waiting.clear()
        for request in list(self._requests):
            request.fail(copy_of(reason))
        asked: list[asyncio.Future[Any]] = [*self._models_asked, *self._reports_asked]
        for future in (*asked, *(order.future for order in self._managing.values())):
            if not future.done():
                future.set_exception(copy_of(reason))

    def check(self) -> None:
        """Raises if nothing can be asked here."""
        if self._forks != _forks:
            raise InvalidArgument("this mesh was opened before a fork: open another one in the child")
        if self._ended is not None:
            raise copy_of(self._ended)
        if self._opened is None:
            raise InvalidArgument("this mesh is not open yet: use `async with` or `await` on it")

    # --- requests ----------------------------------------------------------------------------------------------------

    def prepare(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        version: int,
        outputs: Sequence[str],
        priority: str,
        deadline: float | None,
    ) -> Request:
        """A request that has been checked; then `enter`, then `launch`. (Three calls, because a coroutine for each request
        would cost more than all of them.)"""
        self.check()
        seconds = self.options.default_deadline if deadline is None else checked_seconds(deadline, "deadline")
        due = self.loop.time() + seconds
        return Request(self._number(), model, inputs, version, outputs, priority, due, self.loop.create_future())

    def enter_at_once(self, request: Request) -> bool:
        """Takes its place in the window; False: there is none, `enter` waits for it."""
        return self._window.enter_at_once(request.payload.size)

    async def enter(self, request: Request) -> None:
        options = self.options
        full = f"{options.max_in_flight} requests or {options.max_in_flight_bytes} bytes are in flight, the most there may be"
        if not options.wait_for_room:
            raise Overloaded(f"{full}: wait for some, or raise max_in_flight", request_id=request.id)
        try:
            async with asyncio.timeout_at(request.deadline):
                await self._window.enter(request.payload.size)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{full}, and none has ended in the time given", retryable=True, request_id=request.id
            ) from None
        if self._ended is not None:
            self._window.leave(request.payload.size)
            raise copy_of(self._ended)

    def launch(self, request: Request) -> None:
        """It has its place in the window. Whoever has its outcome calls `finish`."""
        self._requests.add(request)
        request.timer = self.loop.call_at(request.deadline, self._on_deadline, request)
        self._budget.earn()
        if self._waiting or not self._place(request):
            self._waiting.append(request)
            self.pump()

    def finish(self, request: Request) -> None:
        """Nobody waits for it any more, whether it has an outcome or not."""
        if request not in self._requests:
            return
        self._requests.remove(request)
        self._window.leave(request.payload.size)
        if request.timer is not None:
            request.timer.cancel()
        if request.rest is not None:
            request.rest.cancel()
        if not request.future.done():
            request.future.cancel()
        if request.gateway is not None:
            request.gateway.take_back(request.wire)
            request.gateway = None

    def pump(self) -> None:
        """Sends what waits, in order, as far as there is room."""
        while self._waiting:
            request = self._waiting[0]
            if not request.future.done() and not self._place(request):
                return
            self._waiting.popleft()

    def _number(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _place(self, request: Request) -> bool:
        """Sends it to the gateway that has the least of ours in flight, rather not where it was before. False: it has to
        wait."""
        size = request.payload.size
        up = self._gateways
        if len(up) > 1:
            up = [gateway for gateway in up if gateway.is_up]
        if len(up) > 1:
            self._turn += 1
            first = self._turn % len(up)
            up = up[first:] + up[:first]
            now = self.loop.time()
            up.sort(
                key=lambda gateway: (
                    gateway.last_choice_until > now,
                    gateway.is_double,
                    gateway is request.last_gateway,
                    gateway.in_flight,
                )
            )
        for gateway in up:
            if gateway.has_room(size):
                request.wire = request.id if request.tries == 0 else self._number()
                request.tries += 1
                request.gateway = request.last_gateway = gateway
                gateway.send(request)
                return True
        up = [gateway for gateway in up if gateway.is_up]
        if up and all(size > gateway.largest for gateway in up):
            most = max(gateway.largest for gateway in up)
            request.fail(TooLarge(f"the inputs have {size} bytes; the gateway takes {most} in a request"))
            return True
        if not up and not self.options.wait_for_gateway:
            request.fail(self._why_not())
            return True
        return False

    def _try_again(self, request: Request, error: ShoalError, lost: bool) -> bool:
        """Lets a request that failed be sent once more, if that is worth it. False: it is over."""
        if not error.retryable:
            return False
        wait = 0.0
        if error.retry_after:
            wait = with_jitter(error.retry_after)
        elif not lost and not (request.tries == 1 and isinstance(error, Unavailable) and len(self._gateways) > 1):
            wait = backoff(request.tries)
        now = self.loop.time()
        if now + wait >= request.deadline:
            return False
        if not self._budget.take(time.monotonic()):
            self.counts["retries_refused"] += 1
            return False
        self.counts["retries"] += 1
        request.last_error = error
        if wait > 0:
            request.rest = self.loop.call_later(wait, self._on_rested, request)
        else:
            self._waiting.append(request)
        return True

    def _on_rested(self, request: Request) -> None:
        if not request.future.done():
            self._waiting.append(request)
            self.pump()

    def _on_deadline(self, request: Request) -> None:
        if request.future.done():
            return
        if request.gateway is not None and (grace := request.deadline + GRACE - self.loop.time()) > 0:
            request.timer = self.loop.call_later(grace, self._on_deadline, request)
            return
        error: ShoalError
        if request.gateway is not None:
            error = DeadlineExceeded("the deadline was over before the gateway answered")
            request.gateway.take_back(request.wire)
            request.gateway = None
        elif any(gateway.is_up for gateway in self._gateways):
            error = DeadlineExceeded(
                "the deadline was over before the gateway had room for the request: give it more time, or keep fewer in "
                "flight",
                retryable=request.tries == 0,
            )
        else:
            error = DeadlineExceeded(
                f"no gateway could be reached in the time given: {self._why_not()}", retryable=request.tries == 0
            )
        if request.last_error is not None:
            tried = f"{error}; it was tried {request.tries} times, and at last: {request.last_error}"
            error = type(error)(tried, retryable=error.retryable)
        request.fail(error)

    # --- questions ---------------------------------------------------------------------------------------------------

    async def models(self, deadline: float | None) -> list[ModelSpec]:
        return await self._ask(self._models_asked, Link.describe, deadline)

    async def status(self, deadline: float | None) -> list[ServiceReport]:
        return await self._ask(self._reports_asked, Link.inquire, deadline)

    async def manage(self, verb: str, model: str, version: int, replace: bool, deadline: float) -> list[WorkerAnswer]:
        self.check()
        check_name(model, "a model's name")
        seconds = checked_seconds(deadline, "deadline")
        number = self._number()
        due = self.loop.time() + seconds

        def question(link: Link) -> None:
            link.manage(number, verb, model, version, replace, due - self.loop.time())

        order = _Order(question, self.loop.create_future())
        self._managing[number] = order
        try:
            if not self._give(order) and not self.options.wait_for_gateway:
                raise self._why_not()
            async with asyncio.timeout(seconds + MANAGE_GRACE):
                return await order.future
        except TimeoutError:
            raise self._too_late() from None
        finally:
            del self._managing[number]

    def _give(self, order: _Order) -> bool:
        """False: no gateway is there to take it."""
        order.gateway = next((gateway for gateway in self._gateways if gateway.ask(order.question)), None)
        return order.gateway is not None

    async def _ask(
        self, asked: list[asyncio.Future[T]], question: Callable[[Link], None], deadline: float | None
    ) -> T:
        self.check()
        seconds = self.options.default_deadline if deadline is None else checked_seconds(deadline, "deadline")
        future: asyncio.Future[T] = self.loop.create_future()
        asked.append(future)
        # One question is on its way at a time; all who ask meanwhile share its answer.
        if len(asked) == 1:
            self._put(question)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise self._too_late() from None
        finally:
            if future in asked:
                asked.remove(future)

    def _put(self, question: Callable[[Link], None]) -> None:
        any(gateway.ask(question) for gateway in self._gateways)

    # --- what the gateways tell --------------------------------------------------------------------------------------

    def on_gateway_up(self, gateway: Gateway) -> None:
        assert self._opened is not None
        if not self._opened.done():
            self._opened.set_result(None)
        if self.is_double(gateway):
            gateway.move_later()
        self._put_again()
        self.pump()

    def is_double(self, gateway: Gateway) -> bool:
        """Another address of ours has the same gateway."""
        return any(each is not gateway and each.instance == gateway.instance for each in self._gateways)

    def is_managed_by(self, gateway: Gateway) -> bool:
        return any(order.gateway is gateway for order in self._managing.values())

    def on_gateway_lost(self, gateway: Gateway, lost: list[Request], reason: ShoalError) -> None:
        error = Unavailable(f"{reason}; the request may have run: try it again")
        for request in lost:
            request.gateway = None
            if not request.future.done() and not self._try_again(request, error, lost=True):
                request.fail(copy_of(error))
        for order in self._managing.values():
            if order.gateway is gateway and not order.future.done():
                # What was loaded or unloaded is not known: the caller has to look.
                order.future.set_exception(Unavailable(f"{reason}; look at the models before you repeat it"))
        if all(each.given_up is not None for each in self._gateways):
            assert self._opened is not None
            if not self._opened.done():
                self._opened.set_exception(reason)
            self.end(reason)
            return
        self._put_again()
        self.pump()

    def on_outcome(self, request: Request, outcome: Outcome, arrays: list[np.ndarray[Any, Any]]) -> None:
        request.gateway = None
        if request.future.done():
            return
        if outcome.error is None:
            request.future.set_result(outcome.result(arrays, retries=request.tries - 1))
        elif not self._try_again(request, outcome.error, lost=False):
            request.fail(outcome.error)

    def on_models(self, models: list[ModelSpec]) -> None:
        _answer(self._models_asked, models)

    def on_reports(self, reports: list[ServiceReport]) -> None:
        _answer(self._reports_asked, reports)

    def on_managed(self, number: int, answers: list[WorkerAnswer] | ShoalError) -> None:
        order = self._managing.get(number)
        if order is None or order.future.done():
            self.counts["late"] += 1
        elif isinstance(answers, ShoalError):
            order.future.set_exception(answers)
        else:
            order.future.set_result(answers)

    def _put_again(self) -> None:
        if self._models_asked:
            self._put(Link.describe)
        if self._reports_asked:
            self._put(Link.inquire)
        for order in self._managing.values():
            if order.gateway is None:
                self._give(order)

    def _too_late(self) -> DeadlineExceeded:
        """For a question."""
        if any(gateway.is_up for gateway in self._gateways):
            return DeadlineExceeded("the deadline was over before the gateway answered")
        return DeadlineExceeded(f"no gateway could be reached in the time given: {self._why_not()}")

    def _why_not(self) -> ShoalError:
        """Why no gateway can be asked."""
        reasons = dict.fromkeys(str(gateway.reason) for gateway in self._gateways)
        return Unavailable("; ".join(reasons))


def _answer(asked: list[asyncio.Future[Any]], answer: Any) -> None:
    for future in asked:
        if not future.done():
            future.set_result(answer)
    asked.clear()
