"""How much may be in flight: a bound on the requests without an outcome, and on the bytes of their inputs."""

from __future__ import annotations

import asyncio
from collections import deque


class Window:
    """First come, first served. A request alone may always go, however large."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._count = 0
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def enter_at_once(self, size: int) -> bool:
        if self._waiting or not self._fits(size):
            return False
        self._take(size)
        return True

    async def enter(self, size: int) -> None:
        """Waits for room; to be cancelled by whoever has waited long enough."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, size))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(size)  # it was given room in the same turn
            else:
                self._waiting.remove((place, size))
                self._admit()
            raise

    def leave(self, size: int) -> None:
        self._count -= 1
        self._bytes -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        return self._count == 0 or (self._count < self._most and self._bytes + size <= self._most_bytes)

    def _take(self, size: int) -> None:
        self._count += 1
        self._bytes += size

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            place, size = self._waiting.popleft()
            if not place.done():
                self._take(size)
                place.set_result(None)
