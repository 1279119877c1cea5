"""A test for each of the holes that were found in other inference servers: names, paths and models."""

import http.server
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import shoal
from tritonclient.grpc import service_pb2 as protocol

import hole
import raw_grpc
from evil_models import HARMLESS, REFUSED, pickle_that_touches, write_evil_models
from hole import Hole, grpc_call, infer, post, tensor
from keyring import run_shoal
from raw_http import INFER, ask, infer_body, request
from running_mesh import FIXTURES

evil: dict[str, Path]


def setUpModule() -> None:
    def models(folder: Path) -> list[Path]:
        global evil
        evil = write_evil_models(folder / "evil", folder / "somebody-was-fooled")
        broken = folder / "evil" / "broken" / "1" / "model.pt2"
        broken.parent.mkdir(parents=True)
        broken.write_bytes(b"PK\x03\x04 no more")
        right = [FIXTURES / "models" / "identity", FIXTURES / "models" / "minilm", FIXTURES / "graphs" / "gather"]
        return [*right, *evil.values(), broken.parents[1]]

    hole.serve(models)


def model_names_that_lead_elsewhere() -> list[str]:
    return [
        "..",
        ".",
        "../identity",
        "../../outside",
        "..\\outside",
        "/etc",
        "/etc/passwd",
        "identity/../../outside",
        "identity/1",
        "%2e%2e",
        "..%2foutside",
        "%2e%2e%2foutside",
        "..%252foutside",
        "identity%00",
        "identity\n",
        "a" * 65,
        "a" * 5000,
        "~root",
        "$HOME",
        "file:///etc/passwd",
        "\u2025/outside",
        "C:\\outside",
        "//host/share",
    ]


class PathTraversal(Hole):
    """CVE-2023-31036, CVE-2024-0087: names of models and settings of logs led out of their folder, to any file."""

    def setUp(self) -> None:
        served = hole.models_folder()
        self.outside = served.parent / "outside"
        if not self.outside.exists():
            self.outside.symlink_to(FIXTURES / "models" / "identity")  # a right model, where nobody may take it from
        self.served = served
        self.before = sorted(served.parent.rglob("*"))

    def check(self) -> None:
        self.assertEqual(sorted(self.served.parent.rglob("*")), self.before)
        index = json.loads(post("/v2/repository/index", {}).body)
        self.assertNotIn("outside", [model["name"] for model in index])

    def test_no_name_leads_out_over_http(self) -> None:
        for verb in ("unload", "load"):
            self.assertEqual(post(f"/v2/repository/models/identity/{verb}", {}).status, 200)
        for name in model_names_that_lead_elsewhere():
            spelled = "".join(
                c if 32 < ord(c) < 127 and c != "#" else "".join(f"%{b:02x}" for b in c.encode()) for c in name
            )
            for path in (f"/v2/repository/models/{spelled}/load", f"/v2/repository/models/{spelled}/unload"):
                with self.subTest(path[:100]):
                    self.assertIn(post(path, {}).status, (400, 404))
            for path in (f"/v2/models/{spelled}", f"/v2/models/{spelled}/config", f"/v1/models/{spelled}"):
                with self.subTest(path[:100]):
                    self.assertIn(ask(hole.mesh.http, request("GET", path)).status, (400, 404, 405))
        self.check()

    def test_no_name_leads_out_over_grpc(self) -> None:
        for name in model_names_that_lead_elsewhere():
            for kind, verb in (
                (protocol.RepositoryModelLoadRequest, "RepositoryModelLoad"),
                (protocol.RepositoryModelUnloadRequest, "RepositoryModelUnload"),
            ):
                with self.subTest(f"{verb} {name[:60]!r}"):
                    answer = grpc_call(verb, kind(model_name=name).SerializeToString())
                    self.assertIn(raw_grpc.code(answer), (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND))
        self.check()

    def test_no_name_leads_out_over_the_native_door(self) -> None:
        with shoal.connect_sync(hole.mesh.address, timeout=30.0) as client:
            for name in model_names_that_lead_elsewhere():
                with self.subTest(name[:60]):
                    for verb in (lambda n: client.load(n, deadline=20.0), lambda n: client.unload(n, deadline=20.0)):
                        try:
                            answers = verb(name)
                        except shoal.ShoalError as refused:
                            answers = []
                            self.assertIsInstance(refused, (shoal.InvalidArgument, shoal.NotFound))
                        for answer in answers:
                            self.assertIsInstance(answer.error, (shoal.InvalidArgument, shoal.NotFound))
        self.check()

    def test_a_load_brings_no_files_and_no_settings(self) -> None:
        target = self.outside.parent / "written"
        for parameters in (
            {"config": "{}"},
            {"file:1/model.pt2": "UEs="},
            {"config": "{}", "file:../../written": "UEs="},
            {f"file:{target}": "UEs="},
            {"model_path": str(self.outside)},
        ):
            with self.subTest(str(parameters)[:80]):
                answer = post("/v2/repository/models/identity/load", {"parameters": parameters})
                self.assertEqual(answer.status, 400, answer.body)
                message = protocol.RepositoryModelLoadRequest(model_name="identity")
                for name, value in parameters.items():
                    message.parameters[name].string_param = value
                code = raw_grpc.code(grpc_call("RepositoryModelLoad", message.SerializeToString()))
                self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
        self.check()

    def test_there_are_no_settings_of_logs_and_traces(self) -> None:
        target = self.outside.parent / "written"
        for path in ("/v2/logging", "/v2/trace/setting", "/v2/models/identity/trace/setting"):
            for body in ({"log_file": str(target)}, {"trace_file": str(target), "trace_level": ["TIMESTAMPS"]}):
                self.assertIn(post(path, body).status, (404, 405))
        for method in ("LogSettings", "TraceSetting"):
            self.assertEqual(raw_grpc.code(grpc_call(method)), grpc.StatusCode.UNIMPLEMENTED)
        self.check()


