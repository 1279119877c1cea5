"""A peer, or Shoal, as a benchmark sees it: started, known to answer correctly, measured, ended.

    with Peer("triton", "tuned") as peer:
        peer.addresses.http, peer.start_s, peer.memory()

Its server is <name>_server.py, run by the Python of build/peers/<name> under keeper.py, on free ports of 127.0.0.1.
What it prints goes to build/peers/logs/<name>-<setting>.log.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy

from keeper import descendants
from protocol import TYPES, Tensors, infer
from served_models import INPUTS, ROOT, SETTINGS, TOLERANCES, TUNED

HERE = Path(__file__).resolve().parent
# HTTP with JSON, HTTP with binary tensors, gRPC. Ray's gRPC proxy carries one's own services only.
PROTOCOLS = {
    "triton": ("json", "binary", "grpc"),
    "mlserver": ("json", "grpc"),
    "ray": ("json", "binary"),
    "shoal": ("json", "binary", "grpc"),
}
START_LIMIT_S = 120


@dataclass(frozen=True)
class Addresses:
    http: str
    grpc: str | None
    native: str | None = None  # Shoal's only


def python_of(name: str) -> Path:
    """Shoal needs no environment: its server is an executable, and the Python that starts it the project's own."""
    return ROOT / ("build/venv" if name == "shoal" else f"build/peers/{name}") / "bin/python"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def difference(got: numpy.ndarray, expected: numpy.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    if got.shape != expected.shape:
        return float("inf")
    return float(abs(got - expected).max() / abs(expected).max())


def reference(model: str) -> tuple[Tensors, Tensors]:
    """Inputs and eager PyTorch's outputs, as tools/export stored them beside the fixture: its second case."""
    folder = ROOT / "build/fixtures/models" / model / "1/reference"
    if not folder.exists():
        raise SystemExit("peer: build/fixtures is missing; make fixtures")

    def tensors(entries: list[dict]) -> Tensors:
        return {e["name"]: numpy.fromfile(folder / e["file"], TYPES[e["type"]]).reshape(e["shape"]) for e in entries}

    case = json.loads((folder / "cases.json").read_text())["cases"][1]
    return tensors(case["inputs"]), tensors(case["outputs"])


class Peer:
    """`models`: what it serves, both unless told otherwise.

    The peer ends with the thread that started it, if not before: that is what its keeper is tied to.
    """

    def __init__(self, name: str, setting: str, models: list[str] | None = None) -> None:
        if name not in PROTOCOLS or setting not in SETTINGS:
            raise SystemExit(f"peer: {name} {setting}: there are {', '.join(PROTOCOLS)}, each {' or '.join(SETTINGS)}")
        self.name, self.setting, self.models = name, setting, models or list(INPUTS)
        self.start_s = 0.0

    def __enter__(self) -> Peer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Addresses:
        """Returns once every model gave a correct answer; `start_s` is how long that took."""
        python = python_of(self.name)
        if not python.exists():
            raise SystemExit(f"peer: {python} is missing; bench/peers/environments.py makes it (Shoal's: make setup)")
        http_port, grpc_port, native_port = free_ports(3)
        grpc = f"127.0.0.1:{grpc_port}" if "grpc" in PROTOCOLS[self.name] else None
        native = f"127.0.0.1:{native_port}" if self.name == "shoal" else None
        self.addresses = Addresses(f"127.0.0.1:{http_port}", grpc, native)
        self.log = ROOT / "build/peers/logs" / f"{self.name}-{self.setting}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        awaited = {model: reference(model) for model in self.models}
        folder = tempfile.mkdtemp(prefix="peer-")
        server = [python, HERE / f"{self.name}_server.py"]
        command = [*server, self.setting, http_port, grpc_port, native_port, folder, *self.models]
        threads = {"OMP_NUM_THREADS": "1"} if self.setting in TUNED else {}
        began = time.monotonic()
        with self.log.open("w") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, HERE / "keeper.py", folder, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **threads},
            )  # fmt: skip
        try:
            for model, (inputs, outputs) in awaited.items():
                self._await_answer(began + START_LIMIT_S, model, inputs, outputs)
        except BaseException:
            self.stop()
            raise
        self.start_s = time.monotonic() - began
        return self.addresses

    def _await_answer(self, deadline: float, model: str, inputs: Tensors, outputs: Tensors) -> None:
        """Errors while it starts are expected; a wrong answer is not."""
        while True:
            try:
                answer = infer(self.addresses.http, model, inputs)
                break
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                if (ended := self.keeper.poll()) is not None or time.monotonic() > deadline:
                    why = error if ended is None else f"its keeper ended with {ended}"
                    raise RuntimeError(f"{self.name} {self.setting} did not start ({why}); see {self.log}") from error
            time.sleep(0.05)
        for name, expected in outputs.items():
            if (wrong := difference(answer[name], expected)) > TOLERANCES[self.setting]:
                raise RuntimeError(f"{self.name} {self.setting} answers {model} wrongly: {wrong:.1e} off")

    def pids(self) -> list[int]:
        return descendants(self.keeper.pid)

    def memory(self) -> float:
        """PSS of all its processes in MB: pages shared with others counted in part."""
        kib = 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kib * 1024 / 1e6

    def stop(self) -> None:
        self.keeper.terminate()
        self.keeper.wait()
