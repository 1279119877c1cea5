"""Several gateways, retries within their budget, and windows."""

import asyncio
import socket
import time
import unittest
from collections import Counter
from unittest import mock

import numpy as np
import shoal
from client_case import ONCE, ClientTest, X, silence
from fake_gateway import FakeGateway, Request, echo

OVERLOADED = int(shoal.ErrorCode.OVERLOADED)


class Several(ClientTest):
    async def both(self, *answers, **kwargs) -> tuple[list[FakeGateway], shoal.Mesh]:
        """A mesh over a gateway for each answer, all of them up."""
        gateways = [self.gateway(answer) for answer in answers]
        addresses = [gateway.address for gateway in gateways]
        mesh = await self.enterAsyncContext(shoal.connect(*addresses, **kwargs))
        for gateway in gateways:
            await self.seen(gateway, lambda gateway=gateway: gateway.clients)
        await mesh.models()  # whoever was welcomed last is up by now
        return gateways, mesh

    async def test_requests_are_spread_over_the_gateways(self):
        gateways, mesh = await self.both(echo, echo)
        for n in range(20):
            await mesh.infer("m", {"x": np.array([n])})
        self.assertEqual(sum(len(gateway.requests) for gateway in gateways), 20)
        self.assertGreater(min(len(gateway.requests) for gateway in gateways), 5)

    async def test_what_is_in_flight_at_a_lost_gateway_goes_to_another_with_the_time_that_is_left(self):
        gateways, mesh = await self.both(silence, silence)
        tasks = [asyncio.create_task(mesh.infer("m", {"x": np.array([n])}, deadline=10.0)) for n in range(10)]
        for gateway in gateways:
            await self.seen(gateway, lambda gateway=gateway: len(gateway.requests) == 5)

        def answer_all() -> None:
            gateways[1].answer = echo
            for request in gateways[1].requests:
                echo(gateways[1], request)

        gateways[1].call(answer_all)
        gateways[0].stop()
        results = await asyncio.gather(*tasks)
        self.assertEqual([int(result["y"][0]) for result in results], list(range(10)))
        self.assertEqual(sum(result.retries for result in results), 5)
        self.assertEqual(mesh.counts()["retries"], 5)
        self.assertLess(max(request.time_left_us for request in gateways[1].requests[5:]), 10_000_000)

    @mock.patch("shoal._gateway._FIRST_MOVE", 0.02)
    async def test_of_two_addresses_that_have_the_same_gateway_one_is_connected_anew_until_it_has_another(self):
        gateway = self.gateway(echo)  # as two behind a balancer are seen
        gateway.instances = iter([5, 5, 5, 6])
        address = f"tcp://localhost:{gateway.port}"
        async with shoal.connect(gateway.address, address) as mesh:
            await self.counted(mesh, "moved", 2)
            await self.seen(gateway, lambda: len(gateway.hellos) == 4)
            for n in range(20):
                await mesh.infer("m", {"x": np.array([n])})
            await asyncio.sleep(0.2)  # several times what it would have waited
            self.assertEqual(mesh.counts()["moved"], 2)
            self.assertGreater(min(Counter(request.client for request in gateway.requests).values()), 5)

    @mock.patch("shoal._gateway._FIRST_MOVE", 0.02)
    async def test_what_is_in_flight_there_is_answered_first(self):
        gateway = self.gateway(silence, credit_messages=1)
        gateway.instances = iter([5, 5, 6])
        async with shoal.connect(gateway.address, f"tcp://localhost:{gateway.port}") as mesh:
            await self.seen(gateway, lambda: len(gateway.hellos) == 2)
            tasks = [asyncio.create_task(mesh.infer("m", {"x": X}, deadline=10.0)) for _ in range(2)]
            await self.seen(gateway, lambda: len(gateway.requests) == 2)  # the credit of both is taken
            await asyncio.sleep(0.2)
            self.assertEqual(mesh.counts().get("moved", 0), 0)
            gateway.call(lambda: [echo(gateway, request) for request in gateway.requests])
            await asyncio.gather(*tasks)
            await self.counted(mesh, "moved")
            self.assertEqual(mesh.counts().get("retries", 0), 0)

    async def test_a_gateway_that_serves_nobody_is_asked_last(self):
        def shuts_down(gateway: FakeGateway, request: Request) -> None:
            gateway.fail(request, int(shoal.ErrorCode.UNAVAILABLE), "shutting down", retryable=True)

        gateways, mesh = await self.both(shuts_down, echo, retry_reserve=2)
        began = time.monotonic()
        for n in range(40):  # many more than the budget has retries for
            await mesh.infer("m", {"x": np.array([n])})
        self.assertLessEqual(len(gateways[0].requests), 1 + (time.monotonic() - began))

    async def test_one_gateway_that_is_not_there_does_not_keep_the_mesh_from_opening(self):
        nobody = FakeGateway()
        nobody.stop()
        gateway = self.gateway()
        async with shoal.connect(nobody.address, gateway.address) as mesh:
            await mesh.infer("m", {"x": X})

    async def test_a_gateway_of_another_protocol_is_left_alone_and_all_of_them_are_an_error(self):
        strange, good = self.gateway(versions=(90, 91)), self.gateway()
        async with shoal.connect(strange.address, good.address) as mesh:
            await self.seen(strange, lambda: strange.hellos)
            await mesh.infer("m", {"x": X})
        with self.assertRaises(shoal.Incompatible):
            await shoal.connect(strange.address, self.gateway(versions=(90, 91)).address)

    @mock.patch("shoal._gateway.GREETING_TIME", 60.0)
    async def test_a_gateway_that_has_answered_before_is_not_waited_for_when_it_does_not(self):
        first = FakeGateway(silence)
        self.addCleanup(first.stop)
        mesh = await self.connected(first)
        asked = asyncio.create_task(mesh.infer("m", {"x": X}, deadline=30.0))
        await self.seen(first, lambda: first.requests)
        first.stop()
        mute = socket.create_server(("127.0.0.1", first.port))
        mute.settimeout(5.0)
        connections = [(await asyncio.to_thread(mute.accept))[0] for _ in range(2)]
        mute.close()
        for connection in connections:
            connection.close()
        self.gateway(port=first.port)
        np.testing.assert_array_equal((await asked)["y"], X)

    async def test_a_request_goes_on_at_the_gateway_that_comes_back(self):
        first = FakeGateway(silence)
        self.addCleanup(first.stop)
        mesh = await self.connected(first)
        task = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.seen(first, lambda: first.requests)
        first.stop()
        self.gateway(port=first.port, epoch=78)
        self.assertEqual((await task).retries, 1)

    async def test_without_a_gateway_a_request_waits_or_fails_at_once_as_is_wanted(self):
        for waits, kind in ((True, shoal.DeadlineExceeded), (False, shoal.Unavailable)):
            gateway = FakeGateway()
            self.addCleanup(gateway.stop)
            mesh = await self.connected(gateway, wait_for_gateway=waits)
            gateway.stop()
            await self.counted(mesh, "lost")
            began = time.monotonic()
            with self.assertRaises(kind):
                await mesh.infer("m", {"x": X}, deadline=0.3)
            self.assertEqual(time.monotonic() - began > 0.25, waits)
            with self.assertRaises(shoal.DeadlineExceeded if waits else shoal.Unavailable):
                with mock.patch("shoal._session.MANAGE_GRACE", 0.0):
                    await mesh.load("m", deadline=0.1)

    async def test_the_outcome_comes_in_time_when_every_gateway_is_gone(self):
        gateways, mesh = await self.both(silence, silence)
        task = asyncio.create_task(mesh.infer("m", {"x": X}, deadline=0.3))
        began = time.monotonic()
        await asyncio.sleep(0)
        for gateway in gateways:
            gateway.stop()
        with self.assertRaises(shoal.ShoalError):
            await task
        self.assertLess(time.monotonic() - began, 0.3 + 0.25)


