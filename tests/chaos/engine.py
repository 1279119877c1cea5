"""The Docker engine and the tools of the host, as far as faults need them: one place that runs commands. What needs none is
asked of the engine itself (docker_api.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


class EngineError(Exception):
    """A command of the engine or the host failed; the message has what it said."""


def run(*command: str | Path, timeout: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
    """Its standard output. Raises EngineError if it fails or takes longer than `timeout` seconds."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is for us: we end what we began in order
        )
    except FileNotFoundError as missing:
        raise EngineError(f"{words[0]} is not installed here") from missing
    except subprocess.TimeoutExpired as late:
        raise EngineError(f"{' '.join(words)} took more than {timeout:g} s") from late
    if done.returncode != 0:
        raise EngineError(f"{' '.join(words)} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def docker(*arguments: str | Path, timeout: float = 60.0) -> str:
    return run("docker", *arguments, timeout=timeout)


def why_no_engine() -> str | None:
    """Why no container can be run here; None: they can."""
    if shutil.which("docker") is None:
        return "the command `docker` is not installed: install Docker Engine 20.10 or later"
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout=10)
    except EngineError as error:
        return f"no Docker engine answers ({error}): start dockerd, or set DOCKER_HOST"
    if not compose_command():
        return "Docker Compose is not installed: install docker-compose-plugin or docker-compose 1.29"
    return None


def compose_command() -> list[str]:
    """Compose v2 if it is there, else 1.29; empty: neither."""
    try:
        docker("compose", "version", timeout=10)
        return ["docker", "compose"]
    except EngineError:
        return ["docker-compose"] if shutil.which("docker-compose") else []


def why_no_namespace(*tools: str) -> str | None:
    """Why the network of a container cannot be reached from here; None: it can."""
    if os.geteuid() != 0:
        return "only root may enter the network namespace of a container"
    for tool in ("nsenter", *tools):
        if shutil.which(tool) is None:
            return f"the command `{tool}` is not installed on this host"
    return None
