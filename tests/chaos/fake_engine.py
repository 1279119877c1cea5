"""An engine for tests: the verbs of docker_api.py over a Unix socket, on containers that are entries of a dictionary."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .containers import NUMBER, ONE_OFF, PROJECT, SERVICE
from .docker_api import Api

NETWORK = "mesh_default"


class FakeEngine(ThreadingMixIn, UnixStreamServer):
    """Used as a context manager. `keys` is the list of keys that containers of the service keys write."""

    daemon_threads = True

    def __init__(self, project: str, **replicas: int) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.refuses: Callable[[str], bool] = lambda asked: False
        self.keys = ["gateway", "worker"]
        for service, count in replicas.items():
            for number in range(1, count + 1):
                self.add(project, service, number)
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "engine.sock"
        super().__init__(str(self.path), Handler)

    def add(self, project: str, service: str, number: int, status: str = "running") -> str:
        identity = f"{service}{number}".ljust(64, "0")
        self.containers[identity] = {
            "Id": identity,
            "Name": f"/{project}_{service}_{number}",
            "Image": "sha256:1",
            "RestartCount": 0,
            "State": {"Status": status, "Running": status == "running", "Pid": 7, "OOMKilled": False, "ExitCode": 0},
            "HostConfig": {"Memory": 1 << 30, "Tmpfs": {"/tmp": ""}},
            "Config": {
                "Labels": {PROJECT: project, SERVICE: service, NUMBER: str(number), ONE_OFF: "False"},
                "Env": ["SHOAL_PRECISION_POLICY=fp32"],
                "Entrypoint": ["keys.sh"],
                "User": "shoal",
            },
            "Mounts": [{"Type": "volume", "Name": f"{project}_keys", "Destination": "/keys", "RW": True}],
            "NetworkSettings": {
                "Networks": {NETWORK: {"Aliases": [service, identity[:12]], "IPAMConfig": None, "Links": None, "IPAddress": "10.0.0.9"}},
                "Ports": {"8000/tcp": [{"HostIp": "127.0.0.6", "HostPort": "8000"}]},
            },
        }
        return identity

    def __enter__(self) -> FakeEngine:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._folder.cleanup()

    def api(self) -> Api:
        return Api(f"unix://{self.path}")

    def states(self) -> dict[str, tuple[str, dict[str, list[str]]]]:
        """Of each: what it does, and its names in each network."""
        return {
            each["Name"]: (each["State"]["Status"], {name: of["Aliases"] for name, of in each["NetworkSettings"]["Networks"].items()})
            for each in self.containers.values()
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.refuses(f"{method} {path}"):
            return 500, {"message": "not now"}
        if (method, path) == ("GET", "/version"):
            return 200, {"Version": "99"}
        if (method, path) == ("GET", "/containers/json"):
            labels = dict(each.split("=", 1) for each in json.loads(query["filters"])["label"])
            found = [each for each in self.containers.values() if labels.items() <= each["Config"]["Labels"].items()]
            return 200, [
                {"Id": each["Id"], "Names": [each["Name"]], "Labels": each["Config"]["Labels"], "State": each["State"]["Status"]} for each in found
            ]
        if (method, path) == ("POST", "/containers/create"):
            identity = self.add("", "once", len(self.containers))
            self.containers[identity] |= {"Created": body}
            return 201, {"Id": identity}
        if networks := re.fullmatch(r"/networks/([^/]+)/(connect|disconnect)", path):
            return self._network(networks[1], networks[2], body)
        if not (named := re.fullmatch(r"/containers/([^/]+)(?:/(\w+))?", path)):
            return 404, {"message": "page not found"}
        if (container := self.containers.get(named[1])) is None:
            return 404, {"message": f"No such container: {named[1]}"}
        return self._container(container, method, named[2] or "")

    def _network(self, name: str, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
        networks = self.containers[body["Container"]]["NetworkSettings"]["Networks"]
        if (name in networks) == (verb == "connect"):
            return 403, {"message": f"already {verb}ed"}
        if verb == "connect":
            networks[name] = {"Aliases": [], **body["EndpointConfig"], "IPAddress": "10.0.0.10"}
        else:
            del networks[name]
        return 200, None

    def _container(self, container: dict[str, Any], method: str, verb: str) -> tuple[int, Any]:
        def become(status: str, *since: str) -> tuple[int, Any]:
            if container["State"]["Status"] == status:
                return 304, None
            if container["State"]["Status"] not in since:
                return 409, {"message": f"it is {container['State']['Status']}"}
            container["State"] |= {"Status": status, "Running": status == "running"}
            return 204, None

        match method, verb:
            case "GET", "json":
                return 200, container
            case "DELETE", "":
                del self.containers[container["Id"]]
                return 204, None
            case "POST", "kill" | "stop":
                return become("exited", "running")
            case "POST", "start" if "Created" in container:
                container["Done"] = self._run_keys(container["Created"]["Cmd"])
                return 204, None
            case "POST", "start":
                return become("running", "exited")
            case "POST", "pause":
                return become("paused", "running")
            case "POST", "unpause":
                return become("running", "paused")
            case "POST", "wait":
                return 200, {"StatusCode": container["Done"][0]}
            case "GET", "logs":
                said = container["Done"][1].encode()
                return 200, bytes([1 if container["Done"][0] == 0 else 2, 0, 0, 0]) + len(said).to_bytes(4, "big") + said
        return 404, {"message": "page not found"}

    def _run_keys(self, words: list[str]) -> tuple[int, str]:
        match words:
            case ["new", name, *_] if name not in self.keys:
                self.keys.append(name)
                return 0, f"secret of {name}\n"
            case ["revoke", name] if name in self.keys:
                self.keys.remove(name)
                return 0, "revoked\n"
        return 3, "nobody here is called so\n"


class Handler(BaseHTTPRequestHandler):
    server: FakeEngine

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {asked.path}")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        status, said = self.server.answer(self.command, asked.path, query, json.loads(sent) if sent else None)
        body = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    do_POST = do_DELETE = do_GET
