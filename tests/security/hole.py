"""What the tests of known holes share: a mesh that asks nobody for a key, and requests to it."""

import json
import tempfile
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc

import raw_grpc
from raw_http import INFER, Answer, ask, infer_body, request
from running_mesh import RunningMesh

mesh: RunningMesh
marker: Path  # is made by whoever is fooled


def serve(models: Callable[[Path], Iterable[Path]]) -> None:
    """For the tests of a module. `models`: makes them in a folder."""
    global mesh, marker
    folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    marker = folder / "somebody-was-fooled"
    mesh = unittest.enterModuleContext(RunningMesh("--workers", "1", "--threads", "1", models=models(folder)))


def models_folder() -> Path:
    return Path(mesh.process.args[mesh.process.args.index("--models") + 1])


def post(path: str, body: object, **fields: object) -> Answer:
    return ask(
        mesh.http, request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), **fields)
    )


def infer(inputs: list[dict], model: str = "identity", **more: object) -> Answer:
    return post(f"/v2/models/{model}/infer", {"inputs": inputs} | more)


def tensor(
    name: str = "x", datatype: str = "FP32", shape: Iterable[int] = (1, 3), data: object = (1, 2, 3), **more
) -> dict:
    made = {"name": name, "datatype": datatype, "shape": list(shape)} | more
    return made if data is None else made | {"data": data}


def grpc_call(method: str, message: bytes = b"") -> bytes | grpc.RpcError:
    with grpc.insecure_channel(mesh.grpc) as channel:
        return raw_grpc.call(channel, method, message)


class Hole(unittest.TestCase):
    def tearDown(self) -> None:
        self.assertFalse(marker.exists(), "code of a stranger was run")
        answer = ask(mesh.http, request("POST", INFER, infer_body()))  # whatever happened, it goes on
        self.assertEqual(answer.status, 200, answer.body[:300])
