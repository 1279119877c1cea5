"""One connection to a gateway, from its first byte to its loss. A lost link is not used again: the mesh makes another.

Belongs to one asyncio loop. Sockets are read from the loop's own selector instead of through zmq.asyncio, which costs a
future per message. A zmq descriptor is edge-triggered: it may stay silent after any call on the socket, so it is read
until nothing is left, and once more after each round of sends.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import zmq

from . import _wire
from ._bulk import WINDOW, Incoming, Outgoing, array_over
from ._key import ClientKey
from ._schema import NEWEST_VERSION, OLDEST_VERSION, PIECE_SIZE, TAIL_SIZE, TAILS_SINCE
from ._wire import BadFrame, Outcome, Payload, Welcome
from .errors import Incompatible, InvalidArgument, ShoalError, Unavailable
from .types import ModelSpec, ServiceReport, WorkerAnswer

HEARTBEAT = 1.0  # seconds
SILENT_BEATS = 3
GREETING_TIME = 3.0  # seconds for name resolution, connection and welcome together, at most
_READ_BUDGET = 64  # messages per turn of the loop
_MAX_UNWANTED = 256  # transfers taken only to drop them
_VIEW_FROM = 16 * 1024  # smaller frames are copied: they share a read buffer with others and may be misaligned
_GOODBYE_LINGER = 200  # ms

# Plain numbers: pyzmq's enumerations cost microseconds where they are combined.
_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)

_LOST_EVENTS = int(
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Sink(Protocol):
    """What a link tells its mesh; after `on_down` nothing more."""

    def on_up(self, welcome: Welcome) -> None: ...
    def on_down(self, reason: ShoalError) -> None: ...
    def is_waiting(self, request_id: int) -> bool: ...
    def on_outcome(self, outcome: Outcome, arrays: list[np.ndarray[Any, Any]]) -> None: ...
    def on_never_sent(self, request_id: int) -> None: ...
    def on_models(self, models: list[ModelSpec]) -> None: ...
    def on_reports(self, reports: list[ServiceReport]) -> None: ...
    def on_managed(self, number: int, answers: list[WorkerAnswer] | ShoalError) -> None: ...


_context: tuple[int, zmq.Context[zmq.Socket[bytes]]] | None = None


def _context_of_process() -> zmq.Context[zmq.Socket[bytes]]:
    """One zmq context (and I/O thread) for all links of a process; a forked child gets one of its own."""
    global _context
    if _context is None or _context[0] != os.getpid():
        _context = (os.getpid(), zmq.Context())
    return _context[1]


class Link:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        *,
        epoch: int,
        instance: int,
        max_message_bytes: int,
        key: ClientKey | None = None,
        turn: int = 0,
        patience: float = GREETING_TIME,
        counts: Counter[str],
        sink: Sink,
    ) -> None:
        """Begins to connect. Raises InvalidArgument if `address` cannot be one.

        `key`: over tcp, whose it is, and of the gateways' keys in it that number `turn` (counted round) is believed.
        `patience`: seconds until the gateway must have answered.
        """
        self._loop = loop
        self._address = address
        self._epoch = epoch
        self._instance = instance
        self._max_message_bytes = max_message_bytes
        self._counts = counts
        self._sink = sink
        self._peer_epoch = 0
        self._up = False
        self._takes_tails = False
        self._closed = False
        self._drain_is_due = False
        self._silent_beats = 0
        self._beats = 0
        self._transfers = 0
        self._under_way = 0  # pieces not answered by `more` yet
        self._outgoing: deque[Outgoing] = deque()  # the first one is being sent
        self._incoming: dict[int, Incoming] = {}

        self._socket: zmq.Socket[bytes] = _context_of_process().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = True
        self._socket.reconnect_ivl = -1  # a connection that was lost is another link
        self._socket.maxmsgsize = 2 * PIECE_SIZE
        self._socket.sndhwm = 0  # what is in flight is bounded by the gateway's credit
        self._secured = key is not None and address.startswith("tcp://")
        if key is not None and self._secured:
            self._socket.curve_publickey = key.public
            self._socket.curve_secretkey = key.secret
            self._socket.curve_serverkey = key.gateways[turn % len(key.gateways)]
        events = _LOST_EVENTS | int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(events)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as bad:
            self._close_sockets()
            raise InvalidArgument(
                f"'{address}' is no address of a gateway ({bad}): tcp://HOST:PORT or ipc://PATH"
            ) from bad
        self._socket_fd: int = self._socket.fd  # type: ignore[assignment]
        self._monitor_fd: int = self._monitor.fd  # type: ignore[assignment]
        loop.add_reader(self._socket_fd, self._drain)
        loop.add_reader(self._monitor_fd, self._on_monitor)
        loop.call_soon(self._on_monitor)  # nothing may be left unread, or the descriptors stay silent
        loop.call_soon(self._drain)
        self._patience = patience
        self._timer = loop.call_later(patience, self._on_greeting_timeout)

    # --- what the mesh asks for --------------------------------------------------------------------------------------

    def infer(
        self,
        request_id: int,
        deadline: float,
        model: str,
        version: int,
        payload: Payload,
        outputs: Sequence[str],
        priority: str,
    ) -> None:
        """Sends a request that the mesh has checked. `deadline` in the loop's time."""

        def head(transfer: int) -> bytes:
            left_us = max(1, int((deadline - self._loop.time()) * 1e6))
            return _wire.encode_infer(
                self._epoch, request_id, left_us, model, version, payload, outputs, priority, transfer
            )

        if self._takes_tails and 0 < payload.size <= TAIL_SIZE:
            self._send(b"".join((head(0), *payload.frames)))
        elif payload.size <= PIECE_SIZE:
            self._send(head(0), payload.frames)
        else:
            self._outgoing.append(Outgoing(request_id, payload, head))
            self._send_pieces()

    def cancel(self, request_id: int) -> None:
        """Takes a request back: its outcome will say so, or `on_never_sent` follows at once. A transfer that has begun
        is finished first: the gateway has reserved room for it and waits for the rest."""
        for outgoing in self._outgoing:
            if outgoing.request_id == request_id:
                outgoing.cancelled = True
                if not outgoing.begun:
                    self._outgoing.remove(outgoing)
                    self._sink.on_never_sent(request_id)
                return
        self._send(_wire.encode_cancel(self._epoch, request_id))

    def describe(self) -> None:
        self._send(_wire.encode_signal(self._epoch, "describe"))

    def inquire(self) -> None:
        self._send(_wire.encode_signal(self._epoch, "inquire"))

    def manage(self, number: int, verb: str, model: str, version: int, replace: bool, seconds: float) -> None:
        self._send(_wire.encode_manage(self._epoch, number, verb, model, version, replace, seconds))

    def close(self) -> None:
        """Says goodbye and closes; `on_down` is not called."""
        if self._closed:
            return
        if self._up:
            self._send(_wire.encode_signal(self._epoch, "goodbye"))
        self._shut(linger=_GOODBYE_LINGER if self._up else 0)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _send(self, envelope: bytes, frames: Sequence[memoryview] = ()) -> None:
        if self._closed:
            return
        try:
            left = len(frames)
            self._socket.send(envelope, _NOBLOCK_MORE if left else _NOBLOCK)
            for frame in frames:
                left -= 1
                # Above zmq's threshold (64 KiB) the array's own memory goes out.
                self._socket.send(frame, _NOBLOCK_MORE if left else _NOBLOCK, copy=False, track=False)
        except zmq.Again:
            # No connection under the socket any more; the monitor's event, which ends this link, is on its way.
            self._counts["unsent"] += 1
        if not self._drain_is_due:
            self._drain_is_due = True
            self._loop.call_soon(self._drain)

    def _send_pieces(self) -> None:
        while self._outgoing and self._under_way < WINDOW:
            outgoing = self._outgoing[0]
            if not outgoing.begun:
                outgoing.begun = True
                self._transfers += 1
                self._send(outgoing.head(self._transfers))
            tensor, offset, data = outgoing.take()
            self._under_way += 1
            self._send(_wire.encode_piece(self._epoch, self._transfers, tensor, offset), (data,))
            if outgoing.done:
                self._outgoing.popleft()
                if outgoing.cancelled:
                    self.cancel(outgoing.request_id)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._drain_is_due = False
        for _ in range(_READ_BUDGET):
            if self._closed:
                return
            try:
                frame = self._socket.recv(_NOBLOCK, copy=False)
                frames = [frame]
                while frame.more:
                    frame = self._socket.recv(_NOBLOCK, copy=False)
                    frames.append(frame)
            except zmq.Again:
                return
            self._take(frames)
        if not self._drain_is_due:
            self._drain_is_due = True
            self._loop.call_soon(self._drain)

    def _take(self, frames: list[zmq.Frame]) -> None:
        self._silent_beats = 0
        try:
            epoch, body, tail = _wire.decode(frames[0].bytes)
            if not self._up:
                if tail:
                    raise BadFrame(f"an envelope with {len(tail)} bytes after its end")
                return self._greet(epoch, body)
            if epoch != self._peer_epoch:
                self._counts["stale"] += 1
                return
            data = [frame.buffer if len(frame) >= _VIEW_FROM else frame.bytes for frame in frames[1:]]
            self._handle(body, data, tail)
        except BadFrame:
            self._counts["junk"] += 1

    def _greet(self, epoch: int, body: _wire.Body) -> None:
        if isinstance(body, ShoalError):
            return self._lose(body)
        if not isinstance(body, Welcome):
            raise BadFrame("something else than a welcome")
        if min(body.newest_version, NEWEST_VERSION) < max(body.oldest_version, OLDEST_VERSION):
            theirs = f"{body.oldest_version} to {body.newest_version}"
            return self._lose(
                Incompatible(
                    f"the gateway at {self._address} speaks protocol versions {theirs}, this SDK {OLDEST_VERSION} to "
                    f"{NEWEST_VERSION}: install the SDK of the mesh's release"
                )
            )
        self._peer_epoch = epoch
        self._takes_tails = min(body.newest_version, NEWEST_VERSION) >= TAILS_SINCE
        self._up = True
        self._timer.cancel()
        self._timer = self._loop.call_later(HEARTBEAT, self._beat)
        self._sink.on_up(body)

    def _handle(self, body: _wire.Body, data: list[memoryview | bytes], tail: bytes) -> None:
        match body:
            case Outcome():
                self._on_outcome(body, data, tail)
            case _wire.Piece():
                self._on_piece(body, [*data, tail] if tail else data)
            case _ if tail:
                raise BadFrame(f"an envelope with {len(tail)} bytes after its end")
            case _wire.More():
                if self._under_way == 0:
                    raise BadFrame("a request for more where nothing is under way")
                self._under_way -= 1
                self._send_pieces()
            case _wire.Heartbeat():
                pass
            case _wire.Goodbye():
                self._lose(Unavailable(f"the gateway at {self._address} has shut down"))
            case ShoalError():
                self._lose(body)
            case _wire.Catalogue(models):
                self._sink.on_models(models)
            case _wire.Report(services):
                self._sink.on_reports(services)
            case _wire.Managed(number, answers):
                self._sink.on_managed(number, answers)
            case _:
                raise BadFrame("a second welcome")

    def _on_outcome(self, outcome: Outcome, data: list[memoryview | bytes], tail: bytes) -> None:
        wanted = self._sink.is_waiting(outcome.id)
        arrays: list[np.ndarray[Any, Any]] = []
        try:
            if tail and (data or outcome.transfer):
                raise BadFrame(f"an envelope with {len(tail)} bytes after its end")
            if outcome.transfer and outcome.error is None:
                return self._begin_transfer(outcome, wanted)
            if tail and outcome.error is None:
                data = outcome.split(tail)
            if outcome.error is None and len(data) != len(outcome.outputs):
                raise BadFrame(f"{len(outcome.outputs)} outputs in {len(data)} frames")
            if outcome.error is None and wanted:
                arrays = [array_over(output, part) for output, part in zip(outcome.outputs, data, strict=True)]
        except BadFrame as bad:
            self._counts["junk"] += 1
            outcome.error = _wire.damaged(bad, outcome.id)
        self._sink.on_outcome(outcome, arrays)

    def _begin_transfer(self, outcome: Outcome, wanted: bool) -> None:
        size = sum(output.size for output in outcome.outputs)
        if size > self._max_message_bytes:
            raise BadFrame(f"outputs of {size} bytes, although this client takes {self._max_message_bytes}")
        if outcome.transfer in self._incoming:
            raise BadFrame("a transfer's number is used twice")
        if not wanted and sum(not incoming.wanted for incoming in self._incoming.values()) >= _MAX_UNWANTED:
            raise BadFrame("too many answers that nobody waits for")
        if not wanted:
            self._sink.on_outcome(outcome, [])
        incoming = Incoming(outcome, wanted)
        if incoming.done:  # only empty tensors
            self._deliver(incoming)
        else:
            self._incoming[outcome.transfer] = incoming

    def _on_piece(self, piece: _wire.Piece, data: list[memoryview | bytes]) -> None:
        # Said even of a piece that fits nowhere: the gateway's window counts it.
        self._send(_wire.encode_more(self._epoch, piece.transfer))
        incoming = self._incoming.get(piece.transfer)
        if incoming is None or len(data) != 1:
            raise BadFrame("a piece of no transfer, or not one frame of it")
        if incoming.wanted and not self._sink.is_waiting(incoming.outcome.id):
            incoming.wanted = False
            self._sink.on_outcome(incoming.outcome, [])
        try:
            incoming.take(piece, data[0])
        except BadFrame as bad:
            del self._incoming[piece.transfer]
            incoming.outcome.error = _wire.damaged(bad, incoming.outcome.id)
            if incoming.wanted:
                self._sink.on_outcome(incoming.outcome, [])
            raise
        if incoming.done:
            del self._incoming[piece.transfer]
            self._deliver(incoming)

    def _deliver(self, incoming: Incoming) -> None:
        if incoming.wanted:
            self._sink.on_outcome(incoming.outcome, incoming.arrays())

    # --- life and death ----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        # What came while the loop was busy elsewhere counts as heard, and a late beat counts once.
        self._drain()
        if self._closed:
            return
        self._silent_beats += 1
        if self._silent_beats > SILENT_BEATS:
            return self._lose(
                Unavailable(f"the gateway at {self._address} has been silent for {SILENT_BEATS} heartbeats")
            )
        self._beats += 1
        self._timer = self._loop.call_later(HEARTBEAT, self._beat)
        self._send(_wire.encode_heartbeat(self._epoch, self._beats))

    def _on_greeting_timeout(self) -> None:
        self._on_monitor()  # the greeting may lie there, and it was the loop that had no time
        if not self._closed:
            self._drain()
        if self._closed or self._up:
            return
        self._lose(Unavailable(f"no gateway has answered at {self._address} within {self._patience:.3g} s"))

    def _on_monitor(self) -> None:
        while not self._closed:
            try:
                event = struct.unpack_from("=hi", self._monitor.recv_multipart(_NOBLOCK)[0])[0]
            except zmq.Again:
                return
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._drain()  # only a read makes the socket take notice of its connection at once
                self._send(_wire.encode_hello(self._epoch, self._instance, self._max_message_bytes))
            elif event & _LOST_EVENTS:
                self._drain()  # answers that came before the end
                self._lose(Unavailable(self._why_lost(event)))

    def _why_lost(self, event: int) -> str:
        if self._up:
            return f"the connection to the gateway at {self._address} was lost"
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return f"the gateway at {self._address} does not let in this key: it is not, or no longer, in its access list"
        if event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and event != zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return f"no gateway can be reached at {self._address}"
        if self._secured:
            return f"{self._address} has none of the gateways' keys that are believed here, or speaks in the clear"
        return f"{self._address} does not speak in the clear: give `connect` the key file of a client"

    def _lose(self, reason: ShoalError) -> None:
        if self._closed:
            return
        self._shut(linger=0)
        self._sink.on_down(reason)

    def _shut(self, linger: int) -> None:
        self._closed = True
        self._timer.cancel()
        self._loop.remove_reader(self._socket_fd)
        self._loop.remove_reader(self._monitor_fd)
        self._outgoing.clear()
        self._incoming.clear()
        self._close_sockets(linger)

    def _close_sockets(self, linger: int = 0) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger)
