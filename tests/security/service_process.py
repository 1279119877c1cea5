"""One executable of the mesh for the length of a test."""

import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from running_mesh import BIN


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


class ServiceProcess:
    """`shoal-NAME` with settings, "section.key=value" each. Ends with the context."""

    def __init__(self, name: str, *settings: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        command = [str(Path(BIN or "") / f"shoal-{name}")]
        for setting in settings:
            command += ["--set", setting]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder.name)

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def ended(self, within: float = 180.0) -> int | None:
        """Its exit code; None: it goes on."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def is_listening(self, port: int, within: float = 180.0) -> bool:
        """Whether that comes to be, before it ends."""
        until = time.monotonic() + within
        while time.monotonic() < until and self.process.poll() is None:
            if listens(port):
                return True
            time.sleep(0.05)
        return False

    def says(self, sentence: str, within: float = 180.0) -> bool:
        until = time.monotonic() + within
        while sentence not in self.output:
            if time.monotonic() > until or self.process.poll() is not None:
                return sentence in self.output
            time.sleep(0.05)
        return True

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()
