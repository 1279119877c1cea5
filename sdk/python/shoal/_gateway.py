"""One gateway's address: its link, made again with back-off when it is lost, its credit, and what is in flight there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._link import GREETING_TIME, Link
from ._retries import with_jitter
from ._wire import Outcome, Welcome
from .errors import Cancelled, ShoalError, Unavailable
from .types import ModelSpec, ServiceReport, WorkerAnswer

if TYPE_CHECKING:
    from ._request import Request
    from ._session import Session

REPLY_ROOM = 64 * 1024  # bytes of credit for the reply to each request, as the gateway counts (actors/link/options.hpp)
_FIRST_BACKOFF = 0.05  # seconds
_LAST_BACKOFF = 0.5  # a gateway that is back is to be found while requests still have time
# What is lost while a connection is made (a packet to a host that is just coming up) is sent again after a second or
# more: another try is sooner there. So many times what greetings take at this gateway are waited for, and at least the
# first time, twice as long each time that it was too short.
_GREETING_PATIENCE = 4.0
_LEAST_PATIENCE = 0.25  # seconds
# A gateway that ends refuses at once, so it has the least in flight always: for so long others are asked first.
_LAST_CHOICE = 1.0
# Behind a balancer two of our addresses may have the same gateway, above all after another one was away. One of the two is
# connected anew then, to be given another, after so long, and twice as long each time that it was in vain.
_FIRST_MOVE = 2.0  # seconds
_LAST_MOVE = 60.0
_MOVE_PAUSE = 0.05  # until what is in flight there is looked at again


class Gateway:
    """What its link tells, it tells the session. `given_up`: it will never speak our protocol."""

    def __init__(self, session: Session, address: str) -> None:
        self.address = address
        self.given_up: ShoalError | None = None
        self.reason = Unavailable(f"no gateway has answered at {address} yet")
        self._session = session
        self._link: Link | None = None
        self._welcome: Welcome | None = None  # while the link is up
        self._in_flight: dict[int, Request] = {}
        self._charged: dict[int, int] = {}  # bytes of credit by request; outlives a request that is being cancelled
        self._charged_bytes = 0
        self._backoff = _FIRST_BACKOFF
        self._backoff_timer: asyncio.TimerHandle | None = None
        self._began = 0.0  # of connecting
        self._waits_until = 0.0  # for the greeting
        self._greeted_in: float | None = None  # seconds; nothing: never yet
        self._too_short = 0  # waits for greetings, in a row
        self.last_choice_until = 0.0
        self.is_double = False
        self._move = _FIRST_MOVE
        self._move_timer: asyncio.TimerHandle | None = None
        self._tries = 0  # with each, the next of the keys that the gateway may have

    @property
    def is_up(self) -> bool:
        return self._welcome is not None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def instance(self) -> int | None:
        """Which gateway it is; nothing while none is there."""
        return self._welcome.instance if self._welcome is not None else None

    @property
    def largest(self) -> int:
        """Bytes of inputs that it takes in a request."""
        return self._welcome.max_message_bytes if self._welcome is not None else 0

    def connect(self) -> None:
        """Begins to. Raises InvalidArgument if the address cannot be one."""
        self._backoff_timer = None
        session = self._session
        self._began = session.loop.time()
        patience = self._patience()
        self._waits_until = self._began + patience
        self._link = Link(
            session.loop,
            self.address,
            epoch=session.epoch,
            instance=session.instance,
            max_message_bytes=session.options.max_message_bytes,
            key=session.options.key,
            turn=self._tries,
            patience=patience,
            counts=session.counts,
            sink=self,
        )

    def close(self) -> None:
        if self._backoff_timer is not None:
            self._backoff_timer.cancel()
        if self._link is not None:
            self._link.close()
        self._forget_link()

    def move_later(self) -> None:
        """It has the gateway that another of ours has: nothing more is sent, and when nothing is in flight it connects anew."""
        self.is_double = True
        self._move_timer = self._session.loop.call_later(with_jitter(self._move), self._move_on)
        self._move = min(self._move * 2, _LAST_MOVE)

    def _move_on(self) -> None:
        if not self._session.is_double(self):  # the other one has gone
            self._move_timer = None
            self.is_double = False
            return
        if self._in_flight or self._session.is_managed_by(self):
            self._move_timer = self._session.loop.call_later(_MOVE_PAUSE, self._move_on)
            return
        if self._link is not None:
            self._link.close()
        self._forget_link()
        self._session.counts["moved"] += 1
        self.connect()

    # --- requests ----------------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Within the credit it grants; what is larger than all of it goes alone."""
        welcome = self._welcome
        if welcome is None or size > welcome.max_message_bytes or len(self._charged) >= welcome.credit_messages:
            return False
        return not self._charged or self._charged_bytes + size + REPLY_ROOM <= welcome.credit_bytes

    def send(self, request: Request) -> None:
        """There is room for it."""
        assert self._link is not None
        charge = request.payload.size + REPLY_ROOM
        self._in_flight[request.wire] = request
        self._charged[request.wire] = charge
        self._charged_bytes += charge
        self._link.infer(
            request.wire,
            request.deadline,
            request.model,
            request.version,
            request.payload,
            request.outputs,
            request.priority,
        )

    def take_back(self, wire: int) -> None:
        """Its credit comes back with its outcome, as at the gateway."""
        if self._in_flight.pop(wire, None) is not None and self._link is not None:
            self._link.cancel(wire)

    def ask(self, question: Callable[[Link], None]) -> bool:
        """False: nobody is there to ask."""
        if self._link is None or self._welcome is None:
            return False
        question(self._link)
        return True

    # --- what the link tells -----------------------------------------------------------------------------------------

    def is_waiting(self, request_id: int) -> bool:
        return request_id in self._in_flight

    def on_up(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self._greeted_in = self._session.loop.time() - self._began
        self._too_short = 0
        self._tries -= 1  # this key is right
        self.last_choice_until = 0.0
        self._backoff = _FIRST_BACKOFF
        self._session.on_gateway_up(self)
        if not self.is_double:
            self._move = _FIRST_MOVE

    def on_outcome(self, outcome: Outcome, arrays: list[np.ndarray[Any, Any]]) -> None:
        request = self._in_flight.pop(outcome.id, None)
        self._release(outcome.id)
        if isinstance(outcome.error, Unavailable):
            self.last_choice_until = self._session.loop.time() + _LAST_CHOICE
        if request is None:
            # The answer to a cancel is what gives the credit back; anything else came too late.
            self._session.counts["late"] += not isinstance(outcome.error, Cancelled)
        else:
            self._session.on_outcome(request, outcome, arrays)
        if self._session.waits:
            self._session.pump()

    def on_never_sent(self, request_id: int) -> None:
        self._release(request_id)
        self._session.pump()

    def on_models(self, models: list[ModelSpec]) -> None:
        self._session.on_models(models)

    def on_reports(self, reports: list[ServiceReport]) -> None:
        self._session.on_reports(reports)

    def on_managed(self, number: int, answers: list[WorkerAnswer] | ShoalError) -> None:
        self._session.on_managed(number, answers)

    def on_down(self, reason: ShoalError) -> None:
        self._session.counts["lost"] += 1
        self._tries += 1
        if self._welcome is None and self._session.loop.time() >= self._waits_until:
            self._too_short += 1
        self.reason = reason if isinstance(reason, Unavailable) else Unavailable(str(reason))
        lost = list(self._in_flight.values())
        self._forget_link()
        if not reason.retryable:
            self.given_up = reason
        else:
            wait = self._backoff * random.uniform(0.5, 1.0)
            self._backoff_timer = self._session.loop.call_later(wait, self.connect)
            self._backoff = min(self._backoff * 2, _LAST_BACKOFF)
        self._session.on_gateway_lost(self, lost, reason)

    def _patience(self) -> float:
        if self._greeted_in is None:
            return GREETING_TIME
        least = max(_LEAST_PATIENCE, _GREETING_PATIENCE * self._greeted_in)
        return min(GREETING_TIME, least * 2.0 ** min(self._too_short, 8))

    def _release(self, wire: int) -> None:
        self._charged_bytes -= self._charged.pop(wire, 0)

    def _forget_link(self) -> None:
        if self._move_timer is not None:
            self._move_timer.cancel()
        self._move_timer = None
        self.is_double = False
        self._link = None
        self._welcome = None
        self._in_flight.clear()
        self._charged.clear()
        self._charged_bytes = 0
