"""A gateway for tests of the SDK: one ROUTER in a thread, speaking schemas/mesh.capnp, doing as it is told.

`answer` is called on that thread with each complete request; what it sends with `reply`, `fail` or `send` goes out, and
if it sends nothing the request stays unanswered. Tests wait with `wait_for`, never with a sleep.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zmq
from shoal._schema import NEWEST_VERSION, OLDEST_VERSION, PIECE_SIZE, TAIL_SIZE, TAILS_SINCE, schema
from shoal._wire import cut
from shoal.dtypes import dtype_of_wire, wire_of_dtype

WINDOW = 4
PATIENCE = 5.0  # seconds; only a failing test waits so long


@dataclass
class Request:
    client: bytes
    id: int
    model: str
    version: int
    outputs: list[str]
    time_left_us: int
    transfer: int
    priority: str
    descriptors: list[tuple[str, int, tuple[int, ...]]]
    inputs: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass
class Outgoing:
    """A reply in pieces: what is left, and how many are not answered by `more`."""

    client: bytes
    pieces: list[tuple[int, int, bytes]]
    unanswered: int = 0


def echo(gateway: FakeGateway, request: Request) -> None:
    gateway.reply(request, {"y": request.inputs["x"]})


_instances = itertools.count(1)


class FakeGateway:
    def __init__(
        self,
        answer: Callable[[FakeGateway, Request], None] = echo,
        *,
        port: int = 0,
        credit_messages: int = 64,
        credit_bytes: int = 1 << 28,
        max_message_bytes: int = 1 << 28,
        versions: tuple[int, int] = (OLDEST_VERSION, NEWEST_VERSION),
        greeting: Callable[[FakeGateway, bytes], None] | None = None,
        gives_more: bool = True,
        answers_heartbeats: bool = True,
        epoch: int = 77,
    ) -> None:
        self.instances: Iterator[int] = itertools.repeat(next(_instances))  # one for each welcome
        self.answer = answer
        self.credit = (credit_messages, credit_bytes, max_message_bytes)
        self.versions = versions
        self.takes_tails = versions[1] >= TAILS_SINCE
        self.greeting = greeting or FakeGateway.welcome
        self.gives_more = gives_more
        self.answers_heartbeats = answers_heartbeats
        self.epoch = epoch
        self.requests: list[Request] = []
        self.cancelled: list[int] = []
        self.managed: list[tuple[str, str, int, bool]] = []
        self.answers_manage = True
        self.answered: set[int] = set()
        self.kinds: list[str] = []
        self.hellos: list[Any] = []
        self.clients: list[bytes] = []
        self.pieces_taken = 0
        self.most_unanswered = 0
        self.owed_more: list[tuple[bytes, int]] = []
        self.failure: BaseException | None = None
        self._incoming: dict[int, tuple[Request, list[bytearray]]] = {}
        self._outgoing: dict[int, Outgoing] = {}
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        self.port = port or self._router.bind_to_random_port("tcp://127.0.0.1")
        if port:
            self._router.bind(f"tcp://127.0.0.1:{port}")
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._bell = self._context.socket(zmq.PAIR)
        self._bell.bind("inproc://bell")
        self._ringer = self._context.socket(zmq.PAIR)
        self._ringer.sndtimeo = 1000  # the thread may have died meanwhile
        self._ringer.linger = 0
        self._ringer.connect("inproc://bell")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # --- for tests ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> FakeGateway:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.stop()
        if self.failure is not None and error is None:
            raise self.failure

    def stop(self) -> None:
        """Closes every connection, without a goodbye."""
        if self._context.closed:
            return
        self.call(None)
        self._thread.join()
        self._ringer.close(0)
        self._context.term()

    def call(self, action: Callable[[], None] | None) -> None:
        """Does `action` on the gateway's thread."""
        self._calls.put(action)
        if self._thread.is_alive():
            self._ringer.send(b"")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(f"in vain; seen so far: {self.kinds[-20:]}")

    # --- on the gateway's thread -------------------------------------------------------------------------------------

    def envelope(self) -> Any:
        return schema.Envelope.new_message(epoch=self.epoch)

    def send(self, client: bytes, *frames: Any) -> None:
        self._router.send_multipart([client, *frames])

    def welcome(self, client: bytes) -> None:
        envelope = self.envelope()
        hello = envelope.init("welcome")
        hello.protocolVersion, hello.newestVersion = self.versions
        hello.service = "gateway"
        hello.instance = next(self.instances)
        hello.epoch = self.epoch
        hello.creditMessages, hello.creditBytes, hello.maxMessageBytes = self.credit
        self.send(client, envelope.to_bytes())

    def fail(self, request: Request, code: int, message: str, retryable: bool = False, retry_after_ms: int = 0) -> None:
        self.answered.add(request.id)
        envelope = self.envelope()
        outcome = envelope.init("outcome")
        outcome.id = request.id
        error = outcome.result.init("error")
        error.code, error.message, error.retryable, error.retryAfterMs = code, message, retryable, retry_after_ms
        self.send(request.client, envelope.to_bytes())

    def outcome(self, request: Request, outputs: dict[str, np.ndarray[Any, Any]], transfer: int = 0) -> bytes:
        """Frame 1 of the answer."""
        self.answered.add(request.id)
        envelope = self.envelope()
        outcome = envelope.init("outcome")
        outcome.id = request.id
        outcome.model, outcome.version = request.model, request.version or 3
        outcome.queueUs, outcome.computeUs, outcome.batchRows = 1500, 2500, 8
        outcome.bulk.transfer = transfer
        tensors = outcome.result.init("outputs", len(outputs))
        for tensor, (name, array) in zip(tensors, outputs.items(), strict=True):
            number = wire_of_dtype(array.dtype)
            assert number is not None
            tensor.name, tensor.dtype, tensor.dims, tensor.hasData = name, number, list(array.shape), True
        return envelope.to_bytes()  # type: ignore[no-any-return]

    def reply(self, request: Request, outputs: dict[str, np.ndarray[Any, Any]]) -> None:
        size = sum(array.nbytes for array in outputs.values())
        if size <= PIECE_SIZE:
            frames = [self.outcome(request, outputs), *(a.tobytes() for a in outputs.values())]
            self.send(request.client, *([b"".join(frames)] if self.takes_tails and 0 < size <= TAIL_SIZE else frames))
            return
        pieces = []
        for index, array in enumerate(outputs.values()):
            data = array.tobytes()
            pieces += [(index, at, data[at : at + PIECE_SIZE]) for at in range(0, len(data), PIECE_SIZE)]
        transfer = 1000 + request.id
        self._outgoing[transfer] = Outgoing(request.client, pieces)
        self.send(request.client, self.outcome(request, outputs, transfer))
        self._send_pieces(transfer)

    def piece(self, transfer: int, tensor: int, offset: int) -> bytes:
        envelope = self.envelope()
        piece = envelope.init("piece")
        piece.transfer, piece.tensor, piece.offset = transfer, tensor, offset
        return envelope.to_bytes()  # type: ignore[no-any-return]

    def more(self, client: bytes, transfer: int) -> None:
        self.send(client, schema.Envelope.new_message(epoch=self.epoch, more=transfer).to_bytes())

    def _send_pieces(self, transfer: int) -> None:
        outgoing = self._outgoing[transfer]
        while outgoing.pieces and outgoing.unanswered < WINDOW:
            tensor, offset, data = outgoing.pieces.pop(0)
            outgoing.unanswered += 1
            self.send(outgoing.client, self.piece(transfer, tensor, offset), data)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll())
                if self._bell in ready:
                    self._bell.recv()
                    action = self._calls.get()
                    if action is None:
                        return
                    action()
                if self._router in ready:
                    with self._changed:
                        self._take(self._router.recv_multipart())
                        self._changed.notify_all()
        except BaseException as error:  # told to the test, which raises it
            self.failure = error
        finally:
            self._router.close(0)
            self._bell.close(0)

    def _take(self, frames: list[bytes]) -> None:
        client, head, *data = frames
        head, tail = cut(head)
        with schema.Envelope.from_bytes(head) as envelope:
            kind = envelope.which()
            self.kinds.append(kind)
            if kind == "hello":
                self.hellos.append(envelope.hello.to_dict())
                self.clients.append(client)
                self.greeting(self, client)
            elif kind == "heartbeat":
                if not self.answers_heartbeats:
                    return
                beat = self.envelope()
                beat.init("heartbeat").sequence = envelope.heartbeat.sequence
                self.send(client, beat.to_bytes())
            elif kind == "infer":
                self._take_infer(client, envelope.infer, data, tail)
            elif kind == "piece":
                self._take_piece(client, envelope.piece, data)
            elif kind == "more":
                if outgoing := self._outgoing.get(envelope.more):
                    outgoing.unanswered -= 1
                    self._send_pieces(envelope.more)
            elif kind == "cancel":
                self._take_cancel(envelope.cancel.id)
            elif kind == "manage":
                self._take_manage(client, envelope.manage)
            elif kind == "describe":
                self.send(client, self.catalogue())
            elif kind == "inquire":
                report = self.envelope()
                services = report.init("report").init("services", 1)
                services[0].service, services[0].instance = "gateway", 1
                services[0].figures = [{"name": "answered", "value": len(self.requests)}]
                self.send(client, report.to_bytes())

    def _take_manage(self, client: bytes, manage: Any) -> None:
        self.managed.append((str(manage.verb), manage.model, manage.version, manage.replace))
        if not self.answers_manage:
            return
        envelope = self.envelope()
        managed = envelope.init("managed")
        managed.key.id = manage.key.id
        workers = managed.result.init("workers", 2)
        workers[0].worker, workers[0].result.done = 7, "done"
        workers[1].worker = 8
        error = workers[1].result.init("error")
        error.code, error.message = 2, "no such version"
        self.send(client, envelope.to_bytes())

    def _take_cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)
        for request in self.requests:
            if request.id == request_id and request_id not in self.answered:
                self.fail(request, 6, "the client took the request back")

    def catalogue(self) -> bytes:
        envelope = self.envelope()
        model = envelope.init("catalogue").init("models", 1)[0]
        model.name, model.version, model.state, model.maxBatch = "identity", 3, 1, 32
        model.inputs = [
            {"name": "x", "dtype": 11, "dims": [{"min": 1, "max": 32, "symbol": "batch"}, {"min": 4, "max": 4}]}
        ]
        model.outputs = [{"name": "y", "dtype": 11, "dims": [{"min": 1, "max": 2**63 - 1}]}]
        return envelope.to_bytes()  # type: ignore[no-any-return]

    def _take_infer(self, client: bytes, infer: Any, data: list[bytes], tail: bytes) -> None:
        descriptors = [(tensor.name, tensor.dtype, tuple(tensor.dims)) for tensor in infer.inputs]
        request = Request(
            client,
            infer.id,
            infer.model,
            infer.version,
            list(infer.outputs),
            infer.timeLeftUs,
            infer.bulk.transfer,
            str(infer.priority),
            descriptors,
        )
        sizes = [int(np.prod(dims)) * _dtype(number).itemsize for _, number, dims in descriptors]
        assert len(tail) == (sum(sizes) if self.takes_tails and sum(sizes) <= TAIL_SIZE else 0)
        if tail:
            assert not data
            data = [tail[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
        if request.transfer:
            assert not data
            self._incoming[request.transfer] = (request, [bytearray() for _ in descriptors])
        else:
            self._complete(request, data)

    def _take_piece(self, client: bytes, piece: Any, data: list[bytes]) -> None:
        request, buffers = self._incoming[piece.transfer]
        assert len(buffers[piece.tensor]) == piece.offset, "pieces come in order and without gaps"
        assert len(data) == 1 and 0 < len(data[0]) <= PIECE_SIZE
        buffers[piece.tensor] += data[0]
        self.pieces_taken += 1
        if self.gives_more:
            self.more(client, piece.transfer)
        else:
            self.owed_more.append((client, piece.transfer))
            self.most_unanswered = max(self.most_unanswered, len(self.owed_more))
        sizes = [int(np.prod(dims)) * _dtype(number).itemsize for _, number, dims in request.descriptors]
        if [len(buffer) for buffer in buffers] == sizes:
            del self._incoming[piece.transfer]
            self._complete(request, [bytes(buffer) for buffer in buffers])

    def _complete(self, request: Request, data: list[bytes]) -> None:
        for (name, number, dims), tensor in zip(request.descriptors, data, strict=True):
            request.inputs[name] = np.frombuffer(tensor, _dtype(number)).reshape(dims)
        self.requests.append(request)
        self.answer(self, request)


def _dtype(number: int) -> np.dtype[Any]:
    dtype = dtype_of_wire(number)
    assert dtype is not None
    return dtype
