"""The SDK against the real mesh: `shoal up` with the identity model. Runs if SHOAL_BIN names the executable's folder;
SHOAL_FIXTURES is the folder that tools/export/fixtures.py wrote (build/fixtures)."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import shoal

BIN = os.environ.get("SHOAL_BIN")
FIXTURES = Path(os.environ.get("SHOAL_FIXTURES", Path(__file__).parents[2] / "build" / "fixtures"))


class RunningMesh:
    """`shoal up` with the identity model alone, on free ports."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        shutil.copytree(FIXTURES / "models" / "identity", Path(self._folder.name) / "identity")
        self._log = Path(self._folder.name) / ".log"  # beside the models, as no model's name begins with a dot
        self.log = ""
        command = [str(Path(BIN) / "shoal"), "up", "--models", self._folder.name]
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--native", "tcp://127.0.0.1:0", "--threads", "1"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                self.address = re.search(r"native=(\S+)", line)[1]
                return
        raise AssertionError(f"`shoal up` ended with {self.stop()} before it was ready:\n{self.log}")

    def stop(self) -> int:
        """Asks it to end; its exit code. May be called again."""
        if not self._log.exists():
            return self.process.returncode
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.log = self._log.read_text()
        self._folder.cleanup()
        return self.process.returncode


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class MeshTest(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.running = RunningMesh()
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
        running = RunningMesh()
        self.addCleanup(running.stop)
        x = np.ones((4, 1 << 16), np.float32)
        async with shoal.connect(running.address) as mesh:
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


if __name__ == "__main__":
    unittest.main()
