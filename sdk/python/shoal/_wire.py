"""Between bytes and plain Python values: frame 1 of a message is an Envelope of schemas/mesh.capnp, and perhaps a tail: the
bytes of its tensors, if they are few.

Decoding trusts nothing: whatever is wrong with a frame raises `BadFrame`; no size is believed before it was checked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from capnp.lib.capnp import KjException

from ._schema import NEWEST_VERSION, OLDEST_VERSION, TAIL_SIZE, schema
from .dtypes import dtype_name, dtype_of_wire, wire_of_dtype
from .errors import Corrupt, InvalidArgument, ShoalError, error_of
from .types import Dimension, ModelSpec, Result, ServiceReport, TensorSpec, WorkerAnswer

_Envelope = schema.Envelope

# Beyond these a gateway takes a message for junk (actors/core/tensor.hpp, actors/link/codec.hpp).
MAX_RANK = 16
MAX_TENSORS = 4096
MAX_NAME = 256
_MAX_ENVELOPE = 8 << 20
_STATES = ("loading", "ready", "failed")


class BadFrame(Exception):
    """A frame that does not say what the protocol allows."""


def damaged(bad: BadFrame, request_id: int) -> Corrupt:
    return Corrupt(f"the gateway's answer is damaged: {bad}", request_id=request_id)


# --- what comes in ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Welcome:
    instance: int
    oldest_version: int
    newest_version: int
    credit_messages: int
    credit_bytes: int
    max_message_bytes: int


@dataclass(slots=True)
class Descriptor:
    """An output as it is announced; `size` in bytes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size: int


@dataclass(slots=True)
class Outcome:
    """`outputs` or `error`. `transfer`: zero if the outputs' frames are in this message, else they come in pieces."""

    id: int
    outputs: list[Descriptor]
    error: ShoalError | None
    model: str
    version: int
    queue_us: int
    compute_us: int
    batch_rows: int
    transfer: int
    plan: str = ""

    def split(self, tail: bytes) -> list[bytes]:
        """The outputs' bytes; raises BadFrame if they are not the tail exactly."""
        parts, at = [], 0
        for output in self.outputs:
            parts.append(tail[at : at + output.size])
            at += output.size
        if at != len(tail):
            raise BadFrame(f"outputs of {at} bytes in {len(tail)}")
        return parts

    def result(self, arrays: list[np.ndarray[Any, Any]], retries: int) -> Result:
        named = {output.name: array for output, array in zip(self.outputs, arrays, strict=True)}
        times = (self.queue_us * 1e-6, self.compute_us * 1e-6)
        return Result(named, self.model, self.version, *times, self.batch_rows, retries, self.plan)


@dataclass(slots=True)
class Piece:
    transfer: int
    tensor: int
    offset: int


@dataclass(slots=True)
class More:
    transfer: int


@dataclass(slots=True)
class Heartbeat:
    pass


@dataclass(slots=True)
class Goodbye:
    pass


@dataclass(slots=True)
class Catalogue:
    models: list[ModelSpec]


@dataclass(slots=True)
class Report:
    services: list[ServiceReport]


@dataclass(slots=True)
class Managed:
    number: int
    answers: list[WorkerAnswer] | ShoalError


Body = Welcome | ShoalError | Outcome | Piece | More | Heartbeat | Goodbye | Catalogue | Report | Managed


def cut(frame: bytes) -> tuple[bytes, bytes]:
    """The envelope and the tail. What is no envelope is not found out here."""
    try:
        (last_segment,) = struct.unpack_from("<I", frame)
        if last_segment == 0:
            end = 8 + 8 * struct.unpack_from("<I", frame, 4)[0]
        else:
            table = (4 * (last_segment + 2) + 7) // 8 * 8
            end = table + 8 * sum(struct.unpack_from(f"<{last_segment + 1}I", frame, 4))
    except struct.error as bad:
        raise BadFrame(f"an envelope of {len(frame)} bytes") from bad
    return (frame, b"") if end >= len(frame) else (frame[:end], frame[end:])


def decode(frame: bytes) -> tuple[int, Body, bytes]:
    """The sender's epoch, what it says and the tail; raises BadFrame for anything else than a message for a client."""
    if len(frame) > _MAX_ENVELOPE:
        raise BadFrame(f"an envelope of {len(frame)} bytes")
    frame, tail = cut(frame)
    if len(tail) > TAIL_SIZE:
        raise BadFrame(f"an envelope with {len(tail)} bytes after its end")
    try:
        # Words that may be read: each one a few times (pycapnp looks twice), never more than the frame justifies.
        with _Envelope.from_bytes(frame, traversal_limit_in_words=len(frame) + 1024, nesting_limit=16) as envelope:
            reader = _READERS.get(envelope.which())
            if reader is None:
                raise BadFrame("a message that is not for clients")
            return envelope.epoch, reader(envelope), tail
    except (KjException, ValueError) as bad:
        raise BadFrame(str(bad).partition("\n")[0]) from bad


