"""A mesh that runs for the length of a test: `shoal up` on free ports with the models of the fixtures, those of every type
included, ended with SIGTERM.

SHOAL_BIN is the folder with the executable `shoal`, SHOAL_FIXTURES what `make fixtures` wrote.
"""

import os
import pathlib
import re
import selectors
import signal
import subprocess
import tempfile
import time


class RunningMesh:
    """Context manager. `http` and `grpc` are "HOST:PORT" once it is entered; leaving checks that the mesh ended well."""

    def __init__(self, *more: str, start_timeout: float = 60.0, stop_timeout: float = 30.0) -> None:
        """`more`: further arguments of `shoal up`."""
        self.http = ""
        self.grpc = ""
        self._more = more
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout

    def __enter__(self) -> "RunningMesh":
        for name in ("SHOAL_BIN", "SHOAL_FIXTURES"):
            if not os.environ.get(name):
                raise RuntimeError(f"{name} is not set; run this through ctest, or see tests/conformance/README.md")
        fixtures = pathlib.Path(os.environ["SHOAL_FIXTURES"])
        self._models = tempfile.TemporaryDirectory()
        for model in (*(fixtures / "models").iterdir(), *(fixtures / "types").iterdir()):
            if not model.name.startswith("."):
                (pathlib.Path(self._models.name) / model.name).symlink_to(model.resolve())
        self._process = subprocess.Popen(
            [
                pathlib.Path(os.environ["SHOAL_BIN"]) / "shoal",
                "up",
                *("--models", self._models.name),
                *("--http", "127.0.0.1:0"),
                *("--grpc", "127.0.0.1:0"),
                *("--native", "tcp://127.0.0.1:0"),
                *self._more,
            ],
            stdout=subprocess.PIPE,
        )
        try:
            self.http, self.grpc = self._wait_until_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._models.cleanup()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(self._stop_timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the mesh did not end within {self._stop_timeout} s of SIGTERM") from None
        finally:
            self._process.stdout.close()
            self._models.cleanup()
        if status != 0:
            raise RuntimeError(f"the mesh ended with {status} after SIGTERM, not with 0")

    def _wait_until_ready(self) -> tuple[str, str]:
        deadline = time.monotonic() + self._start_timeout
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(self._process.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"`shoal up` ended with {self._process.wait()} before it was ready: {output!r}")
                output += piece
                if ready := re.search(rb"^ready .*?\bhttp=(\S+) grpc=(\S+).*\n", output, re.MULTILINE):
                    return ready[1].decode(), ready[2].decode()
        raise RuntimeError(f"`shoal up` was not ready within {self._start_timeout} s: {output!r}")
