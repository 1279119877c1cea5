"""map and stream, asyncio and blocking, and their progress."""

import asyncio
import io
import random
import unittest

import numpy as np
import shoal
from client_case import ClientTest, X, silence
from fake_gateway import FakeGateway, Request, echo


def numbered(count: int):
    return ({"x": np.array([n])} for n in range(count))


def shuffled(gateway: FakeGateway, request: Request) -> None:
    """Answers when eight have come, in another order."""
    waiting = gateway.__dict__.setdefault("waiting", [])
    waiting.append(request)
    if len(waiting) == 8:
        random.Random(1).shuffle(waiting)
        for each in waiting:
            echo(gateway, each)
        waiting.clear()


def odd_ones_fail(gateway: FakeGateway, request: Request) -> None:
    if int(request.inputs["x"][0]) % 2:
        gateway.fail(request, 1, "odd")
    else:
        echo(gateway, request)


class Flows(ClientTest):
    async def test_results_come_in_order_whatever_is_answered_first(self):
        mesh = await self.connected(self.gateway(shuffled))
        results = [int(result["y"][0]) async for result in mesh.map("m", numbered(40), window=8)]
        self.assertEqual(results, list(range(40)))

    async def test_a_stream_gives_each_as_it_comes_with_its_index(self):
        mesh = await self.connected(self.gateway(shuffled))
        seen = [(index, int(result["y"][0])) async for index, result in mesh.stream("m", numbered(40), window=8)]
        self.assertTrue(all(index == value for index, value in seen))
        self.assertEqual(sorted(index for index, _ in seen), list(range(40)))
        self.assertNotEqual([index for index, _ in seen], list(range(40)))

    async def test_nothing_at_all_is_a_flow_too(self):
        mesh = await self.connected(self.gateway())
        self.assertEqual([each async for each in mesh.map("m", [])], [])
        self.assertEqual([each async for each in mesh.stream("m", [])], [])

    async def test_no_more_than_the_window_are_drawn(self):
        for flow in ("map", "stream"):
            gateway = self.gateway()
            mesh = await self.connected(gateway)
            drawn = [0]

            def source(drawn=drawn):
                for inputs in numbered(100):
                    drawn[0] += 1
                    yield inputs

            taken = 0
            async for _ in getattr(mesh, flow)("m", source(), window=5):
                taken += 1
                await asyncio.sleep(0.001)
                self.assertLessEqual(drawn[0], taken + 5)
            self.assertEqual(taken, 100)

    async def test_inputs_may_come_from_an_async_source_and_results_do_not_wait_for_the_next_one(self):
        mesh = await self.connected(self.gateway())
        arrived = asyncio.Event()

        async def source():
            yield {"x": np.array([0])}
            await asyncio.wait_for(arrived.wait(), 5)  # until the first result has been taken
            yield {"x": np.array([1])}

        values = []
        async for result in mesh.map("m", source()):
            values.append(int(result["y"][0]))
            arrived.set()
        self.assertEqual(values, [0, 1])

    async def test_the_first_error_is_raised_and_what_is_in_flight_is_taken_back(self):
        def fail_one(gateway: FakeGateway, request: Request) -> None:
            if int(request.inputs["x"][0]) == 0:
                gateway.fail(request, 1, "no")

        gateway = self.gateway(fail_one)
        mesh = await self.connected(gateway)
        with self.assertRaisesRegex(shoal.InvalidArgument, "no"):
            async for _ in mesh.map("m", numbered(10), window=4):
                pass
        await self.seen(gateway, lambda: len(gateway.cancelled) == len(gateway.requests) - 1)
        self.assertEqual(mesh.in_flight, 0)

    async def test_errors_can_be_taken_as_outcomes(self):
        mesh = await self.connected(self.gateway(odd_ones_fail))
        outcomes = [each async for each in mesh.map("m", numbered(6), return_errors=True)]
        self.assertEqual([isinstance(each, shoal.InvalidArgument) for each in outcomes], [False, True] * 3)
        wrong = [{"x": np.array([0])}, {"x": object()}, {"x": np.array([2])}]
        outcomes = [each async for each in mesh.map("m", wrong, return_errors=True)]
        self.assertEqual([isinstance(each, shoal.InvalidArgument) for each in outcomes], [False, True, False])

    async def test_a_source_that_raises_is_heard_after_what_came_before(self):
        def source():
            yield {"x": np.array([0])}
            raise RuntimeError("the file ends here")

        mesh = await self.connected(self.gateway())
        for flow in (mesh.map, mesh.stream):
            taken = 0
            with self.assertRaisesRegex(RuntimeError, "ends here"):
                async for _ in flow("m", source()):
                    taken += 1
            self.assertEqual(taken, 1)

    async def test_leaving_the_loop_takes_back_what_is_in_flight(self):
        def only_the_first(gateway: FakeGateway, request: Request) -> None:
            gateway.answer = silence
            echo(gateway, request)

        gateway = self.gateway(only_the_first)
        mesh = await self.connected(gateway)
        flow = mesh.map("m", numbered(100), window=4)
        async for _ in flow:
            break
        await flow.aclose()
        await self.seen(gateway, lambda: len(gateway.cancelled) == len(gateway.requests) - 1)

    async def test_an_impossible_window_is_refused(self):
        mesh = await self.connected(self.gateway())
        for window in (0, -1, 1.5):
            with self.subTest(window), self.assertRaises(shoal.InvalidArgument):
                async for _ in mesh.map("m", numbered(1), window=window):
                    pass


