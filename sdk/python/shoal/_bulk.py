"""Tensors in pieces: a message that holds more than PIECE_SIZE bytes travels as a head and then pieces of one transfer,
in order and without gaps. At most WINDOW pieces of a connection are unanswered by `more`, so that heartbeats never wait
behind them, and transfers go one after the other, so that the receiver holds one unfinished message at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._schema import PIECE_SIZE
from ._wire import BadFrame, Descriptor, Outcome, Payload, Piece

WINDOW = 4


class Outgoing:
    """A request whose inputs are to be sent in pieces."""

    __slots__ = ("_offset", "_tensor", "begun", "cancelled", "head", "payload", "request_id")

    def __init__(self, request_id: int, payload: Payload, head: Callable[[int], bytes]) -> None:
        """`head` makes the message's first frame for the number of a transfer, when its turn has come."""
        self.request_id = request_id
        self.payload = payload
        self.head = head
        self.begun = False
        self.cancelled = False
        self._tensor = 0
        self._offset = 0
        self._skip_what_is_done()

    def _skip_what_is_done(self) -> None:
        frames = self.payload.frames
        while self._tensor < len(frames) and self._offset >= len(frames[self._tensor]):
            self._tensor += 1
            self._offset = 0

    @property
    def done(self) -> bool:
        return self._tensor == len(self.payload.frames)

    def take(self) -> tuple[int, int, memoryview]:
        """The next piece: tensor, offset, bytes."""
        tensor, offset = self._tensor, self._offset
        piece = self.payload.frames[tensor][offset : offset + PIECE_SIZE]
        self._offset += len(piece)
        self._skip_what_is_done()
        return tensor, offset, piece


class Incoming:
    """An outcome whose outputs are still arriving. Each byte is copied once, into the array that the caller gets.

    `wanted` False: nobody waits for it any more; the pieces are taken and dropped, so that the sender comes to an end.
    The caller has checked the outcome's size; memory is touched only as pieces fill it.
    """

    __slots__ = ("_buffers", "_left", "_offset", "_tensor", "outcome", "wanted")

    def __init__(self, outcome: Outcome, wanted: bool) -> None:
        self.outcome = outcome
        self.wanted = wanted
        self._buffers = [np.empty(output.size if wanted else 0, np.uint8) for output in outcome.outputs]
        self._tensor = 0
        self._offset = 0
        self._left = sum(output.size for output in outcome.outputs)

    @property
    def done(self) -> bool:
        return self._left == 0

    def take(self, piece: Piece, data: memoryview | bytes) -> None:
        """Raises BadFrame for a piece that is not the next one."""
        outputs = self.outcome.outputs
        while self._tensor < len(outputs) and self._offset == outputs[self._tensor].size:
            self._tensor += 1
            self._offset = 0
        if self._tensor == len(outputs) or (piece.tensor, piece.offset) != (self._tensor, self._offset):
            raise BadFrame(f"piece {piece.offset} of tensor {piece.tensor} is not the next one")
        if len(data) != min(PIECE_SIZE, outputs[self._tensor].size - self._offset):
            raise BadFrame(f"a piece of {len(data)} bytes")
        if self.wanted:
            self._buffers[self._tensor][self._offset : self._offset + len(data)] = np.frombuffer(data, np.uint8)
        self._offset += len(data)
        self._left -= len(data)

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        return [array_over(output, buffer) for output, buffer in zip(self.outcome.outputs, self._buffers, strict=True)]


def array_over(output: Descriptor, data: Any) -> np.ndarray[Any, Any]:
    """A read-only array of `data`'s memory; raises BadFrame if the sizes do not match."""
    if len(data) != output.size:
        raise BadFrame(f"output '{output.name}' needs {output.size} bytes, but {len(data)} came")
    try:
        array = np.frombuffer(data, output.dtype) if output.size else np.empty(0, output.dtype)
        array = array.reshape(output.shape)
    except ValueError as bad:  # an empty array with sizes that numpy cannot multiply
        raise BadFrame(f"output '{output.name}': {bad}") from bad
    array.flags.writeable = False
    return array
