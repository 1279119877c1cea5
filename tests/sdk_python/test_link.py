"""The asyncio client's connection: credit, pieces, losses, and a gateway that means harm."""

import asyncio
import time
import unittest
from unittest import mock

import numpy as np
import shoal
from client_case import ONCE, ClientTest, X, silence
from fake_gateway import WINDOW, FakeGateway, Request, echo
from shoal._schema import PIECE_SIZE, schema
from shoal._gateway import REPLY_ROOM


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
        mesh = await self.connected(first, **ONCE)
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

    async def test_a_request_that_finds_no_gateway_in_time_was_never_sent(self):
        gateway = FakeGateway()
        self.addCleanup(gateway.stop)
        mesh = await self.connected(gateway)
        gateway.stop()
        await self.counted(mesh, "lost")
        with self.assertRaisesRegex(shoal.DeadlineExceeded, "no gateway could be reached") as caught:
            await mesh.infer("m", {"x": X}, deadline=0.05)
        self.assertTrue(caught.exception.retryable)
        with self.assertRaisesRegex(shoal.DeadlineExceeded, "no gateway could be reached"):
            await mesh.models(deadline=0.05)

    async def test_a_goodbye_fails_what_is_in_flight_at_once(self):
        def leave(gateway: FakeGateway, request: Request) -> None:
            gateway.answer = echo
            gateway.send(request.client, schema.Envelope.new_message(epoch=gateway.epoch, goodbye=None).to_bytes())

        mesh = await self.connected(self.gateway(leave), **ONCE)
        with self.assertRaisesRegex(shoal.Unavailable, "shut down"):
            await mesh.infer("m", {"x": X})
        await mesh.infer("m", {"x": X})

    async def test_a_gateway_silent_for_three_heartbeats_is_lost(self):
        gateway = self.gateway(silence, answers_heartbeats=False)
        with mock.patch("shoal._link.HEARTBEAT", 0.02):
            mesh = await self.connected(gateway, **ONCE)
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
            frames = {"short": [b"\0" * 15], "long": [b"\0" * 17], "none": [], "two": [b"\0" * 16] * 2}
            tails = {"tail": 16, "short tail": 15, "long tail": 17, "two tails": 32}
            head, *more = request.model.split(" and ")
            tail = b"\0" * tails.get(head, 0)
            gateway.send(request.client, gateway.outcome(request, {"y": y}) + tail, *frames.get(head, [b"\0" * 16] * len(more)))

        gateway = self.gateway(damaged)
        mesh = await self.connected(gateway)
        self.assertEqual((await mesh.infer("tail", {"x": X}))["y"].shape, (4,))
        for model in ("short", "long", "none", "two", "short tail", "long tail", "two tails", "tail and frame"):
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


if __name__ == "__main__":
    unittest.main()
