"""`shoal up` for the length of a test: on free ports, ended with SIGTERM, never left behind.

SHOAL_BIN is the folder with the executables, SHOAL_FIXTURES what `make fixtures` wrote.
"""

import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

BIN = os.environ.get("SHOAL_BIN")
FIXTURES = Path(os.environ.get("SHOAL_FIXTURES", Path(__file__).parents[2] / "build" / "fixtures"))
START, STOP = 180.0, 30.0  # seconds


def fixture_models(*kinds: str) -> list[Path]:
    """Every model of `models`, `types`, ... of the fixtures."""
    found = [model for kind in kinds for model in (FIXTURES / kind).iterdir()]
    return sorted(model for model in found if not model.name.startswith("."))


class RunningMesh:
    """Runs once it is made; may be used as a context manager, which checks that it ended well.

    Attributes:
        http, grpc: "HOST:PORT".
        natives: every native address over tcp, one for each gateway; `address`: the first.
        log: what it wrote to standard error, once it has been stopped.
    """

    def __init__(self, *more: str, models: Iterable[Path] | None = None) -> None:
        """`more`: further arguments of `shoal up`. `models`: their folders; the identity model alone if none are named."""
        if not BIN:
            raise RuntimeError("SHOAL_BIN is not set; run this through ctest, or see tests/conformance/README.md")
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        served = folder / "models"
        served.mkdir()
        for model in models if models is not None else [FIXTURES / "models" / "identity"]:
            (served / model.name).symlink_to(model.resolve())
        self._run = folder / "run"
        self._log = folder / "log"
        self.log = ""
        command = [Path(BIN) / "shoal", "up", "--models", served, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        command += ["--set", "precision.policy=fp32"]  # answers are compared, and nothing is written beside the models
        command += ["--native", "tcp://127.0.0.1:0", "--set", f"mesh.run_directory={self._run}", *more]
        with self._log.open("w") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=log)
        try:
            ready = self._wait_until_ready()
        except BaseException:
            self.process.kill()
            self.stop()
            raise
        self.http = re.search(r" http=(\S+)", ready)[1]
        self.grpc = re.search(r" grpc=(\S+)", ready)[1]
        self.natives = re.findall(r" native=(tcp:\S+)", ready)
        self.address = self.natives[0]

    def process_id(self, service: str, number: int) -> int:
        """Of a mesh with --processes."""
        for each in json.loads((self._run / "mesh.json").read_text())["services"]:
            if (each["service"], each["number"]) == (service, number):
                return each["pid"]
        raise AssertionError(f"there is no {service} {number}")

    def stop(self) -> int:
        """Asks it to end; its exit code. May be called again."""
        if not self._log.exists():
            return self.process.returncode
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log = self._log.read_text()
        self._folder.cleanup()
        return self.process.returncode

    def __enter__(self) -> "RunningMesh":
        return self

    def __exit__(self, *_) -> None:
        if (status := self.stop()) != 0:
            raise RuntimeError(f"the mesh ended with {status} after SIGTERM, not with 0:\n{self.log}")

    def _wait_until_ready(self) -> str:
        deadline = time.monotonic() + START
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"`shoal up` ended before it was ready:\n{self._log.read_text()}")
                output += piece
                if ready := re.search(rb"^ready .*\n", output, re.MULTILINE):
                    return ready[0].decode()
        raise RuntimeError(f"`shoal up` was not ready within {START:g} s:\n{self._log.read_text()}")
