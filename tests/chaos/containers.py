"""The containers of a mesh of Compose's, whoever started it: those of its project's name, and of no other."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .docker_api import Api
from .engine import EngineError, run
from .groups import Groups

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
NUMBER, ONE_OFF = "com.docker.compose.container-number", "com.docker.compose.oneoff"


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
    networks: dict[str, dict[str, Any]]  # as it is in each of them
    address: str


@dataclass(frozen=True, slots=True)
class Memory:
    used: int  # bytes, without what the kernel may drop
    private: int  # bytes that are no file's: the heap


class Containers(ABC):
    """May processes be signalled from here (`by_signal`), or does the engine have to do it?"""

    by_signal = True

    def __init__(self, project: str, api: Api | None = None) -> None:
        self.project = project
        self.engine = api or Api()

    @abstractmethod
    def serving(self) -> Iterable[str]:
        """The services whose containers these are (first-model, which ends by itself, is none)."""

    def containers(self, *services: str) -> list[Container]:
        """In a fixed order; without names: all."""
        wanted = services or tuple(self.serving())
        found = []
        for each in self.engine.containers(f"{PROJECT}={self.project}"):
            labels = each["Labels"]
            if labels.get(SERVICE) in wanted and labels.get(ONE_OFF, "False") != "True":
                found.append(Container(each["Id"], each["Names"][0].lstrip("/"), labels[SERVICE], int(labels.get(NUMBER, 0))))
        return sorted(found, key=lambda each: (each.service, each.number))

    def pick(self, service: str, draw: float) -> Container:
        """The one that a draw from [0, 1) falls on."""
        all_of_it = self.containers(service)
        if not all_of_it:
            raise EngineError(f"there is no {service}")
        return all_of_it[int(draw * len(all_of_it))]

    def state(self, container: Container) -> State:
        return state_of(self.engine.inspect(container.id))

    def states(self, *services: str) -> list[tuple[Container, State]]:
        return [(each, self.state(each)) for each in self.containers(*services)]

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

    # --- their processes ---------------------------------------------------------------------------------------------

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

    def memory(self, container: Container, state: State) -> Memory | None:
        """None: it does not run, or no longer."""
        try:
            return Memory(Groups(state.pid, container.id).memory(), heap_of(state.pid))
        except (OSError, KeyError, ValueError):
            return None

    def volume(self, name: str) -> Path:
        """Where it lies on this host. Raises EngineError if that cannot be seen from here."""
        path = Path(run("docker", "volume", "inspect", f"{self.project}_{name}", "--format", "{{.Mountpoint}}").strip())
        if not os.access(path, os.R_OK):
            raise EngineError(f"the volume {name} is not visible from here: {path}")
        return path


def heap_of(pid: int) -> int:
    """Bytes of a process that are no file's."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def state_of(said: dict[str, Any]) -> State:
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
        networks=networks,
        address=next((each["IPAddress"] for each in networks.values()), ""),
    )