class LeakedNames(Hole):
    """CVE-2025-23319, CVE-2025-23320, CVE-2025-23334: an error told the name of the server's own shared memory,
    which the API for shared memory then took for a client's."""

    def bad_requests(self) -> list[bytes]:
        huge = [1 << 40, 1 << 40]
        bodies = [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"inputs":[]}',
            b'{"inputs":{}}',
            b"\xff\xfe",
            b'{"inputs":[{"name":"x"}]}',
            *(
                json.dumps({"inputs": [each]}).encode()
                for each in (
                    tensor(shape=huge),
                    tensor(shape=[1, 4]),
                    tensor(datatype="FP64"),
                    tensor(datatype="BYTES", data=["a"]),
                    tensor(name="y"),
                    tensor(data=["a", "b", "c"]),
                    tensor(data=None),
                    tensor(shape=[-1, 3]),
                    tensor(shape=[]),
                    tensor(parameters={"binary_data_size": 12}, data=None),
                    tensor(shape=[1] * 40),
                    tensor(parameters={"shared_memory_region": "mine", "shared_memory_byte_size": 12}, data=None),
                    tensor(
                        parameters={
                            "shared_memory_region": "mine",
                            "shared_memory_byte_size": 1 << 62,
                            "shared_memory_offset": 1,
                        }
                    ),
                )
            ),
            json.dumps({"inputs": [tensor()], "outputs": [{"name": "nobody"}]}).encode(),
            json.dumps(
                {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "mine"}}]}
            ).encode(),
            json.dumps({"inputs": [tensor()], "parameters": {"timeout": -1}}).encode(),
            json.dumps({"inputs": [tensor(), tensor()]}).encode(),
        ]
        requests = [request("POST", INFER, body) for body in bodies]
        requests += [
            request("POST", INFER, infer_body(), Inference_Header_Content_Length=n) for n in (-1, 10**9, "x", 3)
        ]
        requests += [request("POST", INFER, infer_body(), Content_Encoding=coding) for coding in ("gzip", "br", "x")]
        requests += [
            request("POST", f"/v2/models/{name}/infer", infer_body()) for name in ("nobody", "broken", "weight", "..")
        ]
        requests += [
            request("POST", f"/v2/models/identity/versions/{n}/infer", infer_body()) for n in (2, -1, "x", 1 << 70)
        ]
        requests += [
            request("POST", f"/v2/repository/models/{name}/load", b"{}")
            for name in ("nobody", "broken", *REFUSED, "pickle")
        ]
        requests += [request("POST", "/v2/repository/models/nobody/unload", b"{}")]
        requests += [
            request(
                "POST",
                "/v2/models/gather/infer",
                json.dumps(
                    {"inputs": [tensor("ids", "INT64", [1, 4], [0, 0, 0, 10]), tensor("x", "FP32", [1, 4], [1] * 4)]}
                ).encode(),
            ),
            request("GET", "/v2/models/broken"),
            request("GET", "/v2/models/broken/config"),
            request("GET", "/v2/models/weight/ready"),
            request("GET", "/nothing"),
            request("DELETE", "/v2"),
            request("BREW", "/v2"),
            request("GET", "*"),
            request("GET", "/%zz"),
            request("POST", "/v1/embeddings", b'{"model":"identity","input":"a"}'),
            request("POST", "/v1/embeddings", b"{"),
            request("POST", "/v1/embeddings", json.dumps({"model": "minilm", "input": "a " * 5000}).encode()),
            request("POST", "/v1/embeddings", b'{"model":"minilm","input":[99999999]}'),
            b"nonsense\r\n\r\n",
            b"GET / HTTP/3.0\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\n\r\n",
            b"\0" * 100 + b"\r\n\r\n",
            b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
        return requests

    def native_errors(self) -> list[str]:
        told = []
        x = np.zeros((1, 3), np.float32)
        with shoal.connect_sync(hole.mesh.address, timeout=30.0) as client:
            for model, inputs in (
                ("nobody", {"x": x}),
                ("broken", {"x": x}),
                ("identity", {"y": x}),
                ("identity", {"x": x[0]}),
                ("gather", {"ids": np.full((1, 4), 99), "x": np.zeros((1, 4), np.float32)}),
                ("..", {"x": x}),
            ):
                with self.assertRaises(shoal.ShoalError) as caught:
                    client.infer(model, inputs)
                told.append(str(caught.exception))
            for name in ("broken", "weight", "pickle", "nobody"):
                told += [str(answer.error) for answer in client.load(name)]
        return told

    def test_no_error_tells_a_path_an_address_or_an_object_of_the_server(self) -> None:
        told = []
        for asked in self.bad_requests():
            answer = ask(hole.mesh.http, asked)
            with self.subTest(asked[:120]):
                self.assertTrue(400 <= answer.status < 600, answer)
                self.assertIn(b"error", answer.body)
            told.append(answer.body.decode(errors="replace") + str(answer.fields))
        told.append(
            ask(hole.mesh.http, request("POST", "/v2/repository/index")).body.decode()
        )  # the reasons of what failed
        wrong = protocol.ModelInferRequest(model_name="identity")
        for message in (
            b"\xff",
            wrong.SerializeToString(),
            raw_grpc.infer_request("nobody"),
            raw_grpc.infer_request("broken"),
        ):
            told.append(grpc_call("ModelInfer", message).details())
        for name in ("broken", "weight", "pickle", "nobody"):
            answer = grpc_call(
                "RepositoryModelLoad", protocol.RepositoryModelLoadRequest(model_name=name).SerializeToString()
            )
            told.append(answer.details())
        told += self.native_errors()
        folder = re.escape(str(hole.marker.parent))
        served = re.escape(str(hole.models_folder().parent))
        patterns = [
            folder,
            served,
            re.escape(str(FIXTURES)),
            r"/(?:tmp|dev|proc|home|usr|etc|var|run|root|work)/",
            r"(?:ipc|inproc|tcp)://",
            r"127\.0\.0\.1",
            r"0x[0-9a-fA-F]{6,}",
            r"\.(?:cpp|hpp|so)\b",
            r"triton_|/psm_|shm_",
        ]
        self.assertEqual([text[:300] for text in told if re.search("|".join(patterns), text)], [])

    def test_there_is_no_api_for_shared_memory(self) -> None:
        for kind in ("systemsharedmemory", "cudasharedmemory"):
            for path in (
                f"/v2/{kind}/status",
                f"/v2/{kind}/region/a/register",
                f"/v2/{kind}/region/a/status",
                f"/v2/{kind}/unregister",
            ):
                self.assertEqual(post(path, {"key": "/a", "byte_size": 64}).status, 404)
                self.assertEqual(ask(hole.mesh.http, request("GET", path)).status, 404)
        for method in (
            "SystemSharedMemoryStatus",
            "SystemSharedMemoryRegister",
            "SystemSharedMemoryUnregister",
            "CudaSharedMemoryRegister",
        ):
            self.assertEqual(raw_grpc.code(grpc_call(method)), grpc.StatusCode.UNIMPLEMENTED)
        region = tensor(parameters={"shared_memory_region": "a", "shared_memory_byte_size": 12}, data=None)
        answer = infer([region])
        self.assertEqual(answer.status, 400)
        self.assertIn("shared memory is not offered", answer.error)
        message = protocol.ModelInferRequest.FromString(raw_grpc.infer_request())
        message.inputs[0].parameters["shared_memory_region"].string_param = "a"
        self.assertEqual(
            raw_grpc.code(grpc_call("ModelInfer", message.SerializeToString())), grpc.StatusCode.INVALID_ARGUMENT
        )


class ModelFromUrl(Hole):
    """CVE-2023-43654: anybody could have the server fetch a model from anywhere, and run it."""

    def test_nothing_is_fetched(self) -> None:
        asked: list[str] = []

        class Web(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_HEAD = do_GET

            def log_message(self, *_) -> None:
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        url = f"http://127.0.0.1:{web.server_port}/model.pt2"
        with socket.create_connection(web.server_address) as probe:  # it would be heard
            probe.sendall(b"GET /probe HTTP/1.0\r\n\r\n")
            probe.recv(10)
        self.assertEqual(asked.pop(), "/probe")
        quoted = url.replace(":", "%3A").replace("/", "%2F")
        self.assertIn(post(f"/v2/repository/models/{quoted}/load", {}).status, (400, 404))
        for parameters in ({"url": url}, {"model_uri": url}, {"config": json.dumps({"url": url})}):
            self.assertEqual(post("/v2/repository/models/identity/load", {"parameters": parameters}).status, 400)
        for path in (f"/models?url={quoted}", f"/workflows?url={quoted}", f"/v2/models?url={quoted}"):
            self.assertIn(post(path, {}).status, (404, 405))
        load = protocol.RepositoryModelLoadRequest(model_name=url).SerializeToString()
        self.assertEqual(raw_grpc.code(grpc_call("RepositoryModelLoad", load)), grpc.StatusCode.INVALID_ARGUMENT)
        with tempfile.TemporaryDirectory() as folder:
            self.assertNotEqual(run_shoal("import", url, "--models", folder, "--name", "far").returncode, 0)
            self.assertEqual(list(Path(folder).iterdir()), [])
        self.assertEqual(asked, [])


class ModelThatRunsCode(Hole):
    """CVE-2025-32434: weights that were said to be weights only were unpickled, and ran code."""

    def test_the_pickle_of_these_tests_does_run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fooled = Path(folder) / "fooled"
            code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
            subprocess.run([sys.executable, "-c", code], input=pickle_that_touches(fooled), timeout=60, check=False)
            self.assertTrue(fooled.exists())

    def test_a_mesh_runs_none_of_it(self) -> None:
        index = {model["name"]: model for model in json.loads(post("/v2/repository/index", {}).body)}
        for name in HARMLESS:
            with self.subTest(name):
                self.assertEqual(index[name]["state"], "READY")
                self.assertEqual(infer([tensor(shape=[1, 4], data=[1, 2, 3, 4])], name).status, 200)
        for name in (*REFUSED, "pickle", "torch_save"):
            with self.subTest(name):
                self.assertNotEqual(index[name]["state"], "READY")
                answer = post(f"/v2/repository/models/{name}/load", {})
                self.assertTrue(400 <= answer.status < 600)
                if name in ("weight", "constant", "custom_object"):
                    self.assertIn("is stored as a pickle", answer.error)

    def test_check_and_import_run_none_of_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder)

            def both(name: str) -> tuple[int, int]:
                file = evil[name] / "1" / "model.pt2"
                return (
                    run_shoal("check", file).returncode,
                    run_shoal("import", file, "--models", models, "--name", name).returncode,
                )

            with ThreadPoolExecutor(2) as pool:
                codes = dict(zip(evil, pool.map(both, evil), strict=True))
            for name, (checked, imported) in codes.items():
                with self.subTest(name):
                    self.assertEqual(checked == 0, name in HARMLESS)
                    self.assertEqual(imported == 0, name in HARMLESS)
            self.assertEqual({each.name for each in models.iterdir() if not each.name.startswith(".")}, set(HARMLESS))


if __name__ == "__main__":
    unittest.main()