def _read_error(error: Any, request_id: int | None = None) -> ShoalError:
    retry_after_ms = error.retryAfterMs
    return error_of(
        error.code,
        error.message,
        retryable=error.retryable,
        retry_after=retry_after_ms * 1e-3 if retry_after_ms else None,
        request_id=request_id,
    )


def _read_welcome(envelope: Any) -> Welcome:
    hello = envelope.welcome
    if hello.epoch != envelope.epoch:
        raise BadFrame("a welcome whose epoch is not its envelope's")
    oldest = hello.protocolVersion
    newest = hello.newestVersion or oldest  # version 1 did not have this field
    return Welcome(hello.instance, oldest, newest, hello.creditMessages, hello.creditBytes, hello.maxMessageBytes)


def _read_descriptor(tensor: Any) -> Descriptor:
    dtype = dtype_of_wire(tensor.dtype)
    if dtype is None:
        raise BadFrame(f"an output of {dtype_name(tensor.dtype)}")
    if len(tensor.dims) > MAX_RANK:
        raise BadFrame(f"an output of rank {len(tensor.dims)}")
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise BadFrame(f"an output of shape {list(shape)}")
    if not tensor.hasData:
        raise BadFrame("an output without its data")
    return Descriptor(tensor.name, dtype, shape, prod(shape) * dtype.itemsize)


def _read_outcome(envelope: Any) -> Outcome:
    outcome = envelope.outcome
    result = outcome.result
    error: ShoalError | None = None
    outputs: list[Descriptor] = []
    if result.which() == "error":
        error = _read_error(result.error, outcome.id)
    else:
        try:
            outputs = [_read_descriptor(tensor) for tensor in result.outputs]
            if len({output.name for output in outputs}) != len(outputs):
                raise BadFrame("two outputs of one name")
        except BadFrame as bad:  # whoever waits for it shall not wait for the deadline
            error = damaged(bad, outcome.id)
    return Outcome(
        outcome.id,
        outputs,
        error,
        outcome.model,
        outcome.version,
        outcome.queueUs,
        outcome.computeUs,
        outcome.batchRows,
        outcome.bulk.transfer,
        outcome.plan,
    )


def _read_piece(envelope: Any) -> Piece:
    piece = envelope.piece
    return Piece(piece.transfer, piece.tensor, piece.offset)


def _read_tensor_specs(specs: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(spec.name, dtype_name(spec.dtype), tuple(Dimension(d.min, d.max, d.symbol) for d in spec.dims))
        for spec in specs
    )


def _read_catalogue(envelope: Any) -> Catalogue:
    models = []
    for spec in envelope.catalogue.models:
        if spec.state >= len(_STATES):
            raise BadFrame(f"a model in state {spec.state}")
        models.append(
            ModelSpec(
                spec.name,
                spec.version,
                _STATES[spec.state],
                spec.reason,
                _read_tensor_specs(spec.inputs),
                _read_tensor_specs(spec.outputs),
                spec.maxBatch,
            )
        )
    return Catalogue(models)


def _read_report(envelope: Any) -> Report:
    return Report(
        [
            ServiceReport(report.service, report.instance, {figure.name: figure.value for figure in report.figures})
            for report in envelope.report.services
        ]
    )


def _read_managed(envelope: Any) -> Managed:
    managed = envelope.managed
    if managed.result.which() == "error":
        return Managed(managed.key.id, _read_error(managed.result.error))
    answers = []
    for each in managed.result.workers:
        if each.result.which() == "error":
            error = _read_error(each.result.error)
            answers.append(WorkerAnswer(each.worker, str(error), error))
        else:
            answers.append(WorkerAnswer(each.worker, each.result.done))
    return Managed(managed.key.id, answers)


_READERS: dict[str, Any] = {
    "welcome": _read_welcome,
    "refused": lambda envelope: _read_error(envelope.refused),
    "heartbeat": lambda _: Heartbeat(),
    "goodbye": lambda _: Goodbye(),
    "piece": _read_piece,
    "more": lambda envelope: More(envelope.more),
    "outcome": _read_outcome,
    "catalogue": _read_catalogue,
    "report": _read_report,
    "managed": _read_managed,
}


# --- what goes out ---------------------------------------------------------------------------------------------------


