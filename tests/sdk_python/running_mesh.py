"""`shoal up` for the length of a test, with the identity model alone, on free ports. SHOAL_BIN is the executable's folder,
SHOAL_FIXTURES what tools/export/fixtures.py wrote."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

BIN = os.environ.get("SHOAL_BIN")
FIXTURES = Path(os.environ.get("SHOAL_FIXTURES", Path(__file__).parents[2] / "build" / "fixtures"))


class RunningMesh:
    """`address`: the first gateway's. `processes`: a process for each service, two gateways."""

    def __init__(self, processes: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        models = folder / "models"
        shutil.copytree(FIXTURES / "models" / "identity", models / "identity")
        self._log = folder / "log"
        self._run = folder / "run"
        self.log = ""
        command = [str(Path(BIN) / "shoal"), "up", "--models", str(models)]
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--native", "tcp://127.0.0.1:0"]
        if processes:
            command += ["--processes", "--scale", "gateway=2", "--scale", "worker=1"]
            command += ["--set", f"mesh.run_directory={self._run}"]
        else:
            command += ["--threads", "1"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                self.addresses = [each for each in re.findall(r"native=(\S+)", line) if each.startswith("tcp:")]
                self.address = self.addresses[0]
                return
        raise AssertionError(f"`shoal up` ended with {self.stop()} before it was ready:\n{self.log}")

    def process_id(self, service: str, number: int) -> int:
        """Of a mesh of processes."""
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
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.log = self._log.read_text()
        self._folder.cleanup()
        return self.process.returncode
