"""A mesh of Compose's that is ours alone: a project name, an address and volumes of its own; ids of its own containers only."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import EngineError, compose_command, docker, run

ROOT = Path(__file__).resolve().parents[2]
FILES = (ROOT / "compose" / "compose.yaml", Path(__file__).with_name("compose.chaos.yaml"))
SCALE = {"gateway": 2, "scheduler": 2, "worker": 2, "cache": 2, "precision": 1, "front": 1}
METRICS = {"gateway": 9001, "scheduler": 9003, "worker": 9004, "cache": 9005, "precision": 9006}


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    name: str
    service: str
    number: int


@dataclass(frozen=True, slots=True)
class State:
    """What the engine says of a container now."""

    status: str
    pid: int
    restarts: int
    out_of_memory: bool
    exit_code: int
    is_healthy: bool
    memory_limit: int
    networks: dict[str, list[str]]  # with their aliases
    address: str


def ensure_images(build: bool | None = None) -> None:
    """Builds the images if they are not of these sources (`make images`). `build` False: those that are there will do."""
    run(ROOT / "deploy" / "images" / "build", timeout=3 * 3600, environment={"SHOAL_IMAGES": "keep"} if build is False else None)


class Mesh:
    def __init__(
        self, project: str, publish: str, environment: dict[str, str] | None = None, scale: dict[str, int] | None = None
    ) -> None:
        self.project = project
        self.publish = publish
        self._scale = dict(scale or SCALE)
        self._environment = {
            "SHOAL_PUBLISH": publish,
            "SHOAL_PRECISION_POLICY": "fp32",  # answers are compared
            **(environment or {}),
        }
        self._compose = [*compose_command(), "-p", project]
        for file in FILES:
            self._compose += ["-f", str(file)]

    # --- the whole ---------------------------------------------------------------------------------------------------

    def up(self) -> None:
        self._run_compose("up", "-d", "--no-build", *self._scales(), *self._scale, timeout=180)

    def down(self) -> None:
        """Everything that is ours goes, volumes too."""
        for container, state in self.states():
            if state.status == "paused":
                docker("unpause", container.id)
        for left in range(3, 0, -1):
            try:
                self._run_compose("down", "-v", "-t", "5", "--remove-orphans", timeout=180)
                return
            except EngineError:
                if left == 1:
                    raise
                # A container that was just being started again.
                ours = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()
                if ours:
                    docker("rm", "-f", *ours)

    def scale(self, service: str, replicas: int) -> None:
        self._scale[service] = replicas
        self._run_compose("up", "-d", "--no-build", "--no-recreate", "--no-deps", *self._scales(service), service, timeout=120)

    def upgrade(self, tag: str, *more: str, timeout: float) -> str:
        """As a user does it: compose/upgrade, to the images of that tag; what it said. Raises EngineError."""
        files = [word for file in FILES for word in ("-f", str(file))]
        command = (ROOT / "compose" / "upgrade", "-p", self.project, *files, *more)
        return run(*command, timeout=timeout, environment={**self._environment, "SHOAL_TAG": tag})

    def replicas(self, service: str) -> int:
        return self._scale[service]

    def import_model(self, name: str, archive: Path, *more: str, timeout: float = 60.0) -> None:
        """When it returns the import has been acknowledged."""
        docker(
            *("run", "--rm", "--network", "none", "--label", f"com.docker.compose.project={self.project}"),
            *("-v", f"{self.project}_models:/models", "-v", f"{archive.resolve().parent}:/mine:ro"),
            *("shoal/shoal", "import", f"/mine/{archive.name}", "--name", name, "--models", "/models", *more),
            timeout=timeout,
        )

    def new_key(self, name: str, folder: Path, role: str = "admin") -> Path:
        """The key file of somebody new, who may come to the native door."""
        text = run(*self._compose, "run", "--rm", "-T", "keys", "new", name, "--role", role, "--out", "-", timeout=60, environment=self._environment)
        file = folder / f"{name}.key"
        file.touch(0o600)
        file.write_text(text)
        return file

    def wait_until_healthy(self, within: float, *services: str) -> None:
        """Raises EngineError."""
        end = time.monotonic() + within
        while True:
            ill = [container.name for container, state in self.states(*services) if not state.is_healthy]
            if not ill:
                return
            if time.monotonic() > end:
                raise EngineError(f"not healthy after {within:g} s: {', '.join(ill)}")
            time.sleep(0.5)

    # --- its containers ----------------------------------------------------------------------------------------------

    def containers(self, *services: str) -> list[Container]:
        """That serve (first-model, which ends by itself, does not), in a fixed order; without names: all."""
        fields = '{{.ID}}\t{{.Names}}\t{{.Label "com.docker.compose.service"}}\t{{.Label "com.docker.compose.container-number"}}'
        listed = docker("ps", "-a", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.project}", "--format", fields)
        found = []
        for line in listed.splitlines():
            identity, name, service, number = line.split("\t")
            if service in self._scale and (not services or service in services):
                found.append(Container(identity, name, service, int(number)))
        return sorted(found, key=lambda each: (each.service, each.number))

    def pick(self, service: str, draw: float) -> Container:
        """The one that a draw from [0, 1) falls on."""
        all_of_it = self.containers(service)
        if not all_of_it:
            raise EngineError(f"there is no {service}")
        return all_of_it[int(draw * len(all_of_it))]

    def state(self, container: Container) -> State:
        return _state_of(json.loads(docker("inspect", container.id))[0])

    def states(self, *services: str) -> list[tuple[Container, State]]:
        """Of all, in two commands of the engine."""
        containers = self.containers(*services)
        if not containers:
            return []
        said = json.loads(docker("inspect", *(each.id for each in containers)))
        return [(each, _state_of(of_it)) for each, of_it in zip(containers, said, strict=True)]

    def pid(self, container: Container) -> int:
        """Of its first process, as this host sees it; it must run, and be ours beyond doubt."""
        pid = self.state(container).pid
        if pid <= 0:
            raise EngineError(f"{container.name} does not run")
        if not self.is_local(pid, container):
            raise EngineError(f"the processes of {container.name} are not visible from here (another host's engine?)")
        return pid

    @staticmethod
    def is_local(pid: int, container: Container) -> bool:
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            return container.id in groups or container.id[:12] in Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            return False

    def in_network(self, container: Container, *command: str) -> str:
        return run("nsenter", "-t", str(self.pid(container)), "-n", *command, timeout=10)

    def volume(self, name: str) -> Path:
        """Where it lies on this host. Raises EngineError if that cannot be seen from here."""
        path = Path(docker("volume", "inspect", f"{self.project}_{name}", "--format", "{{.Mountpoint}}").strip())
        if not os.access(path, os.R_OK):
            raise EngineError(f"the volume {name} is not visible from here: {path}")
        return path

    def logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.containers():
            try:
                # Both streams, in their order.
                said = run("sh", "-c", f"docker logs --timestamps {container.id} 2>&1")
            except EngineError as error:
                said = str(error)
            (folder / f"{container.name}.log").write_text(said)

    # -----------------------------------------------------------------------------------------------------------------

    def _scales(self, *services: str) -> list[str]:
        return [word for name in services or self._scale for word in ("--scale", f"{name}={self._scale[name]}")]

    def _run_compose(self, *arguments: str, timeout: float) -> None:
        run(*self._compose, *arguments, timeout=timeout, environment=self._environment)


def _state_of(said: dict[str, Any]) -> State:
    state, networks = said["State"], said["NetworkSettings"]["Networks"]
    health = state.get("Health")
    return State(
        status=state["Status"],
        pid=state["Pid"],
        restarts=said["RestartCount"],
        out_of_memory=state["OOMKilled"],
        exit_code=state["ExitCode"],
        is_healthy=state["Status"] == "running" and (health is None or health["Status"] == "healthy"),
        memory_limit=said["HostConfig"]["Memory"],
        networks={name: list(each["Aliases"] or []) for name, each in networks.items()},
        address=next((each["IPAddress"] for each in networks.values()), ""),
    )
