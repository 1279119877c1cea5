"""The unmodified openai client against a running mesh: embeddings and models."""

import asyncio
import base64
import json
import unittest
import urllib.error
import urllib.request

import numpy as np
import openai
from tokenizers import Tokenizer

from running_mesh import FIXTURES, RunningMesh, fixture_models

mesh: RunningMesh
reference: Tokenizer

TEXTS = ["A man is playing a guitar.", "Ein Mann spielt Gitarre!", "", "naïve café 北京 [SEP] 🎸", "the " * 300]
WIDTH = 384


def setUpModule() -> None:
    global mesh, reference
    mesh = unittest.enterModuleContext(RunningMesh(models=fixture_models("models")))
    reference = Tokenizer.from_file(str(FIXTURES / "models/minilm/1/tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()


def ids_of(text: str) -> list[int]:
    return reference.encode(text).ids


def by_token_ids(text: str) -> np.ndarray:
    """The same through Open Inference Protocol, with ids of the library that trained the tokenizer."""
    ids = ids_of(text)
    shape = [1, len(ids)]
    inputs = [
        {"name": "input_ids", "datatype": "INT64", "shape": shape, "data": ids},
        {"name": "attention_mask", "datatype": "INT64", "shape": shape, "data": [1] * len(ids)},
    ]
    asked = urllib.request.Request(f"http://{mesh.http}/v2/models/minilm/infer", json.dumps({"inputs": inputs}).encode())
    with urllib.request.urlopen(asked) as answer:
        return np.array(json.load(answer)["outputs"][0]["data"], np.float32)


class Embeddings(unittest.TestCase):
    def setUp(self) -> None:
        self.client = openai.OpenAI(base_url=f"http://{mesh.http}/v1", api_key="none", max_retries=0)
        self.addCleanup(self.client.close)

    def check(self, given: openai.types.CreateEmbeddingResponse, texts: list[str]) -> None:
        self.assertEqual(given.model, "minilm")
        self.assertEqual([each.index for each in given.data], list(range(len(texts))))
        self.assertEqual(given.usage.prompt_tokens, sum(len(ids_of(text)) for text in texts))
        self.assertEqual(given.usage.total_tokens, given.usage.prompt_tokens)
        for each, text in zip(given.data, texts):
            self.assertEqual(len(each.embedding), WIDTH)
            np.testing.assert_allclose(each.embedding, by_token_ids(text), atol=1e-5)

    def test_a_list_of_texts(self) -> None:
        self.check(self.client.embeddings.create(model="minilm", input=TEXTS), TEXTS)

    def test_one_text_and_floats(self) -> None:
        for text in TEXTS:
            given = self.client.embeddings.create(model="minilm", input=text, encoding_format="float")
            self.check(given, [text])

    def test_base64_is_little_endian_fp32(self) -> None:
        body = {"model": "minilm", "input": TEXTS[0], "encoding_format": "base64"}
        asked = urllib.request.Request(f"http://{mesh.http}/v1/embeddings", json.dumps(body).encode())
        with urllib.request.urlopen(asked) as answer:
            (each,) = json.load(answer)["data"]
        vector = np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
        np.testing.assert_allclose(vector, by_token_ids(TEXTS[0]), atol=1e-5)

    def test_token_ids(self) -> None:
        self.check(self.client.embeddings.create(model="minilm", input=ids_of(TEXTS[0])), TEXTS[:1])
        self.check(self.client.embeddings.create(model="minilm", input=[ids_of(text) for text in TEXTS]), TEXTS)

    def test_a_version_and_the_width_may_be_named(self) -> None:
        given = self.client.embeddings.create(model="minilm/1", input=["x"], dimensions=WIDTH)
        self.assertEqual(given.model, "minilm/1")
        self.assertEqual(len(given.data[0].embedding), WIDTH)

    def test_many_texts(self) -> None:
        texts = [f"sentence number {i} " + "word " * (i % 40) for i in range(600)]
        given = self.client.embeddings.create(model="minilm", input=texts)
        self.assertEqual(len(given.data), len(texts))
        for i in (0, 1, 299, 599):
            np.testing.assert_allclose(given.data[i].embedding, by_token_ids(texts[i]), atol=1e-5)

    def test_asyncio(self) -> None:
        async def several() -> list[openai.types.CreateEmbeddingResponse]:
            async with openai.AsyncOpenAI(base_url=f"http://{mesh.http}/v1", api_key="none", max_retries=0) as client:
                return await asyncio.gather(*(client.embeddings.create(model="minilm", input=text) for text in TEXTS))

        for given, text in zip(asyncio.run(several()), TEXTS):
            self.check(given, [text])

    def test_what_is_too_long_is_refused_unless_it_may_be_cut(self) -> None:
        long = "the " * 600
        with self.assertRaisesRegex(openai.BadRequestError, "602 tokens.*512.*truncate"):
            self.client.embeddings.create(model="minilm", input=["short", long])
        given = self.client.embeddings.create(model="minilm", input=[long], extra_body={"truncate": True})
        self.assertEqual(given.usage.prompt_tokens, 512)
        np.testing.assert_allclose(given.data[0].embedding, by_token_ids("the " * 510), atol=1e-5)

    def test_errors_have_openais_shape(self) -> None:
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.embeddings.create(model="nobody", input="x")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertEqual(caught.exception.type, "invalid_request_error")
        with self.assertRaisesRegex(openai.BadRequestError, "no tokenizer|cannot be given text|no embeddings"):
            self.client.embeddings.create(model="identity", input="x")
        with self.assertRaisesRegex(openai.BadRequestError, "dimensions"):
            self.client.embeddings.create(model="minilm", input="x", dimensions=100)
        for wrong in ([], [1, "a"], ["a", [1]], [[1], 2], {"a": 1}, [[-1]], [99999999], [1.5], 3, [[]]):
            with self.subTest(wrong=wrong), self.assertRaises(openai.BadRequestError) as caught:
                self.client.embeddings.create(model="minilm", input=wrong)
            self.assertEqual(caught.exception.type, "invalid_request_error")

    def test_hostile_bodies(self) -> None:
        for body in (b"", b"{", b"[]", b'{"model":"minilm"}', b'{"input":"x"}', b'{"model":"minilm","input":"\xff"}',
                     b'{"model":"minilm","input":"\\ud800"}', b'{"model":"minilm","input":"x","input":"y"}',
                     b'{"model":"../x","input":"x"}', b'{"model":"minilm","input":"x","encoding_format":"hex"}'):  # fmt: skip
            with self.subTest(body=body), self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(f"http://{mesh.http}/v1/embeddings", body, method="POST"))
            with caught.exception:
                self.assertEqual(caught.exception.code, 400)
                self.assertTrue(json.load(caught.exception)["error"]["message"])

    def test_models(self) -> None:
        self.assertEqual(sorted(each.id for each in self.client.models.list()), ["identity", "minilm"])
        self.assertEqual(self.client.models.retrieve("minilm").owned_by, "shoal")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("nobody")


if __name__ == "__main__":
    unittest.main()