class Retries(ClientTest):
    def refusing(self, times: int, **how):
        """Refuses so often, then answers."""
        left = [times]

        def answer(gateway: FakeGateway, request: Request) -> None:
            if left[0] == 0:
                return echo(gateway, request)
            left[0] -= 1
            gateway.fail(request, OVERLOADED, "full", retryable=True, **how)

        return answer

    async def test_a_refusal_is_tried_again_after_the_time_it_names(self):
        gateway = self.gateway(self.refusing(1, retry_after_ms=60))
        mesh = await self.connected(gateway)
        began = time.monotonic()
        result = await mesh.infer("m", {"x": X})
        self.assertEqual(result.retries, 1)
        self.assertGreaterEqual(time.monotonic() - began, 0.06)
        self.assertNotEqual(gateway.requests[0].id, gateway.requests[1].id)

    async def test_what_will_not_help_is_not_tried_again(self):
        gateway = self.gateway(lambda gateway, request: gateway.fail(request, 1, "wrong shape"))
        mesh = await self.connected(gateway)
        with self.assertRaises(shoal.InvalidArgument):
            await mesh.infer("m", {"x": X})
        self.assertEqual(len(gateway.requests), 1)

    async def test_the_budget_bounds_the_retries_of_all_requests_together(self):
        gateway = self.gateway(self.refusing(10**9))
        mesh = await self.connected(gateway, retry_ratio=0.25, retry_reserve=2)
        outcomes = await asyncio.gather(
            *(mesh.infer("m", {"x": X}, deadline=2.0) for _ in range(20)), return_exceptions=True
        )
        self.assertTrue(all(isinstance(outcome, shoal.Overloaded) for outcome in outcomes))
        self.assertLessEqual(len(gateway.requests), 20 + 2 + 5 + 3)  # the reserve comes back, one a second
        self.assertGreater(mesh.counts()["retries_refused"], 0)

    async def test_no_retry_goes_beyond_the_deadline(self):
        gateway = self.gateway(self.refusing(10**9, retry_after_ms=5000))
        mesh = await self.connected(gateway)
        with self.assertRaises(shoal.Overloaded) as caught:
            await mesh.infer("m", {"x": X}, deadline=0.5)
        self.assertEqual((len(gateway.requests), caught.exception.retry_after), (1, 5.0))

    async def test_a_deadline_tells_what_the_last_try_said(self):
        def first_no_then_nothing(gateway: FakeGateway, request: Request) -> None:
            gateway.answer = silence
            gateway.fail(request, OVERLOADED, "the queue is full", retryable=True)

        mesh = await self.connected(self.gateway(first_no_then_nothing))
        with self.assertRaisesRegex(shoal.DeadlineExceeded, "tried 2 times, and at last: the queue is full"):
            await mesh.infer("m", {"x": X}, deadline=0.3)

    async def test_a_request_that_is_cancelled_while_it_rests_is_not_sent_again(self):
        gateway = self.gateway(self.refusing(1, retry_after_ms=50))
        mesh = await self.connected(gateway)
        task = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.counted(mesh, "retries")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.15)  # longer than it would have rested
        self.assertEqual(len(gateway.requests), 1)


