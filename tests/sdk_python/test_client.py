"""The asyncio client against a gateway that does as it is told."""

import asyncio
import contextlib
import time
import unittest
from unittest import mock

import numpy as np
import shoal
from fake_gateway import WINDOW, FakeGateway, Request, echo
from shoal._schema import PIECE_SIZE, PROTOCOL_VERSION, schema
from shoal.mesh import REPLY_ROOM

X = np.arange(12, dtype=np.float32).reshape(3, 4)


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


class Greeting(ClientTest):
    async def test_the_hello_says_who_we_are(self):
        gateway = self.gateway()
        await self.connected(gateway, max_message_bytes=123456)
        hello = gateway.hellos[0]
        self.assertEqual(hello["protocolVersion"], PROTOCOL_VERSION)
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
        gateway = self.gateway(version=PROTOCOL_VERSION + 1)
        with self.assertRaisesRegex(shoal.Incompatible, f"version {PROTOCOL_VERSION + 1}"):
            await shoal.connect(gateway.address)

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

        mesh = await self.connected(self.gateway(by_version))
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


class Credit(ClientTest):
    async def in_flight_at_once(self, **credit) -> int:
        """How many of 20 requests of 1000 bytes the client sends before anything is answered, and that all end."""
        gateway = self.gateway(silence, **credit)
        mesh = await self.connected(gateway)
        tasks = [asyncio.create_task(mesh.infer("m", {"x": np.zeros(1000, np.uint8)})) for _ in range(20)]
        # What the client asks comes after all that it was willing to send before.
        await asyncio.sleep(0)
        await mesh.models()
        sent = len(gateway.requests)

        def answer_all() -> None:
            gateway.answer = echo
            for request in gateway.requests[:sent]:
                echo(gateway, request)

        gateway.call(answer_all)
        await asyncio.gather(*tasks)
        self.assertEqual(len(gateway.requests), 20)
        return sent

    async def test_no_more_messages_are_in_flight_than_granted(self):
        self.assertEqual(await self.in_flight_at_once(credit_messages=3), 3)

    async def test_no_more_bytes_are_in_flight_than_granted(self):
        self.assertEqual(await self.in_flight_at_once(credit_bytes=5 * (1000 + REPLY_ROOM) + 500), 5)

    async def test_a_request_larger_than_all_the_credit_goes_alone(self):
        self.assertEqual(await self.in_flight_at_once(credit_bytes=999), 1)

    async def test_waiting_for_credit_ends_at_the_deadline(self):
        gateway = self.gateway(silence, credit_messages=1)
        mesh = await self.connected(gateway)
        first = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.seen(gateway, lambda: gateway.requests)
        with self.assertRaisesRegex(shoal.DeadlineExceeded, "room"):
            await mesh.infer("m", {"x": X}, deadline=0.05)
        self.assertEqual(len(gateway.requests), 1)
        first.cancel()
        await asyncio.wait([first])

    async def test_what_the_gateway_would_not_take_is_too_large(self):
        gateway = self.gateway(max_message_bytes=100)
        mesh = await self.connected(gateway)
        with self.assertRaisesRegex(shoal.TooLarge, "101 bytes; the gateway takes 100"):
            await mesh.infer("m", {"x": np.zeros(101, np.uint8)})
        await mesh.infer("m", {"x": np.zeros(100, np.uint8)})


