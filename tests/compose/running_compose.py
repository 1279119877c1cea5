"""The mesh of compose/compose.yaml, with everything that is in it, for the length of a suite.

It has a project and a loopback address of its own, so that a mesh which somebody runs here is not disturbed; containers and
volumes are removed when the suite ends, also when it fails.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from images import ROOT, compose_command

PROJECT = "shoaldeploy"
ADDRESS = "127.0.0.3"
HTTP = f"http://{ADDRESS}:8000"
NATIVE = f"tcp://{ADDRESS}:8002"
PROMETHEUS = f"http://{ADDRESS}:9090"
SERVICES = ("gateway", "scheduler", "worker", "cache", "precision", "front", "prometheus")
SENTENCE = "A man plays the guitar."
Found = TypeVar("Found")


def environment(**more: str) -> dict[str, str]:
    """What the file is told by."""
    return {**os.environ, "SHOAL_PUBLISH": ADDRESS, "SHOAL_WEIGHTS": "512m", **more}


def compose(*arguments: str) -> str:
    """Runs Compose on the file; its standard output. What it says goes into the error if it fails."""
    command = [*compose_command(), "-f", ROOT / "compose/compose.yaml", "--project-name", PROJECT]
    done = subprocess.run([*command, "--profile", "observability", *arguments], env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"compose {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def image(service: str) -> str:
    return f"shoal/{service}:{os.environ.get('SHOAL_TAG', 'latest')}"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what: str, seconds: float, look: Callable[[], Found]) -> Found:
    """Looks again and again until there is something; AssertionError after that time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s\n{compose('ps')}")
        time.sleep(0.1)
    return found


def embed(text: str = SENTENCE, timeout: float = 10) -> list[float]:
    """One embedding over HTTP, through the front."""
    asked = urllib.request.Request(f"{HTTP}/v1/embeddings", json.dumps({"model": "minilm", "input": text}).encode())
    with urllib.request.urlopen(asked, timeout=timeout) as answer:
        return json.load(answer)["data"][0]["embedding"]


class Mesh:
    """Attributes: `first_answer`: seconds from `up` to the first embedding, on volumes that were empty."""

    def __init__(self) -> None:
        compose("down", "--volumes", "--remove-orphans")
        begin = time.monotonic()
        self.scale(worker=2)

        def answered() -> bool:
            try:
                return len(embed()) > 0
            except OSError:
                return False

        wait_for("the first answer", 90, answered)
        self.first_answer = time.monotonic() - begin
        print(f"first answer {self.first_answer:.1f} s after `up`, with empty volumes", file=sys.stderr)

    def scale(self, **services: int) -> None:
        wanted = [f"--scale={service}={number}" for service, number in services.items()]
        compose("up", "--detach", "--no-build", *wanted)

    def containers(self, service: str) -> list[dict]:
        """What `docker inspect` says of those that run."""
        ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}",
                     "--filter", f"label=com.docker.compose.service={service}").split()  # fmt: skip
        return json.loads(docker("inspect", *ids)) if ids else []

    def wait_until_healthy(self, seconds: float = 60, **services: int) -> None:
        """Each of these services has so many containers, and all say that they are well."""

        def healthy() -> bool:
            return all(
                [each["State"].get("Health", {}).get("Status") for each in self.containers(service)] == ["healthy"] * number
                for service, number in services.items()
            )

        wait_for(f"healthy: {services}", seconds, healthy)


@functools.cache
def the_key() -> Path:
    """The key file of a client, for the native door."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "client.key"
    file.touch(0o600)
    file.write_text(compose("run", "--rm", "-T", "keys", "new", "client", "--out", "-"))
    return file


@functools.cache
def the_mesh() -> Mesh:
    """Started by whoever asks first; ends with the process's tests, or with the first that cannot start it."""

    def end() -> None:
        if os.environ.get("SHOAL_KEEP_MESH"):
            return print(f"the mesh is left running: project {PROJECT}, {HTTP}", file=sys.stderr)
        compose("down", "--volumes", "--remove-orphans", "--timeout", "15")

    atexit.register(end)  # several modules share it
    return Mesh()