class Windows(ClientTest):
    async def test_a_full_window_waits_for_room(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway, max_in_flight=2)
        tasks = [asyncio.create_task(mesh.infer("m", {"x": np.array([n])})) for n in range(5)]
        await asyncio.sleep(0)
        await mesh.models()
        self.assertEqual(len(gateway.requests), 2)

        def answer_all() -> None:
            gateway.answer = echo
            for request in list(gateway.requests):
                echo(gateway, request)

        gateway.call(answer_all)
        results = await asyncio.gather(*tasks)
        self.assertEqual([int(result["y"][0]) for result in results], list(range(5)))

    async def test_a_full_window_ends_the_wait_at_the_deadline_or_raises_as_is_wanted(self):
        for waits, kind in ((True, shoal.DeadlineExceeded), (False, shoal.Overloaded)):
            gateway = self.gateway(silence)
            mesh = await self.connected(gateway, max_in_flight=1, wait_for_room=waits)
            first = await mesh.submit("m", {"x": X})
            await self.seen(gateway, lambda gateway=gateway: gateway.requests)
            with self.assertRaisesRegex(kind, "1 requests or"):
                await mesh.infer("m", {"x": X}, deadline=0.05)
            self.assertEqual(len(gateway.requests), 1)
            first.cancel()
            await self.seen(gateway, lambda gateway=gateway: gateway.cancelled)
            gateway.call(lambda gateway=gateway: setattr(gateway, "answer", echo))
            await mesh.infer("m", {"x": X})  # there is room again

    async def test_bytes_count_too_and_a_large_request_alone_may_go(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway, max_in_flight_bytes=1000, wait_for_room=False)
        large = await mesh.submit("m", {"x": np.zeros(5000, np.uint8)})
        with self.assertRaises(shoal.Overloaded):
            await mesh.submit("m", {"x": X})
        large.cancel()

    async def test_those_who_wait_for_room_and_leave_let_others_in(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway, max_in_flight=1)
        first = await mesh.submit("m", {"x": X})
        second = asyncio.create_task(mesh.infer("second", {"x": X}))
        third = asyncio.create_task(mesh.infer("third", {"x": X}))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        gateway.call(lambda: setattr(gateway, "answer", echo))
        first.cancel()
        await third
        self.assertEqual([request.model for request in gateway.requests], ["m", "third"])

    async def test_closing_ends_those_who_wait_for_room(self):
        mesh = await self.connected(self.gateway(silence), max_in_flight=1, **ONCE)
        first = asyncio.create_task(mesh.infer("m", {"x": X}))
        second = asyncio.create_task(mesh.infer("m", {"x": X}))
        await asyncio.sleep(0)
        await mesh.close()
        for task in (first, second):
            with self.assertRaises(shoal.Unavailable):
                await task


class Life(ClientTest):
    async def test_load_and_unload_tell_what_each_worker_said(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        answers = await mesh.load("m", 3, replace=True)
        self.assertEqual([(each.worker, each.said) for each in answers], [(7, "done"), (8, "no such version")])
        self.assertIsNone(answers[0].error)
        self.assertIsInstance(answers[1].error, shoal.NotFound)
        await mesh.unload("m")
        self.assertEqual(gateway.managed, [("load", "m", 3, True), ("unload", "m", 0, False)])

    async def test_a_load_waits_for_a_gateway(self):
        first = FakeGateway()
        self.addCleanup(first.stop)
        mesh = await self.connected(first)
        first.stop()
        await self.counted(mesh, "lost")
        task = asyncio.create_task(mesh.load("m"))
        await asyncio.sleep(0)
        second = self.gateway(port=first.port, epoch=78)
        self.assertEqual(len(await task), 2)
        self.assertEqual(len(second.managed), 1)

    async def test_a_gateway_lost_meanwhile_leaves_the_caller_to_look(self):
        gateway = FakeGateway()
        self.addCleanup(gateway.stop)
        gateway.answers_manage = False
        mesh = await self.connected(gateway)
        task = asyncio.create_task(mesh.load("m"))
        await self.seen(gateway, lambda: gateway.managed)
        gateway.stop()
        with self.assertRaisesRegex(shoal.Unavailable, "look at the models"):
            await task


if __name__ == "__main__":
    unittest.main()
