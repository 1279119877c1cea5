"""The asyncio client against a gateway that does as it is told: what users ask and get."""

import asyncio
import contextlib
import os
import time
import unittest

import numpy as np
import shoal
from client_case import ONCE, ClientTest, X, silence
from fake_gateway import FakeGateway, Request, echo
from shoal._schema import NEWEST_VERSION, OLDEST_VERSION, PIECE_SIZE, TAIL_SIZE


class Greeting(ClientTest):
    async def test_the_hello_says_who_we_are(self):
        gateway = self.gateway()
        await self.connected(gateway, max_message_bytes=123456)
        hello = gateway.hellos[0]
        self.assertEqual((hello["protocolVersion"], hello["newestVersion"]), (OLDEST_VERSION, NEWEST_VERSION))
        self.assertEqual(hello["service"], "client")
        self.assertEqual(hello["maxMessageBytes"], 123456)
        self.assertGreater(hello["epoch"], 1_600_000_000_000_000)

    async def test_a_refusal_of_our_version_is_incompatible_at_once(self):
        def refuse(gateway: FakeGateway, client: bytes) -> None:
            envelope = gateway.envelope()
            error = envelope.init("refused")
            error.code, error.message = int(shoal.ErrorCode.INCOMPATIBLE), "this gateway speaks version 2"
            gateway.send(client, envelope.to_bytes())

        gateway = self.gateway(greeting=refuse)
        with self.assertRaisesRegex(shoal.Incompatible, "speaks version 2"):
            await shoal.connect(gateway.address)
        self.assertEqual(len(gateway.hellos), 1)

    async def test_a_welcome_of_another_version_is_incompatible(self):
        gateway = self.gateway(versions=(NEWEST_VERSION + 1, NEWEST_VERSION + 2))
        with self.assertRaisesRegex(shoal.Incompatible, f"versions {NEWEST_VERSION + 1} to {NEWEST_VERSION + 2}"):
            await shoal.connect(gateway.address)

    async def test_gateways_of_the_releases_before_and_after_are_spoken_with(self):
        for versions in ((OLDEST_VERSION, 0), (OLDEST_VERSION, OLDEST_VERSION), (1, 4), (NEWEST_VERSION, NEWEST_VERSION + 1)):
            with self.subTest(versions):
                mesh = await self.connected(self.gateway(versions=versions))
                for size in (1, TAIL_SIZE // 4, TAIL_SIZE // 4 + 1, 0):  # the gateway checks that they come as they may
                    x = np.arange(size, dtype=np.float32)
                    np.testing.assert_array_equal((await mesh.infer("m", {"x": x}))["y"], x)

    async def test_a_refusal_that_may_pass_is_tried_again(self):
        def refuse_once(gateway: FakeGateway, client: bytes) -> None:
            if len(gateway.hellos) > 1:
                return gateway.welcome(client)
            envelope = gateway.envelope()
            error = envelope.init("refused")
            error.code, error.message, error.retryable = int(shoal.ErrorCode.OVERLOADED), "too many clients", True
            gateway.send(client, envelope.to_bytes())

        gateway = self.gateway(greeting=refuse_once)
        mesh = await self.connected(gateway)
        self.assertEqual(mesh.counts()["lost"], 1)

    async def test_nobody_at_the_address_is_unavailable_when_the_timeout_is_over(self):
        gateway = FakeGateway()
        gateway.stop()
        began = time.monotonic()
        with self.assertRaises(shoal.Unavailable) as caught:
            await shoal.connect(gateway.address, timeout=0.2)
        self.assertTrue(caught.exception.retryable)
        self.assertLess(time.monotonic() - began, 1)

    async def test_something_else_at_the_port_is_unavailable(self):
        async def http(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(http, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with self.assertRaises(shoal.Unavailable):
                await shoal.connect(f"tcp://127.0.0.1:{port}", timeout=0.3)

    async def test_what_cannot_be_an_address_is_refused(self):
        for address in ("", "127.0.0.1:8002", "inproc://x", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:port"):
            with self.subTest(address), self.assertRaises(shoal.InvalidArgument):
                await shoal.connect(address, timeout=0.2)

    async def test_closing_says_goodbye_and_ends_everything(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway)
        task = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.seen(gateway, lambda: gateway.requests)
        await mesh.close()
        with self.assertRaises(shoal.Unavailable) as caught:
            await task
        self.assertFalse(caught.exception.retryable)
        await self.seen(gateway, lambda: "goodbye" in gateway.kinds)
        with self.assertRaises(shoal.Unavailable):
            await mesh.infer("m", {"x": X})
        await mesh.close()


class Inference(ClientTest):
    async def test_outputs_come_back_with_what_is_known_about_them(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        result = await mesh.infer("identity", {"x": X}, outputs=["y"], deadline=2.0)
        np.testing.assert_array_equal(result["y"], X)
        self.assertEqual((list(result), result.model, result.version, result.batch_rows), (["y"], "identity", 3, 8))
        self.assertAlmostEqual(result.queue_time, 0.0015)
        self.assertAlmostEqual(result.compute_time, 0.0025)
        request = gateway.requests[0]
        self.assertEqual((request.model, request.version, request.outputs), ("identity", 0, ["y"]))
        self.assertLessEqual(request.time_left_us, 2_000_000)
        self.assertGreater(request.time_left_us, 1_000_000)

    async def test_the_priority_travels_with_the_request(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        for priority in ("standard", "critical", "batch"):
            await mesh.infer("m", {"x": X}, priority=priority)
        self.assertEqual([request.priority for request in gateway.requests], ["standard", "critical", "batch"])
        with self.assertRaisesRegex(shoal.InvalidArgument, "one of standard, critical, batch"):
            await mesh.infer("m", {"x": X}, priority="urgent")

    async def test_every_dtype_and_form_of_array_arrives_as_it_was(self):
        mesh = await self.connected(self.gateway())
        dtypes = ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
        arrays = [np.array([[1, 0, 1]], dtype) for dtype in dtypes]
        arrays += [np.float64(3.5), np.zeros((0, 7), np.int32), np.zeros((2, 0), np.uint8)]
        arrays += [X.T, X[:, ::2], np.asfortranarray(X), np.arange(3, dtype=">i8"), np.array([True, False])]
        arrays += [np.array([0x3F80, 0xC000], np.uint16).view(shoal.bfloat16)]
        for array in arrays:
            with self.subTest(array):
                back = (await mesh.infer("m", {"x": array}))["y"]
                self.assertEqual(back.dtype, np.asarray(array).dtype.newbyteorder("<"))
                self.assertEqual(back.shape, array.shape)
                self.assertEqual(back.tobytes(), np.ascontiguousarray(array, back.dtype).tobytes())

    async def test_received_arrays_are_aligned_and_read_only(self):
        mesh = await self.connected(self.gateway())
        for size in (3, 5000, 100_000, PIECE_SIZE // 2):
            back = (await mesh.infer("m", {"x": np.arange(size, dtype=np.float64)}))["y"]
            self.assertFalse(back.flags.writeable)
            self.assertTrue(back.flags.aligned)
            self.assertEqual(back[-1], size - 1)

    async def test_large_answers_are_views_of_what_the_network_gave(self):
        mesh = await self.connected(self.gateway())
        back = (await mesh.infer("m", {"x": np.zeros(1 << 18, np.float32)}))["y"]
        self.assertFalse(back.flags.owndata)

    async def test_many_requests_share_one_connection_and_none_is_mixed_up(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)

        async def one(number: int) -> None:
            back = await mesh.infer("m", {"x": np.full(number % 50, number)})
            np.testing.assert_array_equal(back["y"], np.full(number % 50, number))

        await asyncio.gather(*(one(number) for number in range(1000)))
        self.assertEqual(len(gateway.hellos), 1)
        self.assertEqual(mesh.in_flight, 0)

    async def test_answers_out_of_order_find_their_requests(self):
        held: list[Request] = []

        def backwards(gateway: FakeGateway, request: Request) -> None:
            held.append(request)
            if len(held) == 3:
                for late in reversed(held):
                    echo(gateway, late)

        mesh = await self.connected(self.gateway(backwards))
        results = await asyncio.gather(*(mesh.infer("m", {"x": np.array([n])}) for n in range(3)))
        self.assertEqual([int(result["y"][0]) for result in results], [0, 1, 2])

    async def test_impossible_arguments_are_refused_before_anything_is_sent(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        calls = [
            ("m", [X], {}),
            ("m", {"x": ["text"]}, {}),
            ("m", {"x": np.zeros(2, np.complex64)}, {}),
            ("m", {"x": [[1, 2], [3]]}, {}),
            ("m", {"x": np.zeros((1,) * 17)}, {}),
            ("m", {1: X}, {}),
            ("m", {"x" * 257: X}, {}),
            ("m\ud800", {"x": X}, {}),
            (None, {"x": X}, {}),
            ("m", {"x": X}, {"deadline": 0}),
            ("m", {"x": X}, {"deadline": float("nan")}),
            ("m", {"x": X}, {"deadline": "1"}),
            ("m", {"x": X}, {"version": -1}),
            ("m", {"x": X}, {"version": 2**64}),
            ("m", {"x": X}, {"outputs": "y"}),
            ("m", {"x": X}, {"outputs": [None]}),
        ]
        for model, inputs, options in calls:
            with self.subTest(model=model, options=options), self.assertRaises(shoal.InvalidArgument):
                await mesh.infer(model, inputs, **options)
        await mesh.infer("m", {"x": X})
        self.assertEqual(gateway.kinds, ["hello", "infer"])

    async def test_models_and_status_tell_what_the_gateway_knows(self):
        mesh = await self.connected(self.gateway())
        (model,) = await mesh.models()
        self.assertEqual((model.name, model.version, model.state, model.max_batch), ("identity", 3, "ready", 32))
        self.assertEqual(str(model.inputs[0]), "x FP32[batch:1..32, 4]")
        self.assertEqual(str(model.outputs[0]), "y FP32[?:1..]")
        reports = await asyncio.gather(*(mesh.status() for _ in range(5)))
        self.assertEqual(reports[4], [shoal.ServiceReport("gateway", 1, {"answered": 0.0})])


class Errors(ClientTest):
    async def test_each_code_has_its_class(self):
        def by_version(gateway: FakeGateway, request: Request) -> None:
            gateway.fail(request, request.version, f"error {request.version}", retryable=True, retry_after_ms=250)

        mesh = await self.connected(self.gateway(by_version), **ONCE)
        for code in shoal.ErrorCode:
            name = "".join(part.capitalize() for part in code.name.split("_"))
            with self.subTest(name):
                # Version 0 means the highest; the gateway takes it for code 0, internal.
                with self.assertRaisesRegex(shoal.ShoalError, f"error {int(code)}") as caught:
                    await mesh.infer("m", {"x": X}, version=int(code))
                error = caught.exception
                self.assertIs(type(error), getattr(shoal, name))
                self.assertEqual((error.code, error.retryable, error.retry_after), (code, True, 0.25))
                self.assertEqual(error.request_id, int(code) + 1)

    async def test_a_code_of_the_future_is_internal(self):
        mesh = await self.connected(self.gateway(lambda gateway, request: gateway.fail(request, 4711, "new")))
        with self.assertRaisesRegex(shoal.Internal, "new .*4711") as caught:
            await mesh.infer("m", {"x": X})
        self.assertIsNone(caught.exception.retry_after)


class Time(ClientTest):
    async def test_a_silent_gateway_does_not_outlast_the_deadline(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway)
        began = time.monotonic()
        with self.assertRaises(shoal.DeadlineExceeded):
            await mesh.infer("m", {"x": X}, deadline=0.1)
        self.assertLess(time.monotonic() - began, 0.1 + 0.25)
        await self.seen(gateway, lambda: gateway.cancelled == [gateway.requests[0].id])

    async def test_the_default_deadline_is_that_of_the_connection(self):
        mesh = await self.connected(self.gateway(silence), default_deadline=0.05)
        with self.assertRaises(shoal.DeadlineExceeded):
            await mesh.infer("m", {"x": X})

    async def test_the_gateways_own_answer_at_the_deadline_is_preferred(self):
        mesh = await self.connected(
            self.gateway(lambda gateway, request: gateway.fail(request, 5, "2 of 3 workers are busy"))
        )
        with self.assertRaisesRegex(shoal.DeadlineExceeded, "workers are busy"):
            await mesh.infer("m", {"x": X}, deadline=0.1)

    async def test_a_late_answer_is_counted_and_dropped(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway)
        with self.assertRaises(shoal.DeadlineExceeded):
            await mesh.infer("m", {"x": X}, deadline=0.02)
        gateway.call(lambda: echo(gateway, gateway.requests[0]))
        await self.counted(mesh, "late")

    async def test_cancelling_the_task_cancels_the_request(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway)
        task = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.seen(gateway, lambda: gateway.requests)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.seen(gateway, lambda: gateway.cancelled == [gateway.requests[0].id])
        self.assertEqual(mesh.in_flight, 0)

    async def test_a_cancelled_request_that_was_never_sent_stays_unsent(self):
        gateway = self.gateway(silence, credit_messages=1)
        mesh = await self.connected(gateway)
        first = asyncio.create_task(mesh.infer("first", {"x": X}))
        await self.seen(gateway, lambda: gateway.requests)
        second = asyncio.create_task(mesh.infer("second", {"x": X}))
        third = asyncio.create_task(mesh.infer("third", {"x": X}))
        await asyncio.sleep(0)
        for task in (second, first):
            task.cancel()
        await self.seen(gateway, lambda: len(gateway.requests) == 2)
        self.assertEqual([request.model for request in gateway.requests], ["first", "third"])
        self.assertEqual(gateway.cancelled, [gateway.requests[0].id])
        third.cancel()
        await asyncio.wait([first, second, third])


class Misuse(ClientTest):
    async def test_a_forked_child_is_told_to_open_its_own(self):
        mesh = await self.connected(self.gateway())
        await mesh.infer("m", {"x": X})
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mesh._session.check()
            except shoal.InvalidArgument as told:
                code = 0 if "open another one in the child" in str(told) else 2
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        await mesh.infer("m", {"x": X})

    async def test_a_mesh_that_is_not_open_says_so(self):
        gateway = self.gateway()
        mesh = shoal.connect(gateway.address)
        with self.assertRaisesRegex(shoal.InvalidArgument, "not open"):
            await mesh.infer("m", {"x": X})
        async with mesh:
            with self.assertRaisesRegex(shoal.InvalidArgument, "opened before"):
                await mesh.open()

    async def test_impossible_options_are_refused(self):
        for options in ({"timeout": 0}, {"default_deadline": -1}, {"max_message_bytes": 0}):
            with self.subTest(options), self.assertRaises(shoal.InvalidArgument):
                shoal.connect("tcp://127.0.0.1:1", **options)

    async def test_an_opening_that_is_cancelled_leaves_nothing_behind(self):
        gateway = self.gateway(greeting=lambda gateway, client: None)
        task = asyncio.create_task(shoal.connect(gateway.address).open())
        await self.seen(gateway, lambda: gateway.hellos)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.assertTrue(task.cancelled())


if __name__ == "__main__":
    unittest.main()
