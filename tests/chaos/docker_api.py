"""The Docker engine's own interface (HTTP over its socket), as far as faults need it: no command, and no process for each
question.

`Api` may be used by several threads: each question has a connection of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .engine import EngineError, run

SOCKET = "unix:///var/run/docker.sock"


class Gone(EngineError):
    """There is no such container, network or volume (any more)."""


def endpoint() -> str:
    """Where the engine listens: DOCKER_HOST, or what the client's context says, or the usual socket."""
    if said := os.environ.get("DOCKER_HOST"):
        return said
    if shutil.which("docker") is not None:
        return run("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", timeout=10).strip()
    return SOCKET


@dataclass(frozen=True, slots=True)
class Finished:
    """A container that ran to its end."""

    code: int
    out: str
    err: str


class Api:
    def __init__(self, where: str | None = None) -> None:
        """Raises EngineError if the engine is somewhere that is not spoken to here."""
        self.where = where or endpoint()
        self._url = urlsplit(self.where)
        if self._url.scheme not in ("unix", "tcp", "http"):
            raise EngineError(f"an engine at {self.where} is not spoken to: set DOCKER_HOST=unix://PATH, or tcp://HOST:PORT without TLS")

    # --- containers --------------------------------------------------------------------------------------------------

    def containers(self, *labels: str) -> list[dict[str, Any]]:
        """With all of these labels, also those that have ended."""
        return self._json("GET", "/containers/json", {"all": "true", "filters": json.dumps({"label": list(labels)})})

    def inspect(self, container: str) -> dict[str, Any]:
        """Raises Gone."""
        return self._json("GET", f"/containers/{quote(container)}/json")

    def kill(self, container: str) -> None:
        """SIGKILL. The engine does not start again what it was told to kill."""
        self._ask("POST", f"/containers/{quote(container)}/kill", {"signal": "KILL"})

    def start(self, container: str) -> None:
        """Nothing happens if it runs."""
        self._ask("POST", f"/containers/{quote(container)}/start")

    def stop(self, container: str, grace: int = 15) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Nothing happens if it does not run."""
        self._ask("POST", f"/containers/{quote(container)}/stop", {"t": str(grace)}, timeout=grace + 60.0)

    def restart(self, container: str, grace: int = 15) -> None:
        self._ask("POST", f"/containers/{quote(container)}/restart", {"t": str(grace)}, timeout=grace + 60.0)

    def pause(self, container: str) -> None:
        self._ask("POST", f"/containers/{quote(container)}/pause")

    def unpause(self, container: str) -> None:
        self._ask("POST", f"/containers/{quote(container)}/unpause")

    def stats(self, container: str) -> dict[str, Any]:
        """One sample, at once."""
        return self._json("GET", f"/containers/{quote(container)}/stats", {"stream": "false", "one-shot": "true"}, timeout=10)

    def run(self, settings: Mapping[str, Any], within: float = 60.0) -> Finished:
        """A new container, run to its end and removed, whatever happens."""
        created = self._json("POST", "/containers/create", body=settings)["Id"]
        try:
            self.start(created)
            code = self._json("POST", f"/containers/{created}/wait", timeout=within)["StatusCode"]
            written = self._ask("GET", f"/containers/{created}/logs", {"stdout": "true", "stderr": "true"})
        finally:
            self._ask("DELETE", f"/containers/{created}", {"force": "true"})
        streams = split_streams(written)
        return Finished(code, streams[1].decode(errors="replace"), streams[2].decode(errors="replace"))

    # --- networks ----------------------------------------------------------------------------------------------------

    def disconnect(self, network: str, container: str) -> None:
        self._ask("POST", f"/networks/{quote(network)}/disconnect", body={"Container": container})

    def connect(self, network: str, container: str, was: Mapping[str, Any]) -> None:
        """With the names and addresses that somebody has given it, as `inspect` said (`was`)."""
        given = {key: was[key] for key in ("Aliases", "IPAMConfig", "Links", "DriverOpts") if was.get(key)}
        self._ask("POST", f"/networks/{quote(network)}/connect", body={"Container": container, "EndpointConfig": given})

    # --- the engine --------------------------------------------------------------------------------------------------

    def version(self) -> str:
        return self._json("GET", "/version", timeout=10)["Version"]

    def _json(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, timeout: float = 60.0) -> Any:
        return json.loads(self._ask(method, path, query, body, timeout))

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, timeout: float = 60.0) -> bytes:
        """Raises EngineError with what the engine said; Gone if there is no such thing."""
        connection = self._connection(timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            sent = None if body is None else json.dumps(body)
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, sent, headers)
            answer = connection.getresponse()
            said = answer.read()
        except TimeoutError as late:
            raise EngineError(f"the engine took more than {timeout:g} s for {method} {path}") from late
        except (OSError, http.client.HTTPException) as broken:
            raise EngineError(f"the engine at {self.where} does not answer {method} {path}: {broken}") from broken
        finally:
            connection.close()
        if answer.status < 400:
            return said
        kind = Gone if answer.status == 404 else EngineError
        raise kind(f"{method} {path} failed ({answer.status}): {message_of(said)}")

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._url.scheme == "unix":
            return UnixConnection(self._url.path, timeout)
        return http.client.HTTPConnection(self._url.hostname or "127.0.0.1", self._url.port or 2375, timeout=timeout)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def message_of(said: bytes) -> str:
    try:
        return str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        return said[:600].decode(errors="replace").strip()


def split_streams(written: bytes) -> dict[int, bytes]:
    """Of a container without a terminal: frames of {stream, 0, 0, 0, length of four bytes, bytes}. 1: what it wrote to
    standard output, 2: to standard error."""
    streams = {1: b"", 2: b""}
    at = 0
    while at + 8 <= len(written):
        stream, length = written[at], int.from_bytes(written[at + 4 : at + 8], "big")
        streams[stream] = streams.get(stream, b"") + written[at + 8 : at + 8 + length]
        at += 8 + length
    return streams
