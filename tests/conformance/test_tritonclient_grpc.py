"""The unmodified tritonclient.grpc against a running mesh."""

import asyncio
import queue
import re
import unittest
import urllib.request

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from running_mesh import RunningMesh, fixture_models

mesh: RunningMesh

# Of all the protocol has but BYTES, UINT32 and UINT64, which no exported graph can take.
TYPES = {"BOOL", "UINT8", "UINT16", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64"}


def setUpModule() -> None:
    global mesh
    mesh = unittest.enterModuleContext(RunningMesh(models=fixture_models("models", "types")))


def input_of(values: np.ndarray, name: str = "x", datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


class Door(unittest.TestCase):
    def setUp(self) -> None:
        self.client = triton.InferenceServerClient(mesh.grpc)
        self.addCleanup(self.client.close)
        self.values = np.array([[1.5, -2.25, 3e-30, 0.1]], np.float32)

    def identity(self, inputs: list, **options) -> triton.InferResult:
        return self.client.infer("identity", inputs, **options)

    def refusal(self, status: str, message: str, *inputs, model: str = "identity", **options) -> None:
        """The call must fail with that status, and with a message that matches the pattern."""
        with self.assertRaisesRegex(InferenceServerException, message) as caught:
            self.client.infer(model, list(inputs), **options)
        self.assertEqual(caught.exception.status(), f"StatusCode.{status}")


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
        self.assertEqual(metadata.name, "shoal")
        for extension in ("binary_tensor_data", "statistics", "model_configuration", "model_repository"):
            self.assertIn(extension, metadata.extensions)

    def test_model_metadata(self) -> None:
        for version in ("", "1"):
            metadata = self.client.get_model_metadata("identity", version)
            self.assertEqual((metadata.name, list(metadata.versions)), ("identity", ["1"]))
            (taken,), (given,) = metadata.inputs, metadata.outputs
            self.assertEqual((taken.name, taken.datatype, given.name), ("x", "FP32", "y"))
            self.assertEqual(list(taken.shape), list(given.shape))

    def test_documents_as_json(self) -> None:
        self.assertEqual(self.client.get_model_metadata("identity", as_json=True)["name"], "identity")
        self.assertEqual(self.client.get_model_config("identity", as_json=True)["config"]["name"], "identity")

    def test_unknown_models_are_told(self) -> None:
        for ask in (self.client.get_model_metadata, self.client.get_model_config, self.client.get_inference_statistics):
            with self.subTest(ask.__name__), self.assertRaisesRegex(InferenceServerException, "nobody") as caught:
                ask("nobody")
            self.assertEqual(caught.exception.status(), "StatusCode.NOT_FOUND")

    def test_repository_index(self) -> None:
        index = {(m.name, m.version): m for m in self.client.get_model_repository_index().models}
        self.assertEqual(index["identity", "1"].state, "READY")

    def test_config(self) -> None:
        config = self.client.get_model_config("identity").config
        metadata = self.client.get_model_metadata("identity")
        self.assertEqual((config.name, config.input[0].name, config.output[0].name), ("identity", "x", "y"))
        self.assertEqual(config.input[0].data_type, 11)  # TYPE_FP32
        self.assertGreater(config.max_batch_size, 1)
        self.assertEqual(list(config.input[0].dims), list(metadata.inputs[0].shape)[1:])

    def test_statistics_count_an_inference_at_once(self) -> None:
        def counted():
            return self.client.get_inference_statistics("identity").model_stats[0]

        before = counted()
        self.identity([input_of(np.ones((3, 4), np.float32))])
        after = counted()
        self.assertEqual(after.inference_count - before.inference_count, 3)
        self.assertEqual(after.execution_count - before.execution_count, 1)
        self.assertEqual(after.inference_stats.success.count - before.inference_stats.success.count, 1)
        self.assertGreater(after.inference_stats.success.ns, before.inference_stats.success.ns)
        everything = self.client.get_inference_statistics().model_stats
        self.assertIn("identity", [each.name for each in everything])

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
            self.assertEqual(caught.exception.status(), "StatusCode.INVALID_ARGUMENT")
        for name in ("../identity", "http://127.0.0.1/model", "/etc/passwd", ".hidden", "a" * 65, ""):
            with self.subTest(name), self.assertRaises(InferenceServerException) as caught:
                self.client.load_model(name)
            self.assertEqual(caught.exception.status(), "StatusCode.INVALID_ARGUMENT")

    def test_memory_and_files_of_the_server_cannot_be_named(self) -> None:
        for ask in (
            lambda: self.client.register_system_shared_memory("r", "/secret", 64),
            lambda: self.client.get_system_shared_memory_status(),
            lambda: self.client.update_log_settings({"log_file": "/tmp/x"}),
            lambda: self.client.update_trace_settings("identity", {"trace_file": "/tmp/x"}),
        ):
            with self.assertRaises(InferenceServerException) as caught:
                ask()
            self.assertEqual(caught.exception.status(), "StatusCode.UNIMPLEMENTED")
            self.assertNotIn("secret", str(caught.exception))


class Inference(Door):
    def test_identity(self) -> None:
        result = self.identity([input_of(self.values)])
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)
        self.assertEqual((result.get_response().model_name, result.get_response().model_version), ("identity", "1"))

    def test_the_id_comes_back(self) -> None:
        result = self.identity([input_of(self.values)], request_id='my "id" é')
        self.assertEqual(result.get_response().id, 'my "id" é')

    def test_outputs_and_a_version_may_be_named(self) -> None:
        wanted = [triton.InferRequestedOutput("y")]
        result = self.identity([input_of(self.values)], model_version="1", outputs=wanted)
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)

    def test_a_deadline_priority_and_unknown_parameters_are_taken(self) -> None:
        result = self.identity(
            [input_of(self.values)], timeout=5_000_000, client_timeout=5, priority=1, parameters={"mine": "yes"}
        )
        np.testing.assert_array_equal(result.as_numpy("y"), self.values)

    def test_sixteen_mebibytes(self) -> None:
        spec = self.client.get_model_config("identity").config
        rows = min(16, spec.max_batch_size)
        values = np.random.default_rng(1).standard_normal((rows, 1 << 18)).astype(np.float32)
        np.testing.assert_array_equal(self.identity([input_of(values)]).as_numpy("y"), values)

    def test_compressed_requests(self) -> None:
        values = np.zeros((1, 1 << 16), np.float32)
        for algorithm in ("gzip", "deflate"):
            with self.subTest(algorithm):
                result = self.identity([input_of(values)], compression_algorithm=algorithm)
                np.testing.assert_array_equal(result.as_numpy("y"), values)

    def test_async_infer(self) -> None:
        sent = [np.full((1, 4), i, np.float32) for i in range(32)]
        answers: queue.Queue = queue.Queue()
        for i, values in enumerate(sent):
            self.client.async_infer(
                "identity", [input_of(values)], callback=lambda result, error, i=i: answers.put((i, result, error))
            )
        for _ in sent:
            i, result, error = answers.get(timeout=30)
            self.assertIsNone(error)
            np.testing.assert_array_equal(result.as_numpy("y"), sent[i])

    def test_an_async_request_is_cancelled(self) -> None:
        answers: queue.Queue = queue.Queue()
        call = self.client.async_infer(
            "identity", [input_of(self.values)], callback=lambda result, error: answers.put((result, error))
        )
        call.cancel()
        result, error = answers.get(timeout=30)
        self.assertTrue(error is not None or result is not None)  # it may have been answered before

    def test_every_identity_model_there_is(self) -> None:
        seen = set()
        for model in self.client.get_model_repository_index().models:
            if not model.name.startswith("identity"):
                continue
            metadata = self.client.get_model_metadata(model.name, model.version)
            (taken,), (given,) = metadata.inputs, metadata.outputs
            with self.subTest(model.name, datatype=taken.datatype):
                seen.add(taken.datatype)
                dims = [2 if size == -1 else size for size in taken.shape]
                values = (np.arange(np.prod(dims)).reshape(dims) % 2).astype(triton_to_np_dtype(taken.datatype))
                inputs = [input_of(values, taken.name, taken.datatype)]
                result = self.client.infer(model.name, inputs, model_version=model.version)
                np.testing.assert_array_equal(result.as_numpy(given.name), values)
        self.assertEqual(seen, TYPES)

    def test_elements_that_are_spelled_out(self) -> None:
        """InferTensorContents, which tritonclient itself never sends: through its own stub."""
        from tritonclient.grpc import service_pb2, service_pb2_grpc
        import grpc

        with grpc.insecure_channel(mesh.grpc) as channel:
            request = service_pb2.ModelInferRequest(model_name="identity")
            tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
            tensor.contents.fp32_contents.extend(self.values[0])
            response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
        self.assertEqual(response.raw_output_contents[0], self.values.tobytes())

    def test_minilm(self) -> None:
        if not self.client.is_model_ready("minilm"):
            self.skipTest("the fixtures have no minilm")
        metadata = self.client.get_model_metadata("minilm")
        tokens = np.array([[101, 7592, 2088, 102], [101, 2204, 2851, 102]], np.int64)
        values = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}

        def embed(rows: slice) -> np.ndarray:
            inputs = [input_of(values[t.name][rows], t.name, t.datatype) for t in metadata.inputs]
            return self.client.infer("minilm", inputs).as_numpy(metadata.outputs[0].name)

        together = embed(slice(0, 2))
        self.assertTrue(np.isfinite(together).all())
        np.testing.assert_allclose(embed(slice(1, 2)), together[1:], rtol=1e-4, atol=1e-5)


