"""Clients that do harm: one that does not read its answers, one whose request ends workers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence

from ..schedule import Trait
from .fault import Fault

CONNECTIONS = 8
WIDTH = 1 << 18  # 1 MiB of float32 in each answer


class SlowReader(Fault):
    """HTTP clients ask for large answers, again and again on each connection, and never read one."""

    trait = Trait("slow_reader", ("front",), (3.0, 8.0))

    _sockets: Sequence[socket.socket] = ()

    def begin(self) -> str:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "parameters": {"binary_data_size": WIDTH * 4}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True, "priority": 3}}).encode()
        body = head + bytes(WIDTH * 4)
        ask = (
            f"POST /v2/models/identity/infer HTTP/1.1\r\nHost: chaos\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
        ).encode() + body
        sent = 0
        self._sockets = [socket.socket() for _ in range(CONNECTIONS)]
        for peer in self._sockets:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(1.0)
            peer.connect((self.mesh.publish, 8000))
            peer.settimeout(0.2)
            until = time.monotonic() + 0.4
            try:
                while time.monotonic() < until:
                    sent += peer.send(ask)
            except OSError:
                pass  # it takes no more of us: as it should
        return f"{CONNECTIONS} clients sent {sent >> 20} MiB of requests and read nothing for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        for peer in self._sockets:
            peer.close()


class Poison(Fault):
    """A request that needs more memory than a worker has, so that the kernel kills whoever runs it (models.py)."""

    trait = Trait("poison", ("worker",), (8.0, 8.0), settles=6.0)

    def begin(self) -> str:
        self.around.load.tell({"poison": 1})
        return "a request that ends workers"