class Pieces(ClientTest):
    async def test_large_tensors_travel_in_pieces_both_ways(self):
        large = np.arange(3 * PIECE_SIZE // 4 + 17, dtype=np.int32)
        many = {"a": large, "none": np.zeros((0, 3), np.float32), "b": np.arange(5, dtype=np.uint8), "c": large[::-1]}
        gateway = self.gateway(lambda gateway, request: gateway.reply(request, request.inputs))
        mesh = await self.connected(gateway)
        result = await mesh.infer("m", many)
        self.assertEqual(gateway.pieces_taken, 4 + 1 + 4)
        self.assertEqual(list(result), list(many))
        for name, array in many.items():
            np.testing.assert_array_equal(result[name], array)
            self.assertFalse(result[name].flags.writeable)

    async def test_small_requests_do_not_wait_behind_a_large_one(self):
        gateway = self.gateway(gives_more=False)
        mesh = await self.connected(gateway)
        large = asyncio.create_task(mesh.infer("large", {"x": np.zeros(10 * PIECE_SIZE, np.uint8)}))
        await self.seen(gateway, lambda: gateway.pieces_taken == WINDOW)
        await mesh.infer("small", {"x": X})
        self.assertEqual((gateway.pieces_taken, gateway.most_unanswered), (WINDOW, WINDOW))

        def go_on() -> None:
            gateway.gives_more = True
            for client, transfer in gateway.owed_more:
                gateway.more(client, transfer)

        gateway.call(go_on)
        self.assertEqual((await large)["y"].nbytes, 10 * PIECE_SIZE)

    async def test_a_transfer_that_has_begun_is_finished_before_its_cancel(self):
        gateway = self.gateway(silence, gives_more=False, credit_messages=1)
        mesh = await self.connected(gateway)
        large = asyncio.create_task(mesh.infer("large", {"x": np.zeros(6 * PIECE_SIZE, np.uint8)}))
        await self.seen(gateway, lambda: gateway.pieces_taken == WINDOW)
        large.cancel()
        await asyncio.wait([large])
        next_one = asyncio.create_task(mesh.infer("next", {"x": X}))
        await mesh.models()
        self.assertEqual(gateway.cancelled, [])
        gateway.answer = echo

        def go_on() -> None:
            gateway.gives_more = True
            for client, transfer in gateway.owed_more:
                gateway.more(client, transfer)

        gateway.call(go_on)
        await next_one  # its credit came back with the cancel
        self.assertEqual(gateway.pieces_taken, 6)
        order = [kind for kind in gateway.kinds if kind in ("piece", "cancel", "infer")]
        self.assertEqual(order, ["infer"] + ["piece"] * 6 + ["cancel", "infer"])

    async def test_large_requests_are_sent_one_after_the_other(self):
        gateway = self.gateway(gives_more=False)
        mesh = await self.connected(gateway)
        tasks = [
            asyncio.create_task(mesh.infer(name, {"x": np.full(3 * PIECE_SIZE, 7, np.uint8)}))
            for name in ("first", "second", "taken back before its turn", "third")
        ]
        await self.seen(gateway, lambda: gateway.pieces_taken == WINDOW)
        taken_back = tasks.pop(2)
        taken_back.cancel()
        await asyncio.wait([taken_back])

        def go_on() -> None:
            gateway.gives_more = True
            for client, transfer in gateway.owed_more:
                gateway.more(client, transfer)

        gateway.call(go_on)
        for result in await asyncio.gather(*tasks):
            self.assertEqual(result["y"].nbytes, 3 * PIECE_SIZE)
        self.assertEqual([request.model for request in gateway.requests], ["first", "second", "third"])
        order = [kind for kind in gateway.kinds if kind in ("piece", "cancel", "infer")]
        self.assertEqual(order, (["infer"] + ["piece"] * 3) * 3)

    async def test_pieces_nobody_waits_for_are_taken_to_the_end(self):
        gateway = self.gateway(silence)
        mesh = await self.connected(gateway)
        with self.assertRaises(shoal.DeadlineExceeded):
            await mesh.infer("m", {"x": X}, deadline=0.02)
        request = gateway.requests[0]
        gateway.call(lambda: gateway.reply(request, {"y": np.zeros(7 * PIECE_SIZE, np.uint8)}))
        await self.seen(gateway, lambda: gateway.kinds.count("more") == 7)
        self.assertEqual(mesh.counts(), {"late": 1})

    async def test_credit_comes_back_from_an_answer_abandoned_on_its_way(self):
        def begin(gateway: FakeGateway, request: Request) -> None:
            if request.model == "next":
                return echo(gateway, request)
            gateway.send(request.client, gateway.outcome(request, {"y": np.zeros(2 * PIECE_SIZE, np.uint8)}, 9))
            gateway.send(request.client, gateway.piece(9, 0, 0), bytes(PIECE_SIZE))

        gateway = self.gateway(begin, credit_messages=1)
        mesh = await self.connected(gateway)
        task = asyncio.create_task(mesh.infer("large", {"x": X}))
        await self.seen(gateway, lambda: gateway.kinds.count("more") == 1)
        task.cancel()
        await asyncio.wait([task])
        client = gateway.clients[0]
        gateway.call(lambda: gateway.send(client, gateway.piece(9, 0, PIECE_SIZE), bytes(PIECE_SIZE)))
        await mesh.infer("next", {"x": X})
        self.assertEqual(mesh.counts(), {"late": 1})

    async def test_damaged_transfers_are_corrupt(self):
        piece = b"\0" * PIECE_SIZE
        wrong = {
            "a gap": [(0, PIECE_SIZE, piece)],
            "another tensor": [(1, 0, piece)],
            "a short piece": [(0, 0, piece[:-1])],
            "a long piece": [(0, 0, piece + b"\0")],
            "an end too late": [(0, 0, piece), (0, PIECE_SIZE, piece)],
        }

        def damaged(gateway: FakeGateway, request: Request) -> None:
            transfer = 1000 + request.id
            head = gateway.outcome(request, {"y": np.zeros(PIECE_SIZE + 8, np.uint8)}, transfer)
            gateway.send(request.client, head)
            for tensor, offset, data in wrong[request.model]:
                gateway.send(request.client, gateway.piece(transfer, tensor, offset), data)

        gateway = self.gateway(damaged)
        mesh = await self.connected(gateway)
        for what in wrong:
            with self.subTest(what), self.assertRaisesRegex(shoal.Corrupt, "damaged"):
                await mesh.infer(what, {"x": X})
        self.assertEqual(mesh.counts()["junk"], len(wrong))
        # Each piece is answered, right or wrong: the gateway's window counts them.
        await self.seen(gateway, lambda: gateway.kinds.count("more") == len(wrong) + 1)

    async def test_an_answer_larger_than_we_said_we_take_is_not_begun(self):
        gateway = self.gateway(
            lambda gateway, request: gateway.reply(request, {"y": np.zeros(2 * PIECE_SIZE, np.uint8)})
        )
        mesh = await self.connected(gateway, max_message_bytes=PIECE_SIZE)
        with self.assertRaisesRegex(shoal.Corrupt, "although this client takes"):
            await mesh.infer("m", {"x": X})


class Loss(ClientTest):
    async def test_requests_in_flight_fail_and_the_connection_heals(self):
        first = FakeGateway(silence)
        self.addCleanup(first.stop)
        mesh = await self.connected(first)
        task = asyncio.create_task(mesh.infer("m", {"x": X}))
        await self.seen(first, lambda: first.requests)
        asked = asyncio.create_task(mesh.infer("m", {"x": X}, deadline=0.05))  # sent, too
        first.stop()
        for lost in (task, asked):
            with self.assertRaises(shoal.Unavailable) as caught:
                await lost
            self.assertTrue(caught.exception.retryable)

        waiting = asyncio.create_task(mesh.infer("m", {"x": X}))  # waits for the next gateway
        models = asyncio.create_task(mesh.models())
        second = self.gateway(port=first.port, epoch=78)
        np.testing.assert_array_equal((await waiting)["y"], X)
        self.assertEqual(len(await models), 1)
        self.assertEqual(len(second.requests), 1)
        self.assertEqual(second.hellos[0]["instance"], first.hellos[0]["instance"])

    async def test_a_request_that_finds_no_gateway_in_time_is_unavailable(self):
        gateway = FakeGateway()
        self.addCleanup(gateway.stop)
        mesh = await self.connected(gateway)
        gateway.stop()
        await self.counted(mesh, "lost")
        with self.assertRaisesRegex(shoal.Unavailable, "could not be sent in time"):
            await mesh.infer("m", {"x": X}, deadline=0.05)
        with self.assertRaises(shoal.Unavailable):
            await mesh.models(deadline=0.05)

    async def test_a_goodbye_fails_what_is_in_flight_at_once(self):
        def leave(gateway: FakeGateway, request: Request) -> None:
            gateway.answer = echo
            gateway.send(request.client, schema.Envelope.new_message(epoch=gateway.epoch, goodbye=None).to_bytes())

        mesh = await self.connected(self.gateway(leave))
        with self.assertRaisesRegex(shoal.Unavailable, "shut down"):
            await mesh.infer("m", {"x": X})
        await mesh.infer("m", {"x": X})

    async def test_a_gateway_silent_for_three_heartbeats_is_lost(self):
        gateway = self.gateway(silence, answers_heartbeats=False)
        with mock.patch("shoal._link.HEARTBEAT", 0.02):
            mesh = await self.connected(gateway)
            with self.assertRaisesRegex(shoal.Unavailable, "silent"):
                await mesh.infer("m", {"x": X})
        self.assertEqual(gateway.kinds.count("heartbeat"), 3)

    async def test_a_gateway_that_beats_is_kept(self):
        gateway = self.gateway(silence)
        with mock.patch("shoal._link.HEARTBEAT", 0.01):
            mesh = await self.connected(gateway)
            await self.seen(gateway, lambda: gateway.kinds.count("heartbeat") > 10)
        self.assertEqual(mesh.counts(), {})

    async def test_a_busy_loop_does_not_take_a_gateway_for_lost(self):
        gateway = self.gateway()
        with mock.patch("shoal._link.HEARTBEAT", 0.01):
            mesh = await self.connected(gateway)
            time.sleep(0.2)  # the user's code blocks the loop for twenty heartbeats
            await mesh.infer("m", {"x": X})
        self.assertEqual(mesh.counts(), {})


class Hostility(ClientTest):
    async def test_junk_is_counted_and_the_connection_goes_on(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        client = gateway.clients[0]
        good = gateway.catalogue()
        scheduler_message = schema.Envelope.new_message(epoch=gateway.epoch, offer={"id": 1}).to_bytes()
        more_unknown = gateway.piece(4711, 0, 0)
        junk = [
            [b""],
            [b"\0"],
            [b"\0" * 8],
            [b"\xff" * 64],
            [good[:-8]],
            [good[:16] + b"\xff" * (len(good) - 16)],
            [scheduler_message],
            [more_unknown, b"x"],
            [more_unknown],
            [b"", b"", b""],
        ]
        random = np.random.default_rng(7)
        for _ in range(300):  # one byte of a good message turned
            damaged = bytearray(good)
            damaged[random.integers(len(good))] ^= 1 << random.integers(8)
            junk.append([bytes(damaged)])

        def attack() -> None:
            for frames in junk:
                gateway.send(client, *frames)

        gateway.call(attack)
        np.testing.assert_array_equal((await mesh.infer("m", {"x": X}))["y"], X)
        counts = mesh.counts()
        self.assertGreaterEqual(counts["junk"], 10)
        self.assertNotIn("lost", counts)

    async def test_a_stale_epoch_is_dropped_and_counted(self):
        def stale_first(gateway: FakeGateway, request: Request) -> None:
            gateway.epoch -= 1
            gateway.fail(request, 0, "from a former life")
            gateway.epoch += 1
            echo(gateway, request)

        mesh = await self.connected(self.gateway(stale_first))
        await mesh.infer("m", {"x": X})
        self.assertEqual(mesh.counts(), {"stale": 1})

    async def test_outputs_that_do_not_match_their_frames_are_corrupt(self):
        def damaged(gateway: FakeGateway, request: Request) -> None:
            y = np.zeros(4, np.float32)
            if request.model == "dims":
                envelope = gateway.envelope()
                outcome = envelope.init("outcome")
                outcome.id = request.id
                tensor = outcome.result.init("outputs", 1)[0]
                tensor.name, tensor.dtype, tensor.hasData = "y", request.version, True
                tensor.dims = [int(d) for d in request.inputs["x"]]
                return gateway.send(request.client, envelope.to_bytes(), b"\0" * 16)
            frames = {"short": [b"\0" * 15], "long": [b"\0" * 17], "none": [], "two": [b"\0" * 16] * 2}[request.model]
            gateway.send(request.client, gateway.outcome(request, {"y": y}), *frames)

        gateway = self.gateway(damaged)
        mesh = await self.connected(gateway)
        for model in ("short", "long", "none", "two"):
            with self.subTest(model), self.assertRaises(shoal.Corrupt):
                await mesh.infer(model, {"x": X})
        hostile_dims = ([-4], [-2, -2], [2**62, 4], [2**62, 2**62, 0], [5], [1] * 17)
        for dims in hostile_dims:
            with self.subTest(dims), self.assertRaises(shoal.Corrupt):
                await mesh.infer("dims", {"x": np.array(dims)}, version=11)
        for dtype in (13, 14, 255):
            with self.subTest(dtype=dtype), self.assertRaises(shoal.Corrupt):
                await mesh.infer("dims", {"x": np.array([4])}, version=dtype)
        self.assertEqual((await mesh.infer("dims", {"x": np.array([2, 2])}, version=11))["y"].shape, (2, 2))

    async def test_an_answer_to_nobody_is_counted(self):
        gateway = self.gateway()
        mesh = await self.connected(gateway)
        await mesh.infer("m", {"x": X})
        gateway.call(lambda: echo(gateway, gateway.requests[0]))  # a second time
        await self.counted(mesh, "late")
        gateway.call(lambda: gateway.send(gateway.clients[0], gateway.piece(9, 0, 0), b"x"))
        await self.counted(mesh, "junk")
        await mesh.infer("m", {"x": X})

    async def test_a_gateway_that_answers_before_it_welcomes_is_not_believed(self):
        def late_welcome(gateway: FakeGateway, client: bytes) -> None:
            gateway.send(client, gateway.catalogue())
            gateway.welcome(client)

        mesh = await self.connected(self.gateway(greeting=late_welcome))
        self.assertEqual(mesh.counts(), {"junk": 1})


class Misuse(ClientTest):
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