class BlockingFlows(unittest.TestCase):
    def connected(self, answer=echo, **kwargs) -> tuple[FakeGateway, shoal.SyncMesh]:
        gateway = self.enterContext(FakeGateway(answer))
        return gateway, self.enterContext(shoal.connect_sync(gateway.address, **kwargs))

    def test_map_and_stream(self):
        _, mesh = self.connected(shuffled)
        self.assertEqual([int(r["y"][0]) for r in mesh.map("m", numbered(40), window=8)], list(range(40)))
        seen = [(index, int(result["y"][0])) for index, result in mesh.stream("m", numbered(40), window=8)]
        self.assertTrue(all(index == value for index, value in seen))
        self.assertNotEqual([index for index, _ in seen], list(range(40)))

    def test_no_more_than_the_window_are_drawn(self):
        _, mesh = self.connected()
        drawn = [0]

        def source():
            for inputs in numbered(100):
                drawn[0] += 1
                yield inputs

        for taken, _ in enumerate(mesh.map("m", source(), window=5)):
            self.assertLessEqual(drawn[0], taken + 5)

    def test_errors_are_raised_or_taken(self):
        _, mesh = self.connected(odd_ones_fail)
        with self.assertRaises(shoal.InvalidArgument):
            list(mesh.map("m", numbered(6)))
        outcomes = list(mesh.map("m", numbered(6), return_errors=True))
        self.assertEqual([isinstance(each, shoal.InvalidArgument) for each in outcomes], [False, True] * 3)
        outcomes = dict(mesh.stream("m", numbered(6), return_errors=True))
        self.assertEqual(sum(isinstance(each, shoal.InvalidArgument) for each in outcomes.values()), 3)

    def test_leaving_the_loop_takes_back_what_is_in_flight(self):
        def only_the_first(gateway: FakeGateway, request: Request) -> None:
            gateway.answer = silence
            echo(gateway, request)

        gateway, mesh = self.connected(only_the_first)
        for flow in (mesh.map("m", numbered(100), window=4),):
            next(flow)
            flow.close()
        gateway.wait_for(lambda: len(gateway.cancelled) == len(gateway.requests) - 1)

    def test_a_full_window_waits_or_raises(self):
        gateway, mesh = self.connected(silence, max_in_flight=1, wait_for_room=False)
        mesh.submit("m", {"x": X})
        with self.assertRaises(shoal.Overloaded):
            mesh.submit("m", {"x": X})


class ProgressTest(unittest.TestCase):
    def test_it_tells_what_is_done_and_what_has_failed(self):
        gateway = self.enterContext(FakeGateway(odd_ones_fail))
        mesh = self.enterContext(shoal.connect_sync(gateway.address))
        told: list[tuple[int, int, int | None]] = []
        many = list(numbered(4))
        list(mesh.map("m", many, return_errors=True, progress=lambda *now: told.append(now)))
        self.assertEqual(told, [(1, 0, 4), (2, 1, 4), (3, 1, 4), (4, 2, 4)])
        told.clear()
        list(mesh.map("m", numbered(2), return_errors=True, progress=lambda *now: told.append(now)))
        self.assertEqual(told, [(1, 0, None), (2, 1, None), (2, 1, 2)])

    def test_the_line_it_prints(self):
        file = io.StringIO()
        progress = shoal.Progress(file, every=0)
        progress(1, 0, 3)
        progress(3, 1, 3)
        first, last = file.getvalue().splitlines()
        self.assertRegex(first, r"^1 of 3, \d+/s, \d+ s left$")
        self.assertRegex(last, r"^3 of 3, \d+/s, 1 failed$")


if __name__ == "__main__":
    unittest.main()
