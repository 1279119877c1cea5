"""Frames at the native door as no SDK would send them."""

import time
import uuid

import numpy as np
import zmq
from shoal import _wire


class NativePeer:
    """Frames at the native door as no SDK would send them."""

    def __init__(self, address: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)
        self.epoch = time.time_ns() // 1000
        self.instance = uuid.uuid4().int >> 64
        self.next_id = 1

    def __enter__(self) -> "NativePeer":
        return self

    def __exit__(self, *_) -> None:
        self.context.destroy(linger=0)

    def receive(self, within: float):
        """The next message but heartbeats; None: there is none."""
        until_then = time.monotonic() + within
        while (left := until_then - time.monotonic()) > 0:
            self.socket.send(_wire.encode_heartbeat(self.epoch, 1))
            if self.socket.poll(min(left, 0.5) * 1000):
                body = _wire.decode(self.socket.recv_multipart()[0])[1]
                if not isinstance(body, (_wire.Heartbeat, _wire.More)):
                    return body
        return None

    def greet(self) -> None:
        self.socket.send(_wire.encode_hello(self.epoch, self.instance, 1 << 28))
        welcome = self.receive(60.0)
        if not isinstance(welcome, _wire.Welcome):
            raise AssertionError(f"{welcome} is no WELCOME")

    def infer(self, shape: list[int], frame: bytes, transfer: int = 0):
        """The outcome; None: there was none within a while."""
        payload = _wire.Payload({"x": np.zeros((1, 3), np.float32)})
        payload.descriptors = [(payload.descriptors[0][0], payload.descriptors[0][1], shape)]
        number = self.next_id
        self.next_id += 1
        head = _wire.encode_infer(self.epoch, number, 20_000_000, "identity", 0, payload, (), "standard", transfer)
        if transfer:
            self.socket.send(head)
            self.socket.send_multipart([_wire.encode_piece(self.epoch, transfer, 0, 0), frame])
        else:
            self.socket.send_multipart([head, frame])
        # It is answered after whatever is wrong with the one before.
        while (body := self.receive(60.0 if shape == [1, 3] and len(frame) == 12 else 1.0)) is not None:
            if isinstance(body, _wire.Outcome) and body.id == number:
                return body
        return None
