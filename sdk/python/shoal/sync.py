"""The same client for code without asyncio: a mesh on an event loop in a thread of its own.

Threads: a `SyncMesh` may be used from any number of threads at once. Forks: a child must not use the mesh of its parent
(calls raise InvalidArgument); open one in the child. Interrupting a waiting call (Ctrl-C) cancels its request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ._flow import Inputs, checked_window, raised
from .errors import InvalidArgument, ShoalError
from .mesh import Mesh, connect
from .progress import Report, Tally
from .text import EMBED_DEADLINE, Collector, Embeddings
from .types import ModelSpec, Result, ServiceReport, WorkerAnswer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["SyncMesh", "connect_sync"]

T = TypeVar("T")
_Future = concurrent.futures.Future[Result]


class SyncMesh:
    """A blocking client. Made, and opened, by `connect_sync`. Methods take and raise what those of `shoal.Mesh` do."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
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
        priority: str = "standard",
        deadline: float | None = None,
    ) -> Result:
        return self._wait(self._mesh.infer(model, inputs, version=version, outputs=outputs, priority=priority, deadline=deadline))

    def submit(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
    ) -> _Future:
        """`infer` without waiting for the outcome: it waits only while the window is full. Cancelling the future takes
        the request back."""
        outcome: _Future = concurrent.futures.Future()
        call = self._mesh.submit(model, inputs, version=version, outputs=outputs, priority=priority, deadline=deadline)
        request = self._wait(call)

        def take_back(cancelled: _Future) -> None:
            if cancelled.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(request.cancel)

        def tell(done: asyncio.Future[Result]) -> None:
            if done.cancelled() or not outcome.set_running_or_notify_cancel():
                outcome.cancel()
            elif (error := done.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(done.result())

        self._loop.call_soon_threadsafe(request.add_done_callback, tell)
        outcome.add_done_callback(take_back)
        return outcome

    def map(
        self,
        model: str,
        many: Iterable[Inputs],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
        window: int = 64,
        return_errors: bool = False,
        progress: Report | bool = False,
    ) -> Iterator[Result]:
        """The outcomes of many requests, in the order of their inputs, which are drawn on the caller's thread."""
        room = checked_window(window)
        tally = Tally(progress, many)
        under_way: deque[_Future] = deque()
        how: dict[str, Any] = {"version": version, "outputs": outputs, "priority": priority, "deadline": deadline}
        left = iter(many)
        is_over = False
        try:
            while under_way or not is_over:
                while not is_over and len(under_way) < room:
                    try:
                        under_way.append(self._submitted(model, next(left), how))
                    except StopIteration:
                        is_over = True
                if under_way:
                    yield _taken(under_way.popleft(), tally, return_errors)
            tally.end()
        finally:
            for future in under_way:
                future.cancel()

    def stream(
        self,
        model: str,
        many: Iterable[Inputs],
        *,
        version: int = 0,
        outputs: Sequence[str] = (),
        priority: str = "standard",
        deadline: float | None = None,
        window: int = 64,
        return_errors: bool = False,
        progress: Report | bool = False,
    ) -> Iterator[tuple[int, Result]]:
        """As `map`, but each outcome as soon as it is there, with the index of its inputs."""
        room = checked_window(window)
        tally = Tally(progress, many)
        under_way: set[_Future] = set()
        ended: queue.SimpleQueue[tuple[int, _Future]] = queue.SimpleQueue()
        how: dict[str, Any] = {"version": version, "outputs": outputs, "priority": priority, "deadline": deadline}
        left = enumerate(many)
        is_over = False
        try:
            while under_way or not is_over:
                while not is_over and len(under_way) < room:
                    try:
                        index, inputs = next(left)
                    except StopIteration:
                        is_over = True
                        break
                    future = self._submitted(model, inputs, how)
                    under_way.add(future)
                    future.add_done_callback(lambda done, index=index: ended.put((index, done)))  # type: ignore[misc]
                if under_way:
                    index, future = ended.get()
                    under_way.remove(future)
                    yield index, _taken(future, tally, return_errors)
            tally.end()
        finally:
            for future in under_way:
                future.cancel()

    def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        truncate: bool = False,
        version: int = 0,
        batch: int = 1024,
        window: int = 3,
        priority: str = "standard",
        deadline: float = EMBED_DEADLINE,
        progress: Report | bool = False,
    ) -> Embeddings:
        collector = Collector(texts, truncate, batch, progress)
        how: dict[str, Any] = {"version": version, "priority": priority, "deadline": deadline}
        for outcome in self.map(model, collector.requests(), window=window, return_errors=True, **how):
            collector.take(outcome)
        return collector.embeddings()

    def models(self, *, deadline: float | None = None) -> list[ModelSpec]:
        return self._wait(self._mesh.models(deadline=deadline))

    def status(self, *, deadline: float | None = None) -> list[ServiceReport]:
        return self._wait(self._mesh.status(deadline=deadline))

    def load(
        self, model: str, version: int = 0, *, replace: bool = False, deadline: float = 60.0
    ) -> list[WorkerAnswer]:
        return self._wait(self._mesh.load(model, version, replace=replace, deadline=deadline))

    def unload(self, model: str, version: int = 0, *, deadline: float = 60.0) -> list[WorkerAnswer]:
        return self._wait(self._mesh.unload(model, version, deadline=deadline))

    def counts(self) -> dict[str, int]:
        return self._mesh.counts()

    def close(self) -> None:
        """Ends the connections and their thread. Requests without an outcome raise `Unavailable`. May be called twice."""
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

    def _submitted(self, model: str, inputs: Inputs, how: dict[str, Any]) -> _Future:
        """A request's own error is its outcome."""
        try:
            return self.submit(model, inputs, **how)
        except ShoalError as error:
            failed: _Future = concurrent.futures.Future()
            failed.set_exception(error)
            return failed

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


def _taken(future: _Future, tally: Tally, return_errors: bool) -> Any:
    try:
        outcome: Result | ShoalError = future.result()
    except ShoalError as error:
        outcome = error
    tally.add(outcome)
    return raised(outcome, return_errors)


def connect_sync(*addresses: str, **options: Any) -> SyncMesh:
    """An open mesh for blocking use: ``with shoal.connect_sync(address) as mesh:``. Arguments and errors: `connect`."""
    return SyncMesh(connect(*addresses, **options))
