"""The SDK against the real mesh: `shoal up` with the identity model. Runs if SHOAL_BIN names the executable's folder;
SHOAL_FIXTURES is the folder that tools/export/fixtures.py wrote (build/fixtures)."""

import asyncio
import os
import signal
import time
import unittest

import numpy as np
import shoal

from running_mesh import BIN, RunningMesh


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class MeshTest(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.running = RunningMesh("--threads", "1")
        cls.addClassCleanup(cls.running.stop)

    async def asyncSetUp(self) -> None:
        self.mesh = await self.enterAsyncContext(shoal.connect(self.running.address))

    async def same(self, x: np.ndarray, deadline: float = 20.0) -> shoal.Result:
        result = await self.mesh.infer("identity", {"x": x}, deadline=deadline)
        self.assertEqual(result["y"].dtype, x.dtype)
        self.assertEqual(result["y"].tobytes(), x.tobytes())
        return result

    async def test_answers_are_bit_equal_at_every_size(self):
        random = np.random.default_rng(1)
        for shape in ((1, 1), (1, 1024), (3, 7), (32, 1000), (1, 1 << 18), (5, 1 << 20)):  # up to 20 MiB
            with self.subTest(shape):
                bits = random.integers(0, 2**32, shape, np.uint32)
                result = await self.same(bits.view(np.float32))
                self.assertEqual((result.model, result.version), ("identity", 1))
                self.assertGreaterEqual(result.batch_rows, shape[0])
                self.assertGreater(result.compute_time, 0)

    async def test_many_at_once_each_get_their_own(self):
        async def one(number: int) -> None:
            await self.same(np.full((1 + number % 3, 1 + number % 50), number, np.float32))

        await asyncio.gather(*(one(number) for number in range(500)))

    async def test_more_than_the_credit_is_only_slower(self):
        await asyncio.gather(*(self.same(np.full((1, 1 << 20), n, np.float32), 60.0) for n in range(80)))  # 320 MiB

    async def test_credit_comes_back_with_each_answer(self):
        async def some() -> None:
            for _ in range(150):
                await self.same(np.ones((1, 4), np.float32))

        await asyncio.gather(*(some() for _ in range(32)))  # more than twice what any hop grants

    async def test_the_mesh_tells_its_models_and_figures(self):
        (model,) = await self.mesh.models()
        self.assertEqual((model.name, model.version, model.state), ("identity", 1, "ready"))
        self.assertEqual([(spec.name, spec.dtype, len(spec.dims)) for spec in model.inputs], [("x", "FP32", 2)])
        self.assertEqual([spec.name for spec in model.outputs], ["y"])
        self.assertIn("gateway", [report.service for report in await self.mesh.status()])

    async def test_a_model_is_unloaded_and_loaded_again(self):
        said = await self.mesh.unload("identity")
        self.assertIsNone(said[0].error)
        with self.assertRaises(shoal.NotFound):
            await self.mesh.infer("identity", {"x": np.ones((1, 1), np.float32)})
        self.assertIn("loaded version 1", (await self.mesh.load("identity"))[0].said)
        self.assertIsInstance((await self.mesh.load("nobody"))[0].error, shoal.NotFound)
        await self.same(np.ones((2, 3), np.float32))

    async def test_what_is_wrong_is_refused_and_the_mesh_goes_on(self):
        x = np.zeros((1, 4), np.float32)
        wrong = [
            (shoal.NotFound, "'nonesuch'", "nonesuch", {"x": x}, {}),
            (shoal.NotFound, "version 9", "identity", {"x": x}, {"version": 9}),
            (shoal.InvalidArgument, "name", "../identity", {"x": x}, {}),
            (shoal.InvalidArgument, "'x' has type FP64", "identity", {"x": x.astype(np.float64)}, {}),
            (shoal.InvalidArgument, "'x' has shape", "identity", {"x": x[0]}, {}),
            (shoal.InvalidArgument, "'x' has shape", "identity", {"x": np.zeros((0, 4), np.float32)}, {}),
            (shoal.InvalidArgument, "'x' is missing", "identity", {}, {}),
            (shoal.InvalidArgument, "no input 'z'", "identity", {"x": x, "z": x}, {}),
            (shoal.InvalidArgument, "no output 'z'", "identity", {"x": x}, {"outputs": ["z"]}),
        ]
        for kind, sentence, model, inputs, options in wrong:
            with self.subTest(sentence):
                with self.assertRaisesRegex(kind, sentence) as caught:
                    await self.mesh.infer(model, inputs, **options)
                self.assertFalse(caught.exception.retryable)
        await self.same(x)

    async def test_cancelled_requests_leave_room_for_others(self):
        large = np.zeros((5, 1 << 20), np.float32)
        for _ in range(3):
            tasks = [asyncio.create_task(self.mesh.infer("identity", {"x": large})) for _ in range(8)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self.assertTrue(all(task.cancelled() for task in tasks))
        await self.same(np.ones((2, 3), np.float32))

    async def test_a_deadline_too_short_ends_in_time(self):
        began = time.monotonic()
        with self.assertRaises(shoal.DeadlineExceeded):
            await self.mesh.infer("identity", {"x": np.zeros((5, 1 << 20), np.float32)}, deadline=0.001)
        self.assertLess(time.monotonic() - began, 0.251)
        await self.same(np.ones((2, 3), np.float32))


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class EndTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_mesh_that_is_told_to_end_drains_and_exits_with_zero(self):
        running = RunningMesh("--threads", "1")
        self.addCleanup(running.stop)
        x = np.ones((4, 1 << 16), np.float32)
        async with shoal.connect(running.address, retry_ratio=0, retry_reserve=0) as mesh:
            tasks = [asyncio.create_task(mesh.infer("identity", {"x": x})) for _ in range(200)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code = await asyncio.to_thread(running.stop)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertEqual(code, 0, running.log)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                self.assertIsInstance(outcome, shoal.Unavailable)
            else:
                np.testing.assert_array_equal(outcome["y"], x)
        self.assertTrue(any(isinstance(outcome, shoal.Result) for outcome in outcomes))


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class FailoverTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_gateway_that_is_killed_or_frozen_costs_no_request_while_the_budget_lasts(self):
        running = RunningMesh("--processes", "--scale", "gateway=2", "--scale", "worker=1")
        self.addCleanup(running.stop)
        x = np.ones((1, 16), np.float32)
        async with shoal.connect(*running.natives, retry_reserve=50) as mesh:
            await mesh.infer("identity", {"x": x})
            for number, harm in ((1, signal.SIGKILL), (2, signal.SIGSTOP)):
                with self.subTest(harm.name):
                    process = running.process_id("gateway", number)
                    tasks = [asyncio.create_task(mesh.infer("identity", {"x": x}, deadline=15.0)) for _ in range(12)]
                    await asyncio.sleep(0)
                    os.kill(process, harm)
                    tasks += [asyncio.create_task(mesh.infer("identity", {"x": x}, deadline=15.0)) for _ in range(12)]
                    for result in await asyncio.gather(*tasks):
                        np.testing.assert_array_equal(result["y"], x)
        self.assertEqual(running.stop(), 0, running.log)


if __name__ == "__main__":
    unittest.main()
