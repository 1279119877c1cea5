"""The same client for code without asyncio: a mesh on an event loop in a thread of its own.

Threads: a `SyncMesh` may be used from any number of threads at once. Forks: a child must not use the mesh of its parent
(calls raise InvalidArgument); open one in the child. Interrupting a waiting call (Ctrl-C) cancels its request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import InvalidArgument
from .mesh import DEFAULT_DEADLINE, connect
from .types import ModelSpec, Result, ServiceReport

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["SyncMesh", "connect_sync"]

T = TypeVar("T")


class SyncMesh:
    """A blocking client. Made, and opened, by `connect_sync`. Methods take and raise what those of `shoal.Mesh` do."""

    def __init__(self, address: str, *, timeout: float, default_deadline: float, max_message_bytes: int) -> None:
        self._mesh = connect(
            address, timeout=timeout, default_deadline=default_deadline, max_message_bytes=max_message_bytes
        )
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shoal", daemon=True)
        self._thread.start()
        try:
            self._wait(self._mesh.open())
        except BaseException:
            self._stop_thread()
            raise

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Result:
        return self._wait(self._mesh.infer(model, inputs, version=version, outputs=outputs, deadline=deadline))

    def submit(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        deadline: float | None = None,
    ) -> concurrent.futures.Future[Result]:
        """`infer` without waiting: keep many in flight and collect them later. Cancelling the future cancels the
        request."""
        return self._start(self._mesh.infer(model, inputs, version=version, outputs=outputs, deadline=deadline))

    def models(self, *, deadline: float | None = None) -> list[ModelSpec]:
        return self._wait(self._mesh.models(deadline=deadline))

    def status(self, *, deadline: float | None = None) -> list[ServiceReport]:
        return self._wait(self._mesh.status(deadline=deadline))

    def counts(self) -> dict[str, int]:
        return self._mesh.counts()

    def close(self) -> None:
        """Ends the connection and its thread. Requests without an outcome raise `Unavailable`. May be called twice."""
        if self._loop.is_closed() or os.getpid() != self._pid:
            return
        self._wait(self._mesh.close())
        self._stop_thread()

    def __enter__(self) -> SyncMesh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        problem = None
        if os.getpid() != self._pid:
            problem = "this mesh was opened before a fork: open another one in the child"
        elif self._loop.is_closed():
            problem = "this mesh has been closed"
        elif threading.current_thread() is self._thread:
            problem = "a blocking call from the mesh's own thread would never end"
        if problem is not None:
            call.close()
            raise InvalidArgument(problem)
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        future = self._start(call)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop_thread(self) -> None:
        async def settle() -> None:
            """Lets the tasks of requests that were just ended run to their end."""
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest)

        asyncio.run_coroutine_threadsafe(settle(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect_sync(
    address: str = "tcp://127.0.0.1:8002",
    *,
    timeout: float = 5.0,
    default_deadline: float = DEFAULT_DEADLINE,
    max_message_bytes: int = 1 << 30,
) -> SyncMesh:
    """An open mesh for blocking use: ``with shoal.connect_sync(address) as mesh:``. Arguments and errors: `connect`."""
    return SyncMesh(address, timeout=timeout, default_deadline=default_deadline, max_message_bytes=max_message_bytes)
