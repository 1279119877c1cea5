"""A test for each of the holes that were found in other inference servers: what tensors say of their sizes and hold."""

import json
import struct
import unittest
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import shoal
from shoal._schema import PIECE_SIZE
from tritonclient.grpc import service_pb2 as protocol

import hole
import raw_grpc
from hole import Hole, grpc_call, infer, post, tensor
from native_peer import NativePeer
from raw_http import INFER, Answer, all_answers
from running_mesh import FIXTURES

HUGE = 1 << 63


def setUpModule() -> None:
    models = [FIXTURES / "models" / "identity", FIXTURES / "models" / "minilm", FIXTURES / "graphs" / "gather"]
    hole.serve(lambda _: models)


class IndicesUnchecked(Hole):
    """CVE-2025-62164: indices that came with a tensor were used to write without a look at its bounds."""

    def test_ids_beyond_an_embedding(self) -> None:
        right = infer(
            [tensor("ids", "INT64", [1, 4], [0, 1, 2, 3]), tensor("x", "FP32", [1, 4], [1, 2, 3, 4])], "gather"
        )
        self.assertEqual(right.status, 200, right.body)
        for value in (
            4,
            9,
            10,
            11,
            -1,
            -2,
            -11,
            1 << 31,
            -(1 << 31),
            1 << 32,
            (1 << 63) - 1,
            -(1 << 63),
            (1 << 63) - 10,
        ):
            with self.subTest(value):
                answer = infer(
                    [tensor("ids", "INT64", [1, 4], [0, 1, 2, value]), tensor("x", "FP32", [1, 4], [1, 2, 3, 4])],
                    "gather",
                )
                self.assertEqual(answer.status, 400, answer.body)

    def test_ids_beyond_a_vocabulary(self) -> None:
        def ask_for(*ids: int, mask: Iterable[int] = (1, 1)) -> Answer:
            return infer(
                [tensor("input_ids", "INT64", [1, 2], ids), tensor("attention_mask", "INT64", [1, 2], list(mask))],
                "minilm",
            )

        self.assertEqual(ask_for(101, 102).status, 200)
        for value in (30522, 1 << 20, -1, -30522, (1 << 63) - 1, -(1 << 63)):
            with self.subTest(value):
                answer = ask_for(101, value)
                self.assertEqual(answer.status, 400, answer.body)
        for value in (99999999, -1, 1 << 40):
            answer = post("/v1/embeddings", {"model": "minilm", "input": [101, value]})
            self.assertEqual(answer.status, 400, answer.body)
        self.assertEqual(ask_for(101, 102).status, 200)

    def test_the_rest_of_a_batch_is_answered(self) -> None:
        def one(value: int) -> int:
            return infer(
                [tensor("ids", "INT64", [1, 4], [0, 1, 2, value]), tensor("x", "FP32", [1, 4], [1, 2, 3, 4])], "gather"
            ).status

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(one, [0, 1 << 62, 1, -5] * 8))
        self.assertEqual(statuses, [200, 400] * 16)


def overflowing_shapes() -> list[list[int]]:
    """Their products are beyond 64 bits; of some the low 64 or 32 bits are 0 or 3."""
    return [
        [1 << 32, 1 << 32],
        [1 << 62, 4],
        [1 << 61, 8],
        [(1 << 63) - 1, 2],
        [1 << 63, 2],
        [1 << 16] * 4,
        [0xAAAAAAAAAAAAAAAB, 9],
        [1 << 33, 1 << 30],
        [(1 << 64) - 1, (1 << 64) - 1],
        [1 << 31, 1 << 31, 4],
        [-(1 << 63), 2],
        [-1, -3],
    ]