class Streams(Door):
    def test_answers_come_in_the_order_of_the_requests(self) -> None:
        answers: queue.Queue = queue.Queue()
        self.client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for i in range(200):
            self.client.async_stream_infer(
                "identity", [input_of(np.full((1, 4), i, np.float32))], request_id=str(i)
            )
        for i in range(200):
            result, error = answers.get(timeout=30)
            self.assertIsNone(error)
            self.assertEqual(result.get_response().id, str(i))
            self.assertTrue(result.get_response().parameters["triton_final_response"].bool_param)
            self.assertEqual(result.as_numpy("y")[0, 0], i)
        self.client.stop_stream()

    def test_a_bad_request_ends_neither_the_stream_nor_the_others(self) -> None:
        answers: queue.Queue = queue.Queue()
        self.client.start_stream(callback=lambda result, error: answers.put((result, error)))
        self.client.async_stream_infer("identity", [input_of(self.values)])
        self.client.async_stream_infer("nobody", [input_of(self.values)])
        self.client.async_stream_infer("identity", [input_of(self.values, name="z")])
        self.client.async_stream_infer("identity", [input_of(self.values)])
        outcomes = [answers.get(timeout=30) for _ in range(4)]
        self.assertEqual([error is None for _, error in outcomes], [True, False, False, True])
        self.assertIn("nobody", outcomes[1][1].message())
        self.client.stop_stream()

    def test_a_cancelled_stream_ends(self) -> None:
        answers: queue.Queue = queue.Queue()
        self.client.start_stream(callback=lambda result, error: answers.put((result, error)))
        self.client.async_stream_infer("identity", [input_of(self.values)])
        answers.get(timeout=30)
        self.client.stop_stream(cancel_requests=True)
        self.assertTrue(self.client.is_server_live())


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.client = triton_aio.InferenceServerClient(mesh.grpc)
        self.addAsyncCleanup(self.client.close)
        self.values = np.array([[1.5, -2.25, 3e-30, 0.1]], np.float32)

    async def test_descriptions(self) -> None:
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_model_ready("identity"))
        self.assertEqual((await self.client.get_model_metadata("identity")).name, "identity")
        self.assertEqual((await self.client.get_model_config("identity")).config.name, "identity")
        self.assertEqual((await self.client.get_inference_statistics("identity")).model_stats[0].name, "identity")

    async def test_many_at_once(self) -> None:
        sent = [np.full((1, 4), i, np.float32) for i in range(64)]
        results = await asyncio.gather(*(self.client.infer("identity", [input_of(values)]) for values in sent))
        for values, result in zip(sent, results, strict=True):
            np.testing.assert_array_equal(result.as_numpy("y"), values)

    async def test_errors(self) -> None:
        with self.assertRaisesRegex(InferenceServerException, "nobody") as caught:
            await self.client.infer("nobody", [input_of(self.values)])
        self.assertEqual(caught.exception.status(), "StatusCode.NOT_FOUND")

    async def test_a_stream(self) -> None:
        async def requests():
            for i in range(50):
                yield {"model_name": "identity", "inputs": [input_of(np.full((1, 4), i, np.float32))]}

        received = 0
        async for result, error in self.client.stream_infer(requests()):
            self.assertIsNone(error)
            self.assertEqual(result.as_numpy("y")[0, 0], received)
            received += 1
        self.assertEqual(received, 50)


