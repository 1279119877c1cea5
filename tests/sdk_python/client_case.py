"""What the tests of the asyncio client share."""

import asyncio
import unittest

import numpy as np
import shoal
from fake_gateway import FakeGateway, Request

X = np.arange(12, dtype=np.float32).reshape(3, 4)


ONCE = {"retry_ratio": 0, "retry_reserve": 0}  # no retries


def silence(gateway: FakeGateway, request: Request) -> None:
    """Never answers."""


class ClientTest(unittest.IsolatedAsyncioTestCase):
    def gateway(self, *args, **kwargs) -> FakeGateway:
        return self.enterContext(FakeGateway(*args, **kwargs))

    async def connected(self, gateway: FakeGateway, **kwargs) -> shoal.Mesh:
        return await self.enterAsyncContext(shoal.connect(gateway.address, **kwargs))

    async def seen(self, gateway: FakeGateway, condition) -> None:
        await asyncio.to_thread(gateway.wait_for, condition)

    async def counted(self, mesh: shoal.Mesh, what: str, times: int = 1) -> None:
        async with asyncio.timeout(5):
            while mesh.counts().get(what, 0) < times:
                await asyncio.sleep(0.001)