class SizesOverflow(Hole):
    """CVE-2026-24173: the product of a shape overflowed, and a buffer was smaller than what was written to it."""

    def test_http_json(self) -> None:
        for shape in overflowing_shapes():
            for data in ([], [1, 2, 3]):
                with self.subTest(shape):
                    self.assertIn(infer([tensor(shape=shape, data=data)]).status, (400, 413))

    def test_http_binary(self) -> None:
        for shape in overflowing_shapes():
            for size in (0, 12):
                head = json.dumps(
                    {"inputs": [tensor(shape=shape, parameters={"binary_data_size": size}, data=None)]}
                ).encode()
                with self.subTest(f"{shape} {size}"):
                    answer = post(INFER, head + b"\0" * size, Inference_Header_Content_Length=len(head))
                    self.assertIn(answer.status, (400, 413))

    def test_http_sizes_of_parts(self) -> None:
        for size in (
            -1,
            -12,
            13,
            11,
            1 << 31,
            1 << 32,
            (1 << 63) - 1,
            1 << 63,
            (1 << 64) - 4,
            (1 << 64) + 12,
            12.5,
            "12",
            None,
            [12],
        ):
            head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": size}, data=None)]}).encode()
            with self.subTest(size):
                self.assertEqual(post(INFER, head + b"\0" * 12, Inference_Header_Content_Length=len(head)).status, 400)
        head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 12}, data=None)]}).encode()
        self.assertEqual(post(INFER, head + b"\0" * 12, Inference_Header_Content_Length=len(head)).status, 200)
        two = [tensor("ids", "INT64", [1, 4], None), tensor("x", "FP32", [1, 4], None)]
        for sizes in (
            [(1 << 63) - 1, (1 << 63) - 1],
            [1 << 63, (1 << 63) + 48],
            [-16, 64],
            [48, 0],
            [(1 << 64) - 16, 64],
        ):
            for each, size in zip(two, sizes, strict=True):
                each["parameters"] = {"binary_data_size": size}
            head = json.dumps({"inputs": two}).encode()
            answer = post("/v2/models/gather/infer", head + b"\0" * 48, Inference_Header_Content_Length=len(head))
            self.assertEqual(answer.status, 400, answer.body)
        for length in (
            -1,
            len(head) + 25,
            1 << 31,
            1 << 32,
            (1 << 64) - 1,
            1 << 64,
            (1 << 64) + len(head),
            "1e3",
            "",
            "0x10",
        ):
            with self.subTest(length):
                self.assertEqual(post(INFER, head + b"\0" * 24, Inference_Header_Content_Length=length).status, 400)

    def test_content_length(self) -> None:
        for length in (
            -1,
            1 << 31,
            1 << 32,
            (1 << 63) - 1,
            (1 << 64) - 1,
            1 << 64,
            (1 << 64) + 5,
            "0x5",
            "5 5",
            "+5",
            "5.0",
            "5e0",
        ):
            head = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n".encode()
            with self.subTest(length):
                answers = all_answers(hole.mesh.http, head)
                self.assertEqual([answer.status in (400, 413) for answer in answers], [True])

    def test_grpc(self) -> None:
        for shape in overflowing_shapes():
            if max(map(abs, shape)) >= HUGE and -HUGE not in shape:
                continue  # no INT64
            for raw in (b"", b"\0" * 12):
                message = protocol.ModelInferRequest(model_name="identity", raw_input_contents=[raw])
                message.inputs.add(name="x", datatype="FP32", shape=shape)
                typed = protocol.ModelInferRequest(model_name="identity")
                typed.inputs.add(name="x", datatype="FP32", shape=shape).contents.fp32_contents.extend(
                    [0.0] * (len(raw) // 4)
                )
                for each in (message, typed):
                    with self.subTest(f"{shape} {len(raw)}"):
                        code = raw_grpc.code(grpc_call("ModelInfer", each.SerializeToString()))
                        self.assertIn(code, (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED))
        self.assertEqual(raw_grpc.code(grpc_call("ModelInfer", raw_grpc.infer_request())), grpc.StatusCode.OK)

    def test_native_frames(self) -> None:
        with NativePeer(hole.mesh.address) as peer:
            peer.greet()
            self.assertIsNone(peer.infer([1, 3], bytes(12)).error)
            for shape in overflowing_shapes():
                if any(not -HUGE <= each < HUGE for each in shape):
                    continue  # no INT64
                for frame in (b"", bytes(12)):
                    for transfer in (0, 7):
                        with self.subTest(f"{shape} {len(frame)} {transfer}"):
                            outcome = peer.infer(shape, frame, transfer)
                            self.assertTrue(outcome is None or outcome.error is not None)  # None: dropped
            self.assertIsNone(peer.infer([1, 3], bytes(12)).error)

    def test_native_frames_that_are_shorter_or_longer_than_said(self) -> None:
        with NativePeer(hole.mesh.address) as peer:
            peer.greet()
            for size in (0, 1, 11, 13, 24, PIECE_SIZE):
                with self.subTest(size):
                    outcome = peer.infer([1, 3], bytes(size))
                    self.assertTrue(outcome is None or outcome.error is not None)
            self.assertIsNone(peer.infer([1, 3], bytes(12)).error)

    def test_lengths_of_texts(self) -> None:
        text = struct.pack("<I", 5) + b"hello"
        with shoal.connect_sync(hole.mesh.address, timeout=30.0) as client:
            self.assertIsNotNone(client.infer("minilm", {"text": np.frombuffer(text, np.uint8)}, deadline=30.0))
            for wrong in (
                b"",
                b"\5",
                b"\xff\xff\xff\xff",
                b"\xff\xff\xff\x7fhello",
                text + b"\1",
                text + b"\xfb\xff\xff\xff",
                text[:-1],
            ):
                with self.subTest(wrong), self.assertRaises(shoal.InvalidArgument):
                    client.infer("minilm", {"text": np.frombuffer(wrong, np.uint8)}, deadline=30.0)


if __name__ == "__main__":
    unittest.main()
