"""Samples of what the containers of the mesh use, once a second, in a thread of its own."""

from __future__ import annotations

import os
import threading
import time

from .containers import Containers
from .engine import EngineError
from .history import Writer

EVERY = 1.0


class Watch:
    def __init__(self, mesh: Containers, writer: Writer) -> None:
        self._mesh = mesh
        self._writer = writer
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ends.wait(EVERY):
            began = time.monotonic()
            try:
                states = self._mesh.states()
            except EngineError:
                continue  # one ended between two questions
            finally:
                self._writer.write("host", load=os.getloadavg()[0], engine=round(time.monotonic() - began, 3))
            self._writer.flush()  # so that a run which is cut off can be read
            for container, state in states:
                if (memory := self._mesh.memory(container, state)) is None:
                    continue  # it does not run, or no longer
                what = {"service": container.service, "container": container.name, "limit": state.memory_limit}
                self._writer.write("memory", bytes=memory.used, private=memory.private, **what)