class Payload:
    """The inputs of a request, checked and ready to be written. Holds the caller's arrays where no copy was needed."""

    __slots__ = ("descriptors", "frames", "size")

    def __init__(self, inputs: Any) -> None:
        """Raises InvalidArgument for what no mesh could take."""
        if not hasattr(inputs, "items"):
            raise InvalidArgument(f"inputs must be a mapping of names to arrays, not {type(inputs).__name__}")
        self.descriptors: list[tuple[str, int, list[int]]] = []
        self.frames: list[memoryview] = []
        self.size = 0
        for name, value in inputs.items():
            check_name(name, "an input's name")
            array = _little_endian(name, value)
            number = wire_of_dtype(array.dtype)
            if number is None:
                raise InvalidArgument(f"input '{name}' has dtype {array.dtype}, which no tensor can have")
            if array.ndim > MAX_RANK:
                raise InvalidArgument(f"input '{name}' has rank {array.ndim}; at most {MAX_RANK} is possible")
            self.descriptors.append((name, number, list(array.shape)))
            self.frames.append(array.reshape(-1).view(np.uint8).data)
            self.size += array.nbytes
        if len(self.frames) > MAX_TENSORS:
            raise InvalidArgument(f"{len(self.frames)} inputs; at most {MAX_TENSORS} are possible")


def check_name(name: Any, what: str) -> None:
    """Raises InvalidArgument for what cannot be a name of anything."""
    if not isinstance(name, str):
        raise InvalidArgument(f"{what} must be a str, not {type(name).__name__}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError as bad:
        raise InvalidArgument(f"{what} is no Unicode text: {bad}") from bad
    if size > MAX_NAME:
        raise InvalidArgument(f"{what} has {size} bytes; at most {MAX_NAME} are possible")


def _little_endian(name: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as a contiguous little-endian array; the same memory if it is one already."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as bad:
        raise InvalidArgument(f"input '{name}' is not an array: {bad}") from bad
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def encode_hello(epoch: int, instance: int, max_message_bytes: int) -> bytes:
    envelope = _Envelope.new_message(epoch=epoch)
    hello = envelope.init("hello")
    hello.protocolVersion = OLDEST_VERSION
    hello.newestVersion = NEWEST_VERSION
    hello.service = "client"
    hello.instance = instance
    hello.epoch = epoch
    hello.maxMessageBytes = max_message_bytes
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_infer(
    epoch: int,
    request_id: int,
    time_left_us: int,
    model: str,
    version: int,
    payload: Payload,
    outputs: Sequence[str],
    priority: str,
    transfer: int,
) -> bytes:
    envelope = _Envelope.new_message()
    envelope.epoch = epoch
    infer = envelope.init("infer")
    infer.id = request_id
    infer.timeLeftUs = time_left_us
    infer.model = model
    infer.version = version
    tensors = infer.init("inputs", len(payload.descriptors))
    for tensor, (name, dtype, shape) in zip(tensors, payload.descriptors, strict=True):
        tensor.name = name
        tensor.dtype = dtype
        tensor.dims = shape
        tensor.hasData = True
    if outputs:
        infer.outputs = list(outputs)
    if priority != "standard":
        infer.priority = priority
    if transfer:
        infer.bulk.transfer = transfer
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_cancel(epoch: int, request_id: int) -> bytes:
    envelope = _Envelope.new_message(epoch=epoch)
    envelope.init("cancel").id = request_id
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_manage(
    epoch: int, number: int, verb: str, model: str, version: int, replace: bool, seconds: float
) -> bytes:
    envelope = _Envelope.new_message(epoch=epoch)
    manage = envelope.init("manage")
    manage.key.id = number
    manage.verb = verb
    manage.model = model
    manage.version = version
    manage.replace = replace
    manage.timeLeftUs = max(1, int(seconds * 1e6))
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_piece(epoch: int, transfer: int, tensor: int, offset: int) -> bytes:
    envelope = _Envelope.new_message(epoch=epoch)
    piece = envelope.init("piece")
    piece.transfer = transfer
    piece.tensor = tensor
    piece.offset = offset
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_more(epoch: int, transfer: int) -> bytes:
    return _Envelope.new_message(epoch=epoch, more=transfer).to_bytes()  # type: ignore[no-any-return]


def encode_heartbeat(epoch: int, sequence: int) -> bytes:
    envelope = _Envelope.new_message(epoch=epoch)
    envelope.init("heartbeat").sequence = sequence
    return envelope.to_bytes()  # type: ignore[no-any-return]


def encode_signal(epoch: int, kind: str) -> bytes:
    """A message that says nothing but its kind: "goodbye", "describe", "inquire"."""
    envelope = _Envelope.new_message(epoch=epoch)
    setattr(envelope, kind, None)
    return envelope.to_bytes()  # type: ignore[no-any-return]
