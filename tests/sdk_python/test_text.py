"""Text through the SDK, against the real mesh with MiniLM."""

import unittest

import numpy as np
import shoal

from running_mesh import BIN, FIXTURES, RunningMesh

TEXTS = ["A man plays the guitar.", "naïve café 北京 🎸", "", "a " * 200]


class Inputs(unittest.TestCase):
    def test_what_no_mesh_could_take_is_refused_at_once(self):
        for wrong in ("one string", [], ["fine", 3], ["\ud800"], ["x"] * 5000):
            with self.subTest(str(wrong)[:20]), self.assertRaises(shoal.InvalidArgument):
                shoal.text_inputs(wrong)
        inputs = shoal.text_inputs(["ab", "é"], truncate=True)
        self.assertEqual(inputs["text"].tobytes(), b"\x02\0\0\0ab\x02\0\0\0\xc3\xa9")
        self.assertTrue(inputs["truncate"][0])


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class Embedding(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.running = RunningMesh("--threads", "1", models=[FIXTURES / "models/minilm", FIXTURES / "models/identity"])
        cls.addClassCleanup(cls.running.stop)

    async def asyncSetUp(self) -> None:
        self.mesh = await self.enterAsyncContext(shoal.connect(self.running.address))

    async def test_parts_and_wholes_are_the_same(self):
        texts = [f"{TEXTS[i % 3]} {i}" for i in range(300)]
        told = []
        whole = await self.mesh.embed("minilm", texts, progress=lambda *each: told.append(each))
        self.assertEqual(whole.vectors.shape, (300, 384))
        self.assertEqual(whole.vectors.dtype, np.float32)
        self.assertEqual((whole.model, whole.version, whole.plan), ("minilm", 1, "fp32"))
        self.assertEqual(told[-1], (300, 0, 300))
        parts = await self.mesh.embed("minilm", texts, batch=7, window=3)
        np.testing.assert_allclose(np.asarray(whole), parts.vectors, atol=1e-5)
        np.testing.assert_array_equal(whole.token_counts, parts.token_counts)
        np.testing.assert_allclose(np.linalg.norm(whole.vectors, axis=1), 1, atol=1e-4)

    async def test_infer_takes_text_too(self):
        result = await self.mesh.infer("minilm", shoal.text_inputs(TEXTS), outputs=["token_counts", "sentence_embedding"])
        self.assertEqual(list(result), ["token_counts", "sentence_embedding"])
        self.assertEqual(result["token_counts"][2], 2)  # [CLS] and [SEP] alone

    async def test_errors_say_which_texts(self):
        with self.assertRaisesRegex(shoal.InvalidArgument, "text 1: it has 602 tokens"):
            await self.mesh.embed("minilm", ["short", "a " * 600])
        cut = await self.mesh.embed("minilm", ["short", "a " * 600], truncate=True)
        self.assertEqual(list(cut.token_counts), [3, 512])
        with self.assertRaises(shoal.NotFound):
            await self.mesh.embed("nobody", ["x"])
        with self.assertRaisesRegex(shoal.Unsupported, "cannot be given text"):
            await self.mesh.embed("identity", ["x"])
        for wrong in ("x", []):
            with self.assertRaises(shoal.InvalidArgument):
                await self.mesh.embed("minilm", wrong)
        with self.assertRaises(shoal.InvalidArgument):
            await self.mesh.embed("minilm", ["x"], batch=0)


@unittest.skipUnless(BIN, "SHOAL_BIN is not set")
class Sync(unittest.TestCase):
    def test_embed(self):
        with RunningMesh("--threads", "1", models=[FIXTURES / "models/minilm"]) as running:
            with shoal.connect_sync(running.address) as mesh:
                given = mesh.embed("minilm", TEXTS)
                self.assertEqual(len(given), len(TEXTS))
                self.assertEqual(given[0].shape, (384,))


if __name__ == "__main__":
    unittest.main()
