"""The unmodified tritonclient.http against a running mesh."""

import asyncio
import json
import unittest
import urllib.request

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from running_mesh import RunningMesh, fixture_models

mesh: RunningMesh

# Of all the protocol has but BYTES, UINT32 and UINT64, which no exported graph can take.
TYPES = {"BOOL", "UINT8", "UINT16", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64"}


def setUpModule() -> None:
    global mesh
    mesh = unittest.enterModuleContext(RunningMesh(models=fixture_models("models", "types")))


def input_of(values: np.ndarray, name: str = "x", datatype: str = "FP32", binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


class Door(unittest.TestCase):
    def setUp(self) -> None:
        self.client = triton.InferenceServerClient(mesh.http, concurrency=4)
        self.addCleanup(self.client.close)
        self.values = np.array([[1.5, -2.25, 3e-30, 0.1]], np.float32)

    def identity(self, inputs: list, **options) -> triton.InferResult:
        return self.client.infer("identity", inputs, **options)

    def refusal(self, status: int, message: str, *inputs, model: str = "identity", **options) -> None:
        """The call must fail with that status, and with a message that matches the pattern."""
        with self.assertRaisesRegex(InferenceServerException, message) as caught:
            self.client.infer(model, list(inputs), **options)
        self.assertEqual(caught.exception.status(), str(status))


class Descriptions(Door):
    def test_health(self) -> None:
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("identity"))
        self.assertTrue(self.client.is_model_ready("identity", "1"))
        self.assertFalse(self.client.is_model_ready("nobody"))
        self.assertFalse(self.client.is_model_ready("identity", "77"))

    def test_server_metadata(self) -> None:
        metadata = self.client.get_server_metadata()
        self.assertEqual(metadata["name"], "shoal")
        self.assertIn("binary_tensor_data", metadata["extensions"])

    def test_model_metadata(self) -> None:
        for version in ("", "1"):
            metadata = self.client.get_model_metadata("identity", version)
            self.assertEqual(metadata["name"], "identity")
            self.assertEqual(metadata["versions"], ["1"])
            (taken,), (given,) = metadata["inputs"], metadata["outputs"]
            self.assertEqual((taken["name"], taken["datatype"]), ("x", "FP32"))
            self.assertEqual((given["name"], given["datatype"]), ("y", "FP32"))
            self.assertEqual(taken["shape"], given["shape"])

    def test_unknown_models_are_told(self) -> None:
        with self.assertRaisesRegex(InferenceServerException, "nobody") as caught:
            self.client.get_model_metadata("nobody")
        self.assertEqual(caught.exception.status(), "404")

    def test_repository_index(self) -> None:
        index = {(model["name"], model["version"]): model for model in self.client.get_model_repository_index()}
        self.assertEqual(index["identity", "1"]["state"], "READY")

    def test_config(self) -> None:
        config = self.client.get_model_config("identity")
        self.assertEqual(config["name"], "identity")
        self.assertEqual(config["input"][0]["data_type"], "TYPE_FP32")

    def test_statistics_count_an_inference_at_once(self) -> None:
        def counted() -> dict:
            return self.client.get_inference_statistics("identity")["model_stats"][0]

        before = counted()
        tensor = triton.InferInput("x", [3, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((3, 4), np.float32))
        self.client.infer("identity", [tensor])
        after = counted()
        self.assertEqual(after["inference_count"] - before["inference_count"], 3)
        self.assertEqual(after["execution_count"] - before["execution_count"], 1)
        success = after["inference_stats"]["success"]
        self.assertEqual(success["count"] - before["inference_stats"]["success"]["count"], 1)
        self.assertGreater(success["ns"], before["inference_stats"]["success"]["ns"])

    def test_a_model_is_unloaded_and_loaded_again(self) -> None:
        if not self.client.is_model_ready("minilm"):
            self.skipTest("the fixtures have no second model")
        self.client.unload_model("minilm")
        self.assertFalse(self.client.is_model_ready("minilm"))
        self.client.load_model("minilm")
        self.assertTrue(self.client.is_model_ready("minilm"))

    def test_a_load_takes_no_files_and_no_configuration(self) -> None:
        for more in ({"config": "{}"}, {"config": "{}", "files": {"file:1/model.pt2": b"x"}}):
            with self.subTest(str(more)), self.assertRaises(InferenceServerException) as caught:
                self.client.load_model("identity", **more)
            self.assertEqual(caught.exception.status(), "400")

    def test_metrics(self) -> None:
        with urllib.request.urlopen(f"http://{mesh.http}/metrics", timeout=10) as page:
            self.assertTrue(page.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
            self.assertIn(b"\nshoal_", page.read())


class Inference(Door):
    def test_binary(self) -> None:
        result = self.identity([input_of(self.values)])
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)
        self.assertEqual(result.get_response()["model_name"], "identity")
        self.assertEqual(result.get_response()["model_version"], "1")

    def test_json(self) -> None:
        wanted = [triton.InferRequestedOutput("y", binary_data=False)]
        result = self.identity([input_of(self.values, binary=False)], outputs=wanted)
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)
        self.assertIn("data", result.get_output("y"))

    def test_json_in_and_binary_out_and_the_reverse(self) -> None:
        for binary in (False, True):
            wanted = [triton.InferRequestedOutput("y", binary_data=not binary)]
            result = self.identity([input_of(self.values, binary=binary)], outputs=wanted)
            np.testing.assert_array_equal(result.as_numpy("y"), self.values)

    def test_not_finite_values_survive_json(self) -> None:
        values = np.array([[np.nan, np.inf, -np.inf]], np.float32)
        wanted = [triton.InferRequestedOutput("y", binary_data=False)]
        result = self.identity([input_of(values, binary=False)], outputs=wanted)
        np.testing.assert_array_equal(result.as_numpy("y"), values)

    def test_the_id_comes_back(self) -> None:
        result = self.identity([input_of(self.values)], request_id='my "id" é')
        self.assertEqual(result.get_response()["id"], 'my "id" é')

    def test_a_version_may_be_named(self) -> None:
        result = self.identity([input_of(self.values)], model_version="1")
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)

    def test_a_deadline_priority_and_unknown_parameters_are_taken(self) -> None:
        result = self.identity([input_of(self.values)], timeout=5_000_000, priority=1, parameters={"mine": "yes"})
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)

    def test_one_mebibyte(self) -> None:
        values = np.random.default_rng(1).standard_normal((1, 1 << 18)).astype(np.float32)
        np.testing.assert_array_equal(self.identity([input_of(values)]).as_numpy("y"), values)

    def test_compression_in_both_directions(self) -> None:
        values = np.zeros((1, 1 << 16), np.float32)
        for there in (None, "gzip", "deflate"):
            for back in (None, "gzip", "deflate"):
                with self.subTest(request=there, response=back):
                    result = self.identity(
                        [input_of(values)], request_compression_algorithm=there, response_compression_algorithm=back
                    )
                    np.testing.assert_array_equal(result.as_numpy("y"), values)
                    self.assertEqual(result.get_output("y")["shape"], [1, 1 << 16])

    def test_async_infer(self) -> None:
        sent = [np.full((1, 4), i, np.float32) for i in range(32)]
        pending = [self.client.async_infer("identity", [input_of(values)]) for values in sent]
        for values, answer in zip(sent, pending, strict=True):
            np.testing.assert_array_equal(answer.get_result(timeout=30).as_numpy("y"), values)

    def test_every_identity_model_there_is(self) -> None:
        seen = set()
        for model in self.client.get_model_repository_index():
            if not model["name"].startswith("identity"):
                continue
            metadata = self.client.get_model_metadata(model["name"], model["version"])
            (taken,), (given,) = metadata["inputs"], metadata["outputs"]
            with self.subTest(model["name"], datatype=taken["datatype"]):
                seen.add(taken["datatype"])
                dims = [2 if size == -1 else size for size in taken["shape"]]
                values = (np.arange(np.prod(dims)).reshape(dims) % 2).astype(triton_to_np_dtype(taken["datatype"]))
                for binary in (True, False) if taken["datatype"] not in ("FP16", "BF16") else (True,):
                    result = self.client.infer(
                        model["name"],
                        [input_of(values, taken["name"], taken["datatype"], binary)],
                        model_version=model["version"],
                        outputs=[triton.InferRequestedOutput(given["name"], binary_data=binary)],
                    )
                    np.testing.assert_array_equal(result.as_numpy(given["name"]), values)
        self.assertEqual(seen, TYPES)

    def test_minilm(self) -> None:
        if not self.client.is_model_ready("minilm"):
            self.skipTest("the fixtures have no minilm")
        metadata = self.client.get_model_metadata("minilm")
        tokens = np.array([[101, 7592, 2088, 102], [101, 2204, 2851, 102]], np.int64)
        values = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}

        def embed(rows: slice, binary: bool) -> np.ndarray:
            inputs = [input_of(values[t["name"]][rows], t["name"], t["datatype"], binary) for t in metadata["inputs"]]
            output = metadata["outputs"][0]["name"]
            wanted = [triton.InferRequestedOutput(output, binary_data=binary)]
            return self.client.infer("minilm", inputs, outputs=wanted).as_numpy(output)

        together = embed(slice(0, 2), binary=True)
        self.assertTrue(np.isfinite(together).all())
        np.testing.assert_allclose(embed(slice(0, 2), binary=False), together, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(embed(slice(1, 2), binary=True), together[1:], rtol=1e-4, atol=1e-5)


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.client = triton_aio.InferenceServerClient(mesh.http)
        self.addAsyncCleanup(self.client.close)

    async def test_descriptions(self) -> None:
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())
        self.assertTrue(await self.client.is_model_ready("identity"))
        self.assertEqual((await self.client.get_server_metadata())["name"], "shoal")
        self.assertEqual((await self.client.get_model_metadata("identity"))["name"], "identity")
        self.assertEqual((await self.client.get_model_config("identity"))["name"], "identity")
        self.assertEqual((await self.client.get_inference_statistics("identity"))["model_stats"][0]["name"], "identity")
        self.assertIn("identity", [model["name"] for model in await self.client.get_model_repository_index()])

    async def test_many_at_once(self) -> None:
        sent = [np.full((1, 4), i, np.float32) for i in range(64)]
        results = await asyncio.gather(*(self.client.infer("identity", [input_of(values)]) for values in sent))
        for values, result in zip(sent, results, strict=True):
            np.testing.assert_array_equal(result.as_numpy("y"), values)

    async def test_compression(self) -> None:
        values = np.zeros((1, 1 << 12), np.float32)
        result = await self.client.infer(
            "identity",
            [input_of(values)],
            request_compression_algorithm="gzip",
            response_compression_algorithm="deflate",
        )
        np.testing.assert_array_equal(result.as_numpy("y"), values)

    async def test_errors(self) -> None:
        with self.assertRaisesRegex(InferenceServerException, "nobody") as caught:
            await self.client.infer("nobody", [input_of(np.zeros((1, 4), np.float32))])
        self.assertEqual(caught.exception.status(), "404")