class Several(unittest.TestCase):
    def test_gateways_share_the_ports_of_both_doors(self) -> None:
        with RunningMesh("--processes", "--scale", "gateway=2", "--scale", "worker=1") as several:
            values = np.ones((1, 4), np.float32)
            instances = set()
            for number in range(24):  # the system shares connections out: each is of one gateway
                own = [("number", number)]  # or gRPC would use one connection for all
                with triton.InferenceServerClient(several.grpc, channel_args=own) as client:
                    np.testing.assert_array_equal(client.infer("identity", [input_of(values)]).as_numpy("y"), values)
                with urllib.request.urlopen(f"http://{several.http}/metrics", timeout=10) as page:
                    text = page.read().decode()
                    instances.add(re.search(r"^shoal_service_start_time_seconds (\S+)", text, re.MULTILINE)[1])
            self.assertEqual(len(instances), 2)


class Errors(Door):
    def test_unknown_names(self) -> None:
        self.refusal("NOT_FOUND", "nobody", input_of(self.values), model="nobody")
        self.refusal("NOT_FOUND", "77", input_of(self.values), model_version="77")
        self.refusal("INVALID_ARGUMENT", "version", input_of(self.values), model_version="latest")
        self.refusal("INVALID_ARGUMENT", "'z'", input_of(self.values, name="z"))
        self.refusal("INVALID_ARGUMENT", "'w'", input_of(self.values), outputs=[triton.InferRequestedOutput("w")])

    def test_inputs_that_the_model_does_not_take(self) -> None:
        self.refusal("INVALID_ARGUMENT", "INT32", input_of(self.values.astype(np.int32), datatype="INT32"))
        self.refusal("INVALID_ARGUMENT", "'x'.*shape", input_of(self.values.reshape(1, 2, 2)))
        self.refusal("INVALID_ARGUMENT", "'x'.*twice", input_of(self.values), input_of(self.values))
        text = input_of(np.array([[b"text"]], np.object_), datatype="BYTES")
        self.refusal("INVALID_ARGUMENT", "BYTES", text)

    def test_a_shape_that_is_not_that_of_the_data(self) -> None:
        tensor = input_of(self.values)
        tensor.set_shape([1, 5])
        self.refusal("INVALID_ARGUMENT", r"inputs\[0\].*16 bytes.*has 20", tensor)

    def test_shared_memory_and_classification_are_not_offered(self) -> None:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_shared_memory("region", 16)
        self.refusal("INVALID_ARGUMENT", "shared memory", tensor)
        wanted = [triton.InferRequestedOutput("y", class_count=3)]
        self.refusal("INVALID_ARGUMENT", "classification", input_of(self.values), outputs=wanted)

    def test_a_deadline_that_is_over(self) -> None:
        large = np.zeros((4, 1 << 20), np.float32)  # takes longer than a microsecond on any machine
        self.refusal("DEADLINE_EXCEEDED", "deadline|time", input_of(large), timeout=1)

    def test_the_connection_goes_on_after_errors(self) -> None:
        for _ in range(20):
            self.refusal(
                "INVALID_ARGUMENT", "INT32", input_of(self.values.astype(np.int32), datatype="INT32")
            )
            np.testing.assert_array_equal(self.identity([input_of(self.values)]).as_numpy("y"), self.values)


if __name__ == "__main__":
    unittest.main()