class Errors(Door):
    def test_unknown_names(self) -> None:
        self.refusal(404, "nobody", input_of(self.values), model="nobody")
        self.refusal(404, "77", input_of(self.values), model_version="77")
        self.refusal(400, "version", input_of(self.values), model_version="latest")
        self.refusal(400, "'z'", input_of(self.values, name="z"))
        self.refusal(400, "'w'", input_of(self.values), outputs=[triton.InferRequestedOutput("w")])

    def test_inputs_that_the_model_does_not_take(self) -> None:
        self.refusal(400, "INT32", input_of(self.values.astype(np.int32), datatype="INT32"))
        self.refusal(400, "'x'.*shape", input_of(self.values.reshape(1, 2, 2)))
        self.refusal(400, "'x'.*twice", input_of(self.values), input_of(self.values))
        self.refusal(400, "BYTES", input_of(np.array([[b"text"]], np.object_), datatype="BYTES"))

    def test_a_shape_that_is_not_that_of_the_data(self) -> None:
        tensor = input_of(self.values)
        tensor.set_shape([1, 5])
        self.refusal(400, r"inputs\[0\].parameters.binary_data_size", tensor)
        tensor = input_of(self.values, binary=False)
        tensor.set_shape([1, 5])
        self.refusal(400, r"inputs\[0\].data", tensor)

    def test_shared_memory_is_not_offered(self) -> None:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_shared_memory("region", 16)
        self.refusal(400, "shared memory", tensor)

    def test_a_deadline_that_is_over(self) -> None:
        large = np.zeros((4, 1 << 20), np.float32)  # takes longer than a microsecond on any machine
        self.refusal(504, "deadline|time", input_of(large), timeout=1)

    def test_the_connection_goes_on_after_errors(self) -> None:
        for _ in range(20):
            self.refusal(400, "INT32", input_of(self.values.astype(np.int32), datatype="INT32"))
            np.testing.assert_array_equal(self.identity([input_of(self.values)]).as_numpy("y"), self.values)

    def test_errors_are_json_with_the_key_error(self) -> None:
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{mesh.http}/v2/models/nobody", timeout=10)
        with caught.exception as response:
            self.assertEqual(list(json.load(response)), ["error"])


if __name__ == "__main__":
    unittest.main()
